//! Listening TCP sockets, with the options of all TCP connections.

use std::io;
use std::net::{SocketAddr, TcpListener};

use socket2::{Domain, Protocol, Socket, Type};

use crate::serving::keepalive::KEEPALIVE;

/// Length of the kernel's accept queue of one socket.
const BACKLOG: i32 = 1_024;

/// Most unsent bytes that the kernel buffers. By default these are megabytes of a response, which the
/// client may no longer be permitted to read once it does.
const MAX_UNSENT_BYTES: u32 = 128 << 10;

/// Listening sockets: one per worker and address. The kernel spreads connections over the workers.
pub(crate) struct Sockets {
    /// Bound addresses, with the ports that the system assigned.
    pub(crate) addresses: Vec<SocketAddr>,
    pub(crate) by_worker: Vec<Vec<TcpListener>>,
}

impl Sockets {
    /// Bind `addresses` for this many workers. The error names the address.
    pub(crate) fn bind(
        addresses: impl Iterator<Item = SocketAddr>,
        workers: usize,
    ) -> Result<Self, (SocketAddr, io::Error)> {
        let mut sockets =
            Self { addresses: Vec::new(), by_worker: (0..workers).map(|_| Vec::new()).collect() };
        for address in addresses {
            let failed = |source| (address, source);
            // First without SO_REUSEPORT, which would let a second gateway take half of the connections.
            drop(socket(address, false).map_err(failed)?);
            let mut actual = address;
            for listeners in &mut sockets.by_worker {
                let listener = socket(actual, true).map_err(failed)?;
                actual = listener.local_addr().map_err(failed)?;
                listeners.push(listener);
            }
            sockets.addresses.push(actual);
        }
        Ok(sockets)
    }
}

/// True if the addresses cannot both be bound: one port, of one address or of every address of its family.
pub(crate) fn collide(one: SocketAddr, other: SocketAddr) -> bool {
    let same = one.ip() == other.ip() || one.ip().is_unspecified() || other.ip().is_unspecified();
    one.port() != 0 && one.port() == other.port() && one.is_ipv4() == other.is_ipv4() && same
}

/// Bind one exclusive listening socket.
pub(crate) fn listen(address: SocketAddr) -> Result<TcpListener, (SocketAddr, io::Error)> {
    socket(address, false).map_err(|source| (address, source))
}

fn socket(address: SocketAddr, reuse_port: bool) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(reuse_port)?;
    if address.is_ipv6() {
        // IPv4-mapped addresses would bypass the limits configured for IPv4.
        socket.set_only_v6(true)?;
    }
    // Accepted sockets inherit these options (tcp(7)). Without TCP_NODELAY, small records wait for the
    // acknowledgement of earlier ones.
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_keepalive(&KEEPALIVE)?;
    socket.set_tcp_notsent_lowat(MAX_UNSENT_BYTES)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use socket2::SockRef;

    use super::*;

    #[test]
    fn accepted_sockets_inherit_the_options() {
        let listener = listen((std::net::Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        listener.set_nonblocking(false).unwrap();
        let _caller = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (accepted, _) = listener.accept().unwrap();
        let accepted = SockRef::from(&accepted);
        assert!(accepted.keepalive().unwrap() && accepted.tcp_nodelay().unwrap());
        assert_eq!(accepted.tcp_keepalive_time().unwrap(), std::time::Duration::from_secs(60));
        assert_eq!(accepted.tcp_keepalive_interval().unwrap(), std::time::Duration::from_secs(15));
        assert_eq!(accepted.tcp_notsent_lowat().unwrap(), MAX_UNSENT_BYTES);
    }

    #[test]
    fn a_second_gateway_cannot_bind_the_address() {
        let first = Sockets::bind([(std::net::Ipv4Addr::LOCALHOST, 0).into()].into_iter(), 2).unwrap();
        let (address, error) = Sockets::bind(first.addresses.iter().copied(), 2).err().unwrap();
        assert_eq!((address, error.kind()), (first.addresses[0], io::ErrorKind::AddrInUse));
        assert_eq!(first.by_worker.iter().map(Vec::len).collect::<Vec<_>>(), [1, 1]);
    }
}
