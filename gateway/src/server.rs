//! Connections: accepting, socket options, draining.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tower_service::Service;

use crate::app::Shared;

/// Unacknowledged data ends a connection after this.
const USER_TIMEOUT: Duration = Duration::from_secs(30);
/// What the kernel may hold for a viewer that does not read: by default it is megabytes, minutes of a session.
const SEND_BUFFER: usize = 64 * 1024;
/// Bytes of a request's head at most; also hyper's buffer.
const HEAD_BYTES: usize = 16 * 1024;
/// Pause after an error of `accept` (out of file descriptors): retrying at once would spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The remote address, as an extension of each request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer(pub(crate) SocketAddr);

pub(crate) async fn serve(
    shared: Arc<Shared>,
    router: Router,
    listener: TcpListener,
    shutdown: impl Future<Output = ()> + Send,
) -> io::Result<()> {
    refuse_open_beyond_loopback(&shared, listener.local_addr()?)?;
    let open = Arc::new(watch::Sender::new(0));
    let announced = Arc::clone(&shared);
    let mut shutdown = std::pin::pin!(async move {
        shutdown.await;
        announced.leaving.store(true, Ordering::Relaxed);
        tokio::time::sleep(announced.config.settle).await;
    });
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut shutdown => break,
        };
        match accepted {
            Ok((tcp, peer)) => accept(&shared, &router, &open, tcp, peer),
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                tracing::warn!(%error, "cannot accept connections; trying again");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    shared.draining.send_replace(true);
    let gone = async { drop(open.subscribe().wait_for(|open| *open == 0).await) };
    let patience = shared.config.drain + shared.config.write_timeout;
    if tokio::time::timeout(patience, gone).await.is_err() {
        tracing::warn!(connections = *open.borrow(), "connections are left at the end of draining");
    }
    Ok(())
}

fn refuse_open_beyond_loopback(shared: &Shared, at: SocketAddr) -> io::Result<()> {
    if shared.gatekeeper.is_open() && !at.ip().is_loopback() {
        let text = format!("{at} is not loopback: set ROOMSCRIBE_API_KEY, or listen on 127.0.0.1");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    }
    Ok(())
}

fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

fn accept(
    shared: &Arc<Shared>,
    router: &Router,
    open: &Arc<watch::Sender<usize>>,
    tcp: TcpStream,
    peer: SocketAddr,
) {
    let limits = &shared.config.limits;
    if *open.borrow() >= limits.viewers + limits.http_connections {
        shared.metrics.refuse("connections");
        return;
    }
    tune(&tcp);
    let socket = Counted::new(tcp, Arc::clone(open), shared.metrics.connections.clone());
    let router = router.clone();
    let service = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
        let mut router = router.clone();
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(Peer(peer));
        async move { router.call(request).await }
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(shared.config.head_timeout).max_buf_size(HEAD_BYTES);
    let connection = http.serve_connection(TokioIo::new(socket), service).with_upgrades();
    let mut draining = shared.draining.subscribe();
    tokio::spawn(async move {
        let mut connection = std::pin::pin!(connection);
        tokio::select! {
            // What a broken connection says is of no use to anyone.
            _ = connection.as_mut() => return,
            _ = draining.wait_for(|draining| *draining) => {}
        }
        connection.as_mut().graceful_shutdown();
        drop(connection.await);
    });
}

/// Best effort: a socket without these options works too.
fn tune(tcp: &TcpStream) {
    let socket = SockRef::from(tcp);
    let tuned = socket
        .set_tcp_nodelay(true)
        .and_then(|()| socket.set_send_buffer_size(SEND_BUFFER))
        .and_then(|()| socket.set_tcp_user_timeout(Some(USER_TIMEOUT)));
    if let Err(error) = tuned {
        tracing::debug!(%error, "socket options");
    }
}

/// A connection that is counted until it is really closed, upgraded or not.
struct Counted {
    tcp: TcpStream,
    open: Arc<watch::Sender<usize>>,
    gauge: prometheus_client::metrics::gauge::Gauge,
}

impl Counted {
    fn new(
        tcp: TcpStream,
        open: Arc<watch::Sender<usize>>,
        gauge: prometheus_client::metrics::gauge::Gauge,
    ) -> Self {
        open.send_modify(|open| *open += 1);
        gauge.inc();
        Self { tcp, open, gauge }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.open.send_modify(|open| *open -= 1);
        self.gauge.dec();
    }
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_read(cx, buf)
    }
}

impl AsyncWrite for Counted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tcp).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tcp).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.tcp.is_write_vectored()
    }
}
