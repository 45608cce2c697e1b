//! Listening sockets. `[::]` means every address of this machine, IPv4 and IPv6, whichever of them the kernel has.

use anyhow::Context;
use socket2::{Domain, Socket, Type};
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use tokio::net::TcpListener;

/// Connections that wait to be accepted: after a replica went, all its viewers come at once.
const BACKLOG: i32 = 4096;
/// The kernel was built or started without IPv6; std has no error kind for it.
const EAFNOSUPPORT: i32 = if cfg!(target_os = "linux") { 97 } else { 47 };

/// Listens; an error names the setting and the mend.
pub(super) fn bound(setting: &'static str, address: SocketAddr) -> anyhow::Result<TcpListener> {
    listen(address).with_context(|| format!("{setting}: cannot listen on {address}: choose another address"))
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let without_ipv6 = |error: &io::Error| {
        error.kind() == ErrorKind::AddrNotAvailable || error.raw_os_error() == Some(EAFNOSUPPORT)
    };
    match open(address) {
        Err(error) if address.ip() == Ipv6Addr::UNSPECIFIED && without_ipv6(&error) => {
            open((IpAddr::from(Ipv4Addr::UNSPECIFIED), address.port()).into())
        }
        outcome => outcome,
    }
}

fn open(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        // Whatever net.ipv6.bindv6only says.
        socket.set_only_v6(false)?;
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    TcpListener::from_std(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpStream;

    #[tokio::test]
    async fn every_address_takes_ipv4_too() {
        let listener = listen((Ipv6Addr::UNSPECIFIED, 0).into()).unwrap();
        let port = listener.local_addr().unwrap().port();
        TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.unwrap();
        let taken = listen((Ipv6Addr::UNSPECIFIED, port).into());
        assert_eq!(taken.unwrap_err().kind(), ErrorKind::AddrInUse);
    }
}
