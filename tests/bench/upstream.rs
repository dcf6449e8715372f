//! A service behind the proxies: fixed responses over HTTP/1.1, on a thread of its own.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Bytes of a response's body, unless the path asks for another number (`/v1/bytes/65536`).
const BODY: usize = 200;

/// Starts the service at this address; returns the address it listens at.
pub(crate) fn start(address: SocketAddr) -> SocketAddr {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let listener = runtime.block_on(TcpListener::bind(address)).unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        runtime.block_on(async {
            while let Ok((stream, _)) = listener.accept().await {
                stream.set_nodelay(true).unwrap();
                tokio::spawn(serve(stream));
            }
        });
    });
    address
}

async fn serve(mut stream: TcpStream) {
    let usual = response(BODY);
    let mut received = Vec::with_capacity(64 << 10);
    loop {
        let Some(end) = find(&received, b"\r\n\r\n") else {
            match stream.read_buf(&mut received).await {
                Ok(1..) => continue,
                _ => return,
            }
        };
        let head = String::from_utf8_lossy(&received[..end]).to_ascii_lowercase();
        received.drain(..end + 4);
        if !skip_body(&mut stream, &head, &mut received).await {
            return;
        }
        let path = head.split(' ').nth(1).unwrap_or_default();
        let other = path.strip_prefix("/v1/bytes/").and_then(|size| size.parse().ok()).map(response);
        if stream.write_all(other.as_ref().unwrap_or(&usual)).await.is_err() {
            return;
        }
    }
}

/// Reads and drops the body of the request with this head; `received` has its start. False if the client is gone.
async fn skip_body(stream: &mut TcpStream, head: &str, received: &mut Vec<u8>) -> bool {
    if head.contains("transfer-encoding: chunked") {
        loop {
            if let Some(end) = find(received, b"0\r\n\r\n") {
                received.drain(..end + 5);
                return true;
            }
            // The end may be cut in two.
            received.drain(..received.len().saturating_sub(8));
            if !matches!(stream.read_buf(received).await, Ok(1..)) {
                return false;
            }
        }
    }
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let mut left: usize = length.map_or(0, |length| length.trim().parse().unwrap());
    loop {
        let some = left.min(received.len());
        received.drain(..some);
        left -= some;
        if left == 0 {
            return true;
        }
        if !matches!(stream.read_buf(received).await, Ok(1..)) {
            return false;
        }
    }
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

fn response(length: usize) -> Vec<u8> {
    let mut response = format!(
        "HTTP/1.1 200 OK\r\nserver: service\r\ndate: Thu, 01 Jan 2026 00:00:00 GMT\r\n\
         content-type: application/json\r\ncontent-length: {length}\r\n\r\n"
    )
    .into_bytes();
    response.resize(response.len() + length, b'x');
    response
}
