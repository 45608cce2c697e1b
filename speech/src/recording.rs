//! The audio of a session on disk, for `GET /v2/live/{id}/file`. A disk that fails costs the file, never the session.

use std::path::Path;

use bytes::Bytes;
use tokio::fs::File;
use tokio::io::{AsyncWriteExt as _, BufWriter};

/// Audio is written in pieces of this size, bytes.
const BUFFER: usize = 64 * 1024;

/// A file in the making, or nothing.
pub(crate) struct Recording(Option<BufWriter<File>>);

impl Recording {
    /// At `path`; nothing is kept without one.
    pub(crate) async fn create(path: Option<&Path>, session: &str) -> Self {
        let Some(path) = path else { return Self(None) };
        match File::create(path).await {
            Ok(file) => Self(Some(BufWriter::with_capacity(BUFFER, file))),
            Err(e) => {
                tracing::error!(session, "the session's audio is not kept: {e}");
                Self(None)
            }
        }
    }

    pub(crate) async fn add(&mut self, bytes: &Bytes, session: &str) {
        let Some(file) = &mut self.0 else { return };
        if let Err(e) = file.write_all(bytes).await {
            tracing::error!(session, "the session's audio is no longer kept: {e}");
            self.0 = None;
        }
    }

    pub(crate) async fn finish(&mut self, session: &str) {
        if let Some(mut file) = self.0.take()
            && let Err(e) = file.flush().await
        {
            tracing::error!(session, "the end of the session's audio is not kept: {e}");
        }
    }
}
