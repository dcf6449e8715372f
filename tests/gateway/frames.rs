//! HTTP/2 frames put together by hand, for requests that no client library would send.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::harness::{Tls, patiently};

const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const GOAWAY: u8 = 7;

const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// What becomes of the first stream of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It gets a response.
    Answered,
    /// It, or the connection, is ended as an error.
    Refused,
}

/// Sends one request without a body, its fields as they are and in this order.
pub(crate) async fn send(stream: &mut Tls, fields: &[(&str, &str)]) -> Outcome {
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    bytes.extend(frame(4, 0, 0, &[]));
    let block: Vec<u8> = fields.iter().flat_map(|(name, value)| field(name, value)).collect();
    bytes.extend(frame(HEADERS, END_STREAM | END_HEADERS, 1, &block));
    stream.write_all(&bytes).await.unwrap();
    loop {
        let mut head = [0; 9];
        if patiently(stream.read_exact(&mut head)).await.is_err() {
            return Outcome::Refused;
        }
        let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        let mut payload = vec![0; length];
        patiently(stream.read_exact(&mut payload)).await.unwrap();
        match head[3] {
            HEADERS => return Outcome::Answered,
            RST_STREAM | GOAWAY => return Outcome::Refused,
            _ => {}
        }
    }
}

fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags, 0, 0, 0, stream], payload].concat()
}

/// A field as a literal that is not indexed (RFC 7541, section 6.2.2).
fn field(name: &str, value: &str) -> Vec<u8> {
    let text = |text: &str| {
        let length = u8::try_from(text.len()).unwrap();
        assert!(length < 127, "a longer length takes more than a byte");
        [&[length], text.as_bytes()].concat()
    };
    [vec![0], text(name), text(value)].concat()
}
