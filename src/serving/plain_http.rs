//! Plain HTTP on a TLS port: detected before the handshake, and answered in plain HTTP.

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

/// Bytes that tell a request from a TLS record, which begins with 0x16 (RFC 8446, section 5.1).
const PEEKED: usize = 8;

/// Answer to a client that calls `http://` instead of `https://`. Nothing of its request is read.
const ANSWER: &[u8] = b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\ncontent-length: 35\r\n\
    cache-control: no-store\r\nconnection: close\r\n\r\nThis port requires https and TLS.\r\n";

/// Wait for the first bytes of the client; returns true if they begin an HTTP request. They stay unread.
pub(crate) async fn is_spoken(stream: &TcpStream) -> bool {
    let mut first = [0; PEEKED];
    match stream.peek(&mut first).await {
        Ok(length) => is_request(first.get(..length).unwrap_or_default()),
        Err(_) => false,
    }
}

/// Answer with 400. A failing write means that the client has gone.
pub(crate) async fn refuse(stream: &mut TcpStream) {
    let _ = stream.write_all(ANSWER).await;
}

/// Upper-case letters up to a space, or as far as the bytes go: a method (RFC 9110, section 9.1).
fn is_request(first: &[u8]) -> bool {
    let method = first.split(|byte| *byte == b' ').next().unwrap_or_default();
    !method.is_empty() && method.iter().all(u8::is_ascii_uppercase)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_told_from_other_bytes() {
        for first in [&b"GET / HT"[..], b"POST /v1", b"OPTIONS ", b"PROPFIND", b"PRI * HT", b"G"] {
            assert!(is_request(first), "{first:?}");
        }
        for first in
            [&b""[..], b"\x16\x03\x01\x02\0", b"SSH-2.0-", b"\0\0\0", b" GET /", b"get / HT", b"{\"a\"}"]
        {
            assert!(!is_request(first), "{first:?}");
        }
    }

    #[test]
    fn the_answer_is_as_long_as_it_says() {
        let text = std::str::from_utf8(ANSWER).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("content-length: {}", body.len())), "{}", body.len());
    }
}
