//! As much of a NATS client as it takes to fill a server, and to make room again.

use anyhow::bail;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

/// Bytes of one message: small ones leave no room for an event.
const MESSAGE: usize = 64;
const PATIENCE: Duration = Duration::from_secs(10);

/// A connection.
pub(crate) struct Nats(BufReader<TcpStream>);

impl Nats {
    pub(crate) async fn connect(address: &str) -> anyhow::Result<Self> {
        let mut nats = Self(BufReader::new(TcpStream::connect(address).await?));
        nats.0.write_all(b"CONNECT {\"verbose\":false}\r\n").await?;
        nats.until("PONG", "PING\r\n".into()).await?;
        Ok(nats)
    }

    /// Stores more than `bytes` under this subject, as far as they are taken.
    pub(crate) async fn fill(&mut self, subject: &str, bytes: usize) -> anyhow::Result<()> {
        let one = format!("PUB {subject} {MESSAGE}\r\n{}\r\n", "x".repeat(MESSAGE));
        self.until("PONG", one.repeat(bytes / MESSAGE) + "PING\r\n").await
    }

    /// Takes them away again.
    pub(crate) async fn purge(&mut self, stream: &str, subject: &str) -> anyhow::Result<()> {
        let filter = format!("{{\"filter\":\"{subject}\"}}");
        let ask = format!(
            "SUB answer 1\r\nPUB $JS.API.STREAM.PURGE.{stream} answer {}\r\n{filter}\r\n",
            filter.len()
        );
        self.until("\"success\":true", ask).await
    }

    /// Sends this and reads until a line has that.
    async fn until(&mut self, what: &str, send: String) -> anyhow::Result<()> {
        self.0.write_all(send.as_bytes()).await?;
        let answered = async {
            let mut line = String::new();
            while self.0.read_line(&mut line).await? > 0 {
                match line.trim() {
                    line if line.contains(what) => return Ok(()),
                    line if line.starts_with("-ERR") => bail!("NATS: {line}"),
                    "PING" => self.0.write_all(b"PONG\r\n").await?,
                    _ => {}
                }
                line.clear();
            }
            bail!("NATS closed the connection");
        };
        tokio::time::timeout(PATIENCE, answered).await?
    }
}
