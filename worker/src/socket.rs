//! A publisher's socket in two moods.
//!
//! *Watched*, the reactor wakes us for every segment: right while a publisher sets up, or has fallen silent. *Timed*, the
//! socket is not registered with the reactor at all and is read when the caller's timer says so: an edge-triggered
//! registration would wake the process for every 23 ms frame even while nobody waits for it, and that costs more than
//! decoding the frame.

use socket2::SockRef;
use std::io::{self, ErrorKind, Read, Write};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// The socket; always non-blocking.
#[derive(Debug)]
pub(crate) struct Socket(Mood);

#[derive(Debug)]
enum Mood {
    Watched(TcpStream),
    Timed(std::net::TcpStream),
    /// A change of mood failed: the file descriptor is closed.
    Lost,
}

impl Socket {
    /// Watched.
    pub(crate) fn new(socket: TcpStream) -> Self {
        // Best effort: a socket without it works too.
        let _ = socket.set_nodelay(true);
        Self(Mood::Watched(socket))
    }

    /// Reads what is there without waiting, if the socket is timed; `None` when the caller should wait for more.
    pub(crate) fn read_timed(&mut self, buffer: &mut [u8]) -> Option<io::Result<usize>> {
        let Mood::Timed(socket) = &mut self.0 else { return None };
        match socket.read(buffer) {
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => None,
            read => Some(read),
        }
    }

    /// Waits until there is something, and reads it. Cancel-safe. `TCP_QUICKACK` before the wait saves a publisher about
    /// 130 ms of set-up: its small writes would each wait for our delayed acknowledgement.
    pub(crate) async fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let socket = self.watched()?;
        let _ = SockRef::from(&*socket).set_tcp_quickack(true);
        socket.read(buffer).await
    }

    /// Writes some of `bytes`, waiting if it must.
    pub(crate) async fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Mood::Timed(socket) = &mut self.0 {
            match socket.write(bytes) {
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
                written => return written,
            }
        }
        self.watched()?.write(bytes).await
    }

    /// From now on nothing wakes us but the caller's timer.
    pub(crate) fn rest(&mut self) -> io::Result<()> {
        if let Mood::Watched(_) = &self.0
            && let Mood::Watched(socket) = std::mem::replace(&mut self.0, Mood::Lost)
        {
            self.0 = Mood::Timed(socket.into_std()?);
        }
        Ok(())
    }

    /// Closing with unread bytes is a reset, and the peer would lose what is on its way: our refusal. So the peer may go
    /// on talking for `linger` after our side has closed.
    pub(crate) async fn close(&mut self, linger: Duration) {
        let Ok(socket) = self.watched() else { return };
        let _ = socket.shutdown().await;
        let mut rest = [0u8; 4096];
        let drained = async { while matches!(socket.read(&mut rest).await, Ok(count) if count > 0) {} };
        let _ = tokio::time::timeout(linger, drained).await;
    }

    fn watched(&mut self) -> io::Result<&mut TcpStream> {
        if let Mood::Timed(_) = &self.0
            && let Mood::Timed(socket) = std::mem::replace(&mut self.0, Mood::Lost)
        {
            self.0 = Mood::Watched(TcpStream::from_std(socket)?);
        }
        match &mut self.0 {
            Mood::Watched(socket) => Ok(socket),
            Mood::Timed(_) | Mood::Lost => Err(ErrorKind::NotConnected.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    async fn pair() -> (TcpStream, Socket) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (peer, accepted) =
            tokio::join!(TcpStream::connect(listener.local_addr().unwrap()), listener.accept());
        (peer.unwrap(), Socket::new(accepted.unwrap().0))
    }

    #[tokio::test]
    async fn a_resting_socket_gives_what_has_gathered_and_is_watched_again_when_there_is_nothing() {
        let (mut peer, mut socket) = pair().await;
        let mut buffer = [0u8; 16];
        assert!(socket.read_timed(&mut buffer).is_none(), "a watched socket is not read without waiting");
        socket.rest().unwrap();
        assert!(socket.read_timed(&mut buffer).is_none());
        peer.write_all(b"one").await.unwrap();
        assert_eq!(socket.read(&mut buffer).await.unwrap(), 3);
        socket.rest().unwrap();
        peer.write_all(b"more").await.unwrap();
        let gathered = async {
            loop {
                match socket.read_timed(&mut buffer) {
                    Some(read) => return read.unwrap(),
                    None => tokio::task::yield_now().await,
                }
            }
        };
        assert_eq!(tokio::time::timeout(Duration::from_secs(10), gathered).await.unwrap(), 4);
    }

    #[tokio::test]
    async fn a_resting_socket_writes_more_than_the_kernel_takes_at_once() {
        let (mut peer, mut socket) = pair().await;
        socket.rest().unwrap();
        let bytes = vec![7u8; 16 * 1024 * 1024];
        let write = async {
            let mut written = 0;
            while written < bytes.len() {
                written += socket.write(&bytes[written..]).await.unwrap();
            }
            drop(socket);
        };
        let read = async {
            let mut all = Vec::new();
            peer.read_to_end(&mut all).await.unwrap();
            all.len()
        };
        assert_eq!(tokio::join!(write, read).1, bytes.len());
    }

    #[tokio::test]
    async fn the_peers_end_is_seen_at_rest() {
        let (peer, mut socket) = pair().await;
        socket.rest().unwrap();
        drop(peer);
        let mut buffer = [0u8; 16];
        let ended = async {
            match socket.read_timed(&mut buffer) {
                Some(read) => read,
                None => socket.read(&mut buffer).await,
            }
        };
        assert_eq!(tokio::time::timeout(Duration::from_secs(10), ended).await.unwrap().unwrap(), 0);
    }
}
