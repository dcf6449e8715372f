//! The TCP sockets that callers come to, and what holds for every TCP connection of the gateway's.

use std::io;
use std::net::{SocketAddr, TcpListener};

use socket2::{Domain, Protocol, Socket, Type};

use crate::gateway::limits::keepalive::KEEPALIVE;

/// How many callers may wait in the kernel's queue of one socket.
const BACKLOG: i32 = 1_024;

/// How much of what is written the kernel keeps that it cannot send yet, in octets. As it comes, that is
/// megabytes of a response that its caller does not read, and may not read any more by the time it does.
const UNSENT: u32 = 128 << 10;

/// Listening sockets: every worker has one for each address, in their order, and the kernel spreads the
/// connections.
pub(crate) struct Sockets {
    /// The addresses, with the ports that the system chose.
    pub(crate) addresses: Vec<SocketAddr>,
    pub(crate) of_workers: Vec<Vec<TcpListener>>,
}

impl Sockets {
    /// Binds `addresses` for this many workers. The error says which one failed.
    pub(crate) fn bind(
        addresses: impl Iterator<Item = SocketAddr>,
        workers: usize,
    ) -> Result<Self, (SocketAddr, io::Error)> {
        let mut sockets =
            Self { addresses: Vec::new(), of_workers: (0..workers).map(|_| Vec::new()).collect() };
        for address in addresses {
            let failed = |source| (address, source);
            // Once without SO_REUSEPORT, which would let a second gateway take half of the first one's
            // connections.
            drop(socket(address, false).map_err(failed)?);
            let mut actual = address;
            for listeners in &mut sockets.of_workers {
                let listener = socket(actual, true).map_err(failed)?;
                actual = listener.local_addr().map_err(failed)?;
                listeners.push(listener);
            }
            sockets.addresses.push(actual);
        }
        Ok(sockets)
    }
}

/// A listening socket that nobody else has.
pub(crate) fn listen(address: SocketAddr) -> Result<TcpListener, (SocketAddr, io::Error)> {
    socket(address, false).map_err(|source| (address, source))
}

fn socket(address: SocketAddr, reuse_port: bool) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(reuse_port)?;
    if address.is_ipv6() {
        // A second spelling of IPv4 addresses would get past what is configured for them.
        socket.set_only_v6(true)?;
    }
    // What is accepted inherits these (tcp(7)). Without the first, small records wait for the acknowledgement
    // of those before.
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_keepalive(&KEEPALIVE)?;
    socket.set_tcp_notsent_lowat(UNSENT)?;
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
    fn what_is_accepted_is_set_as_what_listens() {
        let listener = listen((std::net::Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        listener.set_nonblocking(false).unwrap();
        let _caller = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (accepted, _) = listener.accept().unwrap();
        let accepted = SockRef::from(&accepted);
        assert!(accepted.keepalive().unwrap() && accepted.tcp_nodelay().unwrap());
        assert_eq!(accepted.tcp_keepalive_time().unwrap(), std::time::Duration::from_secs(60));
        assert_eq!(accepted.tcp_keepalive_interval().unwrap(), std::time::Duration::from_secs(15));
        assert_eq!(accepted.tcp_notsent_lowat().unwrap(), UNSENT);
    }

    #[test]
    fn an_address_is_one_gateways_alone() {
        let first = Sockets::bind([(std::net::Ipv4Addr::LOCALHOST, 0).into()].into_iter(), 2).unwrap();
        let (address, error) = Sockets::bind(first.addresses.iter().copied(), 2).err().unwrap();
        assert_eq!((address, error.kind()), (first.addresses[0], io::ErrorKind::AddrInUse));
        assert_eq!(first.of_workers.iter().map(Vec::len).collect::<Vec<_>>(), [1, 1]);
    }
}
