//! What a plan asks of LiveKit, carried out.
