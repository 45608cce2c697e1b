//! A publisher's bytes: the socket's own, or what TLS makes of them (RTMPS).
//!
//! TLS is rustls' connection without I/O, on top of [`Socket`]: so its two moods, and what they save, are the same with
//! and without TLS.

use crate::socket::Socket;
use crate::tls::Tls;
use crate::tls_problem::TlsProblem;
use rustls::ServerConnection;
use std::io::{self, ErrorKind, Read, Write};
use std::time::Duration;
use tokio::net::TcpStream;

/// Before the publish: strangers are to cost little.
const FIRST_SEALED: usize = 4 * 1024;
/// A TLS record has at most this much and a little more; more waits in the kernel.
const SEALED: usize = 16 * 1024;
/// First byte of RTMP.
const RTMP_VERSION: u8 = 3;

/// A socket, perhaps with TLS.
#[derive(Debug)]
pub(crate) struct Channel {
    socket: Socket,
    tls: Option<Box<Seal>>,
}

/// One TLS connection between two buffers of sealed bytes.
#[derive(Debug)]
struct Seal {
    connection: ServerConnection,
    /// Read from the socket, `from..to` not yet opened.
    sealed: Vec<u8>,
    from: usize,
    to: usize,
    greeted: bool,
    /// The peer said that nothing follows.
    over: bool,
    /// Not yet written to the socket. Empty after every whole write; a cancelled one goes on from here.
    outbound: Vec<u8>,
}

impl Channel {
    /// TLS, if given, begins with the first byte.
    pub(crate) fn new(socket: TcpStream, tls: Option<&Tls>) -> Result<Self, rustls::Error> {
        let tls =
            tls.map(|tls| tls.connection().map(|connection| Box::new(Seal::new(connection)))).transpose()?;
        Ok(Self { socket: Socket::new(socket), tls })
    }

    /// The TLS handshake has not ended.
    pub(crate) fn is_handshaking(&self) -> bool {
        self.tls.as_ref().is_some_and(|seal| seal.connection.is_handshaking())
    }

    /// Reads what is there without waiting; `None` when the caller should wait for more.
    pub(crate) fn read_timed(&mut self, buffer: &mut [u8]) -> Option<io::Result<usize>> {
        let Some(seal) = &mut self.tls else { return self.socket.read_timed(buffer) };
        let mut filled = 0;
        loop {
            match seal.open(&mut buffer[filled..]) {
                Ok(count) => filled += count,
                Err(error) => return Some(Err(error)),
            }
            if filled == buffer.len() || seal.over {
                return Some(Ok(filled));
            }
            match self.socket.read_timed(seal.room(buffer.len())) {
                Some(Ok(0)) => return Some(Ok(filled)),
                Some(Ok(count)) => seal.to = count,
                None | Some(Err(_)) if filled > 0 => return Some(Ok(filled)),
                other => return other,
            }
        }
    }

    /// Waits until there is something, and reads it. Cancel-safe.
    pub(crate) async fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(seal) = &mut self.tls else { return self.socket.read(buffer).await };
        loop {
            let count = seal.open(buffer)?;
            if count > 0 || seal.over {
                return Ok(count);
            }
            seal.flush(&mut self.socket).await?;
            seal.to = match self.socket.read(seal.room(buffer.len())).await? {
                0 => return Ok(0),
                count => count,
            };
        }
    }

    /// Writes some of `bytes`, waiting if it must. After a cancelled write of TLS nothing else may be written.
    pub(crate) async fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(seal) = &mut self.tls else { return self.socket.write(bytes).await };
        let count = seal.connection.writer().write(bytes)?;
        seal.flush(&mut self.socket).await?;
        Ok(count)
    }

    /// From now on nothing wakes us but the caller's timer.
    pub(crate) fn rest(&mut self) -> io::Result<()> {
        self.socket.rest()
    }

    /// Says goodbye; see [`Socket::close`].
    pub(crate) async fn close(&mut self, linger: Duration) {
        if let Some(seal) = &mut self.tls
            && seal.greeted
        {
            seal.connection.send_close_notify();
            let _ = tokio::time::timeout(linger, seal.flush(&mut self.socket)).await;
        }
        self.socket.close(linger).await;
    }
}

impl Seal {
    fn new(connection: ServerConnection) -> Self {
        let (sealed, outbound) = (vec![0; FIRST_SEALED], Vec::new());
        Self { connection, sealed, from: 0, to: 0, greeted: false, over: false, outbound }
    }

    /// Where the next sealed bytes go; all before have been opened. Grows with the reader's own buffer.
    fn room(&mut self, wanted: usize) -> &mut [u8] {
        (self.from, self.to) = (0, 0);
        if wanted > self.sealed.len() && self.sealed.len() < SEALED {
            self.sealed = vec![0; SEALED];
        }
        &mut self.sealed
    }

