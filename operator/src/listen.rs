//! Listening sockets. `[::]` means every address of this machine, IPv4 and IPv6, whichever of them the kernel has.

use socket2::{Domain, Socket, Type};
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};

/// Connections that wait to be accepted.
const BACKLOG: i32 = 1024;

/// Listens, for use inside a runtime.
///
/// # Errors
/// As `bind` and `listen` give them.
pub fn listen(address: SocketAddr) -> io::Result<tokio::net::TcpListener> {
    let socket = bind(address, open)?;
    socket.set_nonblocking(true)?;
    tokio::net::TcpListener::from_std(socket)
}

fn bind<T>(address: SocketAddr, open: impl Fn(SocketAddr) -> io::Result<T>) -> io::Result<T> {
    match open(address) {
        Err(error) if address.ip() == Ipv6Addr::UNSPECIFIED && has_no_ipv6(&error) => {
            open((IpAddr::from(Ipv4Addr::UNSPECIFIED), address.port()).into())
        }
        outcome => outcome,
    }
}

/// EAFNOSUPPORT (no error kind of its own): the kernel was built or started without IPv6. EADDRNOTAVAIL: it is switched off.
fn has_no_ipv6(error: &io::Error) -> bool {
    const EAFNOSUPPORT: i32 = if cfg!(target_os = "linux") { 97 } else { 47 };
    error.kind() == ErrorKind::AddrNotAvailable || error.raw_os_error() == Some(EAFNOSUPPORT)
}

fn open(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    // As std and tokio do: the port of a process that has just ended is free.
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        // Whatever net.ipv6.bindv6only says.
        socket.set_only_v6(false)?;
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failure here is a failed test")]
mod tests {
    use super::*;
    use std::net::TcpStream;

    const EVERY: &str = "[::]:1935";

    fn without_ipv6(code: i32) -> impl Fn(SocketAddr) -> io::Result<SocketAddr> {
        move |address| if address.is_ipv6() { Err(io::Error::from_raw_os_error(code)) } else { Ok(address) }
    }

    #[test]
    fn every_address_is_ipv4s_where_the_kernel_has_no_ipv6() {
        for code in [libc_code(ErrorKind::AddrNotAvailable), if cfg!(target_os = "linux") { 97 } else { 47 }]
        {
            let bound = bind(EVERY.parse().unwrap(), without_ipv6(code)).unwrap();
            assert_eq!(bound, "0.0.0.0:1935".parse().unwrap());
        }
    }

    #[test]
    fn a_taken_port_and_one_ipv6_address_are_not_replaced_by_ipv4() {
        let taken = bind(EVERY.parse().unwrap(), without_ipv6(libc_code(ErrorKind::AddrInUse)));
        assert_eq!(taken.unwrap_err().kind(), ErrorKind::AddrInUse);
        let one = bind("[::1]:1935".parse().unwrap(), without_ipv6(libc_code(ErrorKind::AddrNotAvailable)));
        assert_eq!(one.unwrap_err().kind(), ErrorKind::AddrNotAvailable);
    }

    #[test]
    fn every_address_takes_ipv4_and_where_there_is_one_ipv6() {
        let listener = bind((Ipv6Addr::UNSPECIFIED, 0).into(), open).unwrap();
        let port = listener.local_addr().unwrap().port();
        TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
        if TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok() {
            TcpStream::connect((Ipv6Addr::LOCALHOST, port)).unwrap();
        }
        let taken = bind((Ipv4Addr::UNSPECIFIED, port).into(), open);
        assert_eq!(taken.unwrap_err().kind(), ErrorKind::AddrInUse);
    }

    /// The number of an error on this system.
    fn libc_code(kind: ErrorKind) -> i32 {
        (1..200).find(|code| io::Error::from_raw_os_error(*code).kind() == kind).unwrap()
    }
}
