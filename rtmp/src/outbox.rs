use crate::SessionError;

/// Bytes for the peer, bounded: a peer that does not read its answers is closed, never waited for.
#[derive(Debug)]
pub(crate) struct Outbox {
    bytes: Vec<u8>,
    sent: usize,
    limit: usize,
}

impl Outbox {
    pub(crate) fn new(limit: usize) -> Self {
        Self { bytes: Vec::new(), sent: 0, limit }
    }

    pub(crate) fn pending(&self) -> &[u8] {
        self.bytes.get(self.sent..).unwrap_or_default()
    }

    pub(crate) fn sent(&mut self, n: usize) {
        self.sent = self.sent.saturating_add(n);
        if self.sent >= self.bytes.len() {
            self.bytes.clear();
            self.sent = 0;
        }
    }

    pub(crate) fn push(&mut self, bytes: &[u8]) -> Result<(), SessionError> {
        if self.pending().len() + bytes.len() > self.limit {
            return Err(SessionError::OutboundOverflow { limit: self.limit });
        }
        if self.sent > 0 {
            self.bytes.drain(..self.sent.min(self.bytes.len()));
            self.sent = 0;
        }
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }
}