    /// Opens sealed bytes until `buffer` is full or there are no more.
    fn open(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.connection.reader().read(&mut buffer[filled..]) {
                Ok(0) => {
                    self.over = true;
                    break;
                }
                Ok(count) => filled += count,
                Err(error) if error.kind() != ErrorKind::WouldBlock => return Err(error),
                Err(_) if self.from == self.to => break,
                Err(_) => self.feed()?,
            }
        }
        Ok(filled)
    }

    fn feed(&mut self) -> io::Result<()> {
        let mut rest = &self.sealed[self.from..self.to];
        if !self.greeted && rest[0] == RTMP_VERSION {
            return Err(TlsProblem::PlainRtmp.into());
        }
        self.greeted = true;
        self.connection.read_tls(&mut rest)?;
        self.from = self.to - rest.len();
        self.connection.process_new_packets().map_err(TlsProblem::from)?;
        Ok(())
    }

    async fn flush(&mut self, socket: &mut Socket) -> io::Result<()> {
        while self.connection.wants_write() {
            self.connection.write_tls(&mut self.outbound)?;
        }
        while !self.outbound.is_empty() {
            match socket.write(&self.outbound).await? {
                0 => return Err(ErrorKind::WriteZero.into()),
                count => drop(self.outbound.drain(..count)),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::pki_types::ServerName;
    use rustls::{ClientConfig, RootCertStore};
    use std::sync::Arc;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio_rustls::TlsConnector;
    use tokio_rustls::client::TlsStream;

    /// A peer after its handshake, and our side of it.
    async fn pair() -> (TlsStream<TcpStream>, Channel) {
        let folder = tempfile::tempdir().unwrap();
        let (cert, key) = (folder.path().join("tls.crt"), folder.path().join("tls.key"));
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        std::fs::write(&cert, made.cert.pem()).unwrap();
        std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
        let tls = Tls::open(Some(&cert), Some(&key)).unwrap().unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(made.cert.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config =
            ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let config = config.with_root_certificates(roots).with_no_client_auth();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let connecting = async {
            let socket = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            let name = ServerName::try_from("localhost").unwrap();
            let mut peer = TlsConnector::from(Arc::new(config)).connect(name, socket).await.unwrap();
            peer.write_all(b"!").await.unwrap();
            peer
        };
        let accepting = async {
            let mut channel = Channel::new(listener.accept().await.unwrap().0, Some(&tls)).unwrap();
            assert!(channel.is_handshaking());
            assert_eq!(channel.read(&mut [0; 8]).await.unwrap(), 1);
            channel
        };
        tokio::join!(connecting, accepting)
    }

    fn noise(length: usize) -> Vec<u8> {
        let mut random = fastrand::Rng::with_seed(7);
        std::iter::repeat_with(|| random.u8(..)).take(length).collect()
    }

    #[tokio::test]
    async fn everything_arrives_in_order_whether_the_socket_is_watched_or_rests_and_however_small_the_buffer()
    {
        for (rests, size) in [(false, 7), (true, 7), (false, 4096), (true, 64 * 1024)] {
            let (mut peer, mut channel) = pair().await;
            let sent = noise(size * 40 + 12_345);
            let writing = async {
                peer.write_all(&sent).await.unwrap();
                peer.shutdown().await.unwrap();
            };
            let reading = async {
                let (mut got, mut buffer) = (Vec::new(), vec![0; size]);
                loop {
                    if rests {
                        channel.rest().unwrap();
                    }
                    let count = match channel.read_timed(&mut buffer) {
                        Some(read) => read.unwrap(),
                        None => channel.read(&mut buffer).await.unwrap(),
                    };
                    if count == 0 {
                        return got;
                    }
                    got.extend_from_slice(&buffer[..count]);
                }
            };
            let ((), got) = tokio::join!(writing, reading);
            assert!(got == sent, "{rests} {size}: {} of {} bytes", got.len(), sent.len());
        }
    }

    #[tokio::test]
    async fn a_resting_read_fills_its_buffer_from_what_has_gathered() {
        let (mut peer, mut channel) = pair().await;
        peer.write_all(&noise(40_000)).await.unwrap();
        channel.rest().unwrap();
        let mut buffer = vec![0; 30_000];
        let filled = async {
            let mut filled = 0;
            while filled < buffer.len() {
                match channel.read_timed(&mut buffer[filled..]) {
                    Some(read) => filled += read.unwrap(),
                    None => tokio::task::yield_now().await,
                }
            }
            channel.read_timed(&mut [0; 20_000]).map(Result::unwrap)
        };
        let rest = tokio::time::timeout(Duration::from_secs(10), filled).await.unwrap();
        assert!(rest.is_some_and(|count| count <= 10_000), "{rest:?}");
    }

    #[tokio::test]
    async fn more_than_the_kernel_takes_is_written_whole_and_a_goodbye_follows() {
        let (mut peer, mut channel) = pair().await;
        channel.rest().unwrap();
        let bytes = noise(8 * 1024 * 1024);
        let writing = async {
            let mut written = 0;
            while written < bytes.len() {
                written += channel.write(&bytes[written..]).await.unwrap();
            }
            channel.close(Duration::from_secs(10)).await;
        };
        let reading = async {
            let mut all = Vec::new();
            // Without the goodbye this is an error: a cut that anybody could have made.
            peer.read_to_end(&mut all).await.unwrap();
            drop(peer);
            all
        };
        let ((), got) = tokio::join!(writing, reading);
        assert!(got == bytes);
    }
}
