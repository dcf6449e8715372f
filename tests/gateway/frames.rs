//! HTTP/2 frames put together by hand, for requests that no client library would send.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::harness::{Tls, patiently};

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const GOAWAY: u8 = 7;

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

/// A frame as it came: its type and its stream (RFC 9113, section 4.1).
pub(crate) type Frame = (u8, u32);

/// Sends one request without a body, its fields as they are and in this order.
pub(crate) async fn send(stream: &mut Tls, fields: &[(&str, &str)]) -> Outcome {
    begin(stream, &[1], fields).await;
    loop {
        match next(stream).await {
            Some((HEADERS, _)) => return Outcome::Answered,
            None | Some((RST_STREAM | GOAWAY, _)) => return Outcome::Refused,
            Some(_) => {}
        }
    }
}

/// Begins a connection, and on each of these streams the same request.
pub(crate) async fn begin(stream: &mut Tls, streams: &[u8], fields: &[(&str, &str)]) {
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    bytes.extend(frame(4, 0, 0, &[]));
    let block: Vec<u8> = fields.iter().flat_map(|(name, value)| field(name, value)).collect();
    for number in streams {
        bytes.extend(frame(HEADERS, END_STREAM | END_HEADERS, *number, &block));
    }
    stream.write_all(&bytes).await.unwrap();
}

/// Begins a connection with one request, whose stream goes on with these frames: type, payload, end of the stream.
pub(crate) async fn begin_with(
    stream: &mut Tls,
    number: u8,
    fields: &[(&str, &str)],
    frames: &[(u8, &str, bool)],
) {
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    bytes.extend(frame(4, 0, 0, &[]));
    let block: Vec<u8> = fields.iter().flat_map(|(name, value)| field(name, value)).collect();
    bytes.extend(frame(HEADERS, END_HEADERS, number, &block));
    for (kind, payload, ends) in frames {
        let end = if *ends { END_STREAM } else { 0 };
        let headers = if *kind == HEADERS { END_HEADERS } else { 0 };
        bytes.extend(frame(*kind, end | headers, number, payload.as_bytes()));
    }
    stream.write_all(&bytes).await.unwrap();
}

/// The status of the first response. Only the statuses of HPACK's static table are read (RFC 7541, appendix A).
pub(crate) async fn status(stream: &mut Tls) -> &'static str {
    loop {
        let (kind, payload) = next_with_payload(stream).await.expect("a response").0;
        if kind == HEADERS {
            let known =
                [(0x88, "200"), (0x89, "204"), (0x8a, "206"), (0x8b, "304"), (0x8c, "400"), (0x8d, "404")];
            return known.iter().find(|(index, _)| payload[0] == *index).expect("a usual status").1;
        }
    }
}

/// Ends the request of this stream, in a frame of its own.
pub(crate) async fn end(stream: &mut Tls, number: u8) {
    stream.write_all(&frame(DATA, END_STREAM, number, &[])).await.unwrap();
}

/// The next frame; `None` once the connection has ended.
pub(crate) async fn next(stream: &mut Tls) -> Option<Frame> {
    next_with_payload(stream).await.map(|((kind, _), number)| (kind, number))
}

async fn next_with_payload(stream: &mut Tls) -> Option<((u8, Vec<u8>), u32)> {
    let mut head = [0; 9];
    patiently(stream.read_exact(&mut head)).await.ok()?;
    let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
    let mut payload = vec![0; length];
    patiently(stream.read_exact(&mut payload)).await.unwrap();
    Some(((head[3], payload), u32::from_be_bytes([head[5], head[6], head[7], head[8]])))
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
