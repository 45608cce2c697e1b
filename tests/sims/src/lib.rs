//! Simulators that are programs: an egress that publishes real RTMP, and its habits and faults.
