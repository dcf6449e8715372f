//! Connection to one of the addresses of an upstream's name: staggered attempts, as RFC 8305 has them.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::sleep;

/// Time that an attempt has to itself before the next one starts (RFC 8305, section 5).
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// Connect to the first of `addresses` that accepts; `preferred` is tried first if it is one of them.
///
/// # Errors
/// [`io::Error`] of the last attempt.
pub(super) async fn connect(
    addresses: &[SocketAddr],
    preferred: Option<SocketAddr>,
) -> io::Result<TcpStream> {
    let mut attempts = JoinSet::new();
    let mut last_error = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    let mut waiting = ordered(addresses, preferred).into_iter();
    loop {
        match waiting.next() {
            Some(only) if addresses.len() == 1 => return TcpStream::connect(only).await,
            Some(next) => drop(attempts.spawn(TcpStream::connect(next))),
            None if attempts.is_empty() => return Err(last_error),
            None => {}
        }
        tokio::select! {
            biased;
            Some(ended) = attempts.join_next() => match ended {
                Ok(Ok(stream)) => return Ok(stream),
                // The next attempt starts at once.
                Ok(Err(error)) => last_error = error,
                Err(error) => last_error = io::Error::other(error),
            },
            () = sleep(ATTEMPT_DELAY), if waiting.len() > 0 => {}
        }
    }
}

/// Order of the attempts: the preferred address, then the address families in turn, so that a family that
/// does not work delays the other one only once (RFC 8305, section 4).
fn ordered(addresses: &[SocketAddr], preferred: Option<SocketAddr>) -> Vec<SocketAddr> {
    let Some(first) = preferred.filter(|address| addresses.contains(address)).or(addresses.first().copied())
    else {
        return Vec::new();
    };
    let others = addresses.iter().copied().filter(|address| *address != first);
    let (mut same, mut other): (Vec<_>, Vec<_>) = others.partition(|one| one.is_ipv4() == first.is_ipv4());
    same.reverse();
    other.reverse();
    let mut order = vec![first];
    while !same.is_empty() || !other.is_empty() {
        order.extend(other.pop());
        order.extend(same.pop());
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use tokio::net::TcpSocket;
    use tokio::time::timeout;

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn families_take_turns_after_the_preferred_address() {
        let [a, b, c] = ["10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80"].map(address);
        let [x, y] = ["[2001:db8::1]:80", "[2001:db8::2]:80"].map(address);
        assert_eq!(ordered(&[x, y, a, b], None), [x, a, y, b]);
        assert_eq!(ordered(&[a, b, c], None), [a, b, c]);
        assert_eq!(ordered(&[a, b, x], Some(b)), [b, x, a]);
        assert_eq!(ordered(&[a, b], Some(c)), [a, b], "an address that the name no longer has");
        assert_eq!(ordered(&[], Some(a)), []);
    }

    /// A listener whose queue is full, so that the kernel drops what comes, and what fills it.
    async fn swallowing() -> (SocketAddr, Vec<tokio::net::TcpListener>, Vec<TcpStream>) {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(address("127.0.0.1:0")).unwrap();
        let listener = socket.listen(0).unwrap();
        let full = listener.local_addr().unwrap();
        let mut queued = Vec::new();
        while let Ok(stream) = timeout(Duration::from_millis(100), TcpStream::connect(full)).await {
            queued.push(stream.unwrap());
        }
        (full, vec![listener], queued)
    }

    #[tokio::test]
    async fn an_address_that_swallows_connections_does_not_hide_the_next_one() {
        let (dead, _listener, _queued) = swallowing().await;
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let alive = listener.local_addr().unwrap();
        for preferred in [None, Some(alive)] {
            let stream = connect(&[dead, alive], preferred).await.unwrap();
            assert_eq!(stream.peer_addr().unwrap(), alive);
        }
    }

    #[tokio::test]
    async fn an_address_that_refuses_gives_way_at_once_and_the_last_error_is_reported() {
        let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let alive = listener.local_addr().unwrap();
        assert_eq!(connect(&[closed, alive], None).await.unwrap().peer_addr().unwrap(), alive);
        for addresses in [&[closed][..], &[closed, closed]] {
            let error = connect(addresses, None).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        }
        assert_eq!(connect(&[], None).await.unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
