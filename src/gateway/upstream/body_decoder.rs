//! Decoder of a response's body (RFC 9112, section 7.1): from the bytes of a connection to those of the body.
//!
//! It reads and writes nothing itself. Chunks are taken strictly: each line ends with CR and LF, and a size has nothing
//! but digits, with an extension that is skipped.

use bytes::{Buf, Bytes, BytesMut};
use http::header::{HeaderMap, HeaderName, HeaderValue};

use crate::gateway::upstream::response_error::ResponseError;
use crate::gateway::upstream::response_head::BodyFraming;

/// Most bytes of all chunk extensions of a body.
const MAX_EXTENSIONS: usize = 16 << 10;

/// Most bytes of the trailers, and of a line with the size of a chunk.
const MAX_LINES: usize = 16 << 10;

/// Most trailers.
const MAX_TRAILERS: usize = 100;

/// Decoder of one body.
#[derive(Debug)]
pub struct BodyDecoder {
    state: State,
    /// Bytes at the start of the buffer in which no end of a line was found.
    scanned: usize,
    /// Bytes of chunk extensions so far.
    extensions: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Bytes to come.
    Length(u64),
    ChunkSize,
    /// Bytes to come of a chunk.
    ChunkData(u64),
    ChunkEnd,
    Trailers,
    UntilClose,
    Ended,
}

/// Part of a body.
#[derive(Debug)]
pub enum Decoded {
    /// Bytes of the body.
    Data(Bytes),
    /// Trailers, after which the body has ended.
    Trailers(HeaderMap),
    /// The body has ended.
    End,
    /// More bytes are needed.
    More,
}

impl BodyDecoder {
    /// Decoder of a body with this framing.
    #[must_use]
    pub const fn new(framing: BodyFraming) -> Self {
        let state = match framing {
            BodyFraming::Length(0) => State::Ended,
            BodyFraming::Length(length) => State::Length(length),
            BodyFraming::Chunked => State::ChunkSize,
            BodyFraming::UntilClose => State::UntilClose,
        };
        Self { state, scanned: 0, extensions: 0 }
    }

    /// True after the end of the body.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.state == State::Ended
    }

    /// Number of bytes to come, if it is known.
    #[must_use]
    pub const fn remaining(&self) -> Option<u64> {
        match self.state {
            State::Length(remaining) => Some(remaining),
            State::Ended => Some(0),
            _ => None,
        }
    }

    /// Record that the connection has ended.
    ///
    /// # Errors
    /// [`ResponseError::Incomplete`] if the body has not.
    pub fn end_of_connection(&mut self) -> Result<(), ResponseError> {
        match self.state {
            State::UntilClose | State::Ended => {
                self.state = State::Ended;
                Ok(())
            }
            _ => Err(ResponseError::Incomplete),
        }
    }

    /// Take the next part of the body from `buffer`.
    ///
    /// # Errors
    /// [`ResponseError`] if the chunks are malformed.
    pub fn decode(&mut self, buffer: &mut BytesMut) -> Result<Decoded, ResponseError> {
        loop {
            match self.state {
                State::Ended => return Ok(Decoded::End),
                _ if buffer.is_empty() => return Ok(Decoded::More),
                State::UntilClose => return Ok(Decoded::Data(buffer.split().freeze())),
                State::Length(remaining) => {
                    let (data, remaining) = take(buffer, remaining);
                    self.state = if remaining == 0 { State::Ended } else { State::Length(remaining) };
                    return Ok(Decoded::Data(data));
                }
                State::ChunkData(remaining) => {
                    let (data, remaining) = take(buffer, remaining);
                    self.state = if remaining == 0 { State::ChunkEnd } else { State::ChunkData(remaining) };
                    return Ok(Decoded::Data(data));
                }
                State::ChunkEnd => match buffer.get(..2) {
                    Some(b"\r\n") => {
                        buffer.advance(2);
                        self.state = State::ChunkSize;
                    }
                    None if buffer.first() == Some(&b'\r') => return Ok(Decoded::More),
                    _ => return Err(malformed("a chunk is longer than its size")),
                },
                State::ChunkSize => {
                    let Some(length) = self.line(buffer)? else { return Ok(Decoded::More) };
                    let line = buffer.get(..length).unwrap_or_default();
                    let (size, extension) =
                        chunk_size(line).ok_or(malformed("the size of a chunk is invalid"))?;
                    self.extensions += extension;
                    if self.extensions >= MAX_EXTENSIONS {
                        return Err(malformed("the chunk extensions are too long"));
                    }
                    buffer.advance(length);
                    self.state = if size == 0 { State::Trailers } else { State::ChunkData(size) };
                }
                State::Trailers => return self.trailers(buffer),
            }
        }
    }

    /// Length of the line at the start of `buffer`, with its LF; `None` if it is not complete.
    fn line(&mut self, buffer: &[u8]) -> Result<Option<usize>, ResponseError> {
        let new = buffer.get(self.scanned..).unwrap_or_default();
        let found = new.iter().position(|byte| *byte == b'\n').map(|at| self.scanned + at + 1);
        self.scanned = if found.is_some() { 0 } else { buffer.len() };
        match found {
            None if buffer.len() >= MAX_LINES => Err(malformed("a line of a chunk is too long")),
            found => Ok(found),
        }
    }

    fn trailers(&mut self, buffer: &mut BytesMut) -> Result<Decoded, ResponseError> {
        if buffer.starts_with(b"\r\n") {
            buffer.advance(2);
            self.state = State::Ended;
            return Ok(Decoded::End);
        }
        let new = self.scanned.saturating_sub(3);
        let ends = buffer.get(new..).unwrap_or_default().windows(4).position(|four| four == b"\r\n\r\n");
        let Some(length) = ends.map(|at| new + at + 4) else {
            self.scanned = buffer.len();
            return if buffer.len() >= MAX_LINES {
                Err(malformed("the trailers are too long"))
            } else {
                Ok(Decoded::More)
            };
        };
        if length > MAX_LINES {
            return Err(malformed("the trailers are too long"));
        }
        let lines = buffer.split_to(length);
        let has_bare = |(at, byte): (usize, &u8)| match byte {
            b'\n' => at.checked_sub(1).and_then(|before| lines.get(before)) != Some(&b'\r'),
            b'\r' => lines.get(at + 1) != Some(&b'\n'),
            _ => false,
        };
        if lines.iter().enumerate().any(has_bare) {
            return Err(malformed("a trailer does not end with CR and LF"));
        }
        self.state = State::Ended;
        parse_trailers(&lines).map(Decoded::Trailers)
    }
}

fn parse_trailers(lines: &[u8]) -> Result<HeaderMap, ResponseError> {
    let mut fields = [httparse::EMPTY_HEADER; MAX_TRAILERS];
    let (length, fields) = match httparse::parse_headers(lines, &mut fields)? {
        httparse::Status::Complete(complete) => complete,
        httparse::Status::Partial => return Err(malformed("the trailers have no end")),
    };
    if length != lines.len() {
        return Err(malformed("the trailers have two ends"));
    }
    let mut trailers = HeaderMap::with_capacity(fields.len());
    for field in fields {
        let name = HeaderName::from_bytes(field.name.as_bytes());
        let value = HeaderValue::from_bytes(field.value);
        let (Ok(name), Ok(value)) = (name, value) else { return Err(malformed("a trailer is invalid")) };
        trailers.append(name, value);
    }
    Ok(trailers)
}

const fn malformed(reason: &'static str) -> ResponseError {
    ResponseError::Malformed { reason }
}

/// Up to `remaining` bytes of `buffer`, and how many of them remain.
fn take(buffer: &mut BytesMut, remaining: u64) -> (Bytes, u64) {
    let most = usize::try_from(remaining).unwrap_or(usize::MAX).min(buffer.len());
    let data = buffer.split_to(most).freeze();
    (data, remaining.saturating_sub(u64::try_from(most).unwrap_or(u64::MAX)))
}

/// Size of a chunk from its line, and the length of its extension. `None` if the line is invalid.
fn chunk_size(line: &[u8]) -> Option<(u64, usize)> {
    let line = line.strip_suffix(b"\r\n")?;
    let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    let (digits, rest) = line.split_at_checked(digits)?;
    let size = digits.iter().try_fold(0_u64, |size, digit| {
        let digit = char::from(*digit).to_digit(16)?;
        size.checked_mul(16)?.checked_add(digit.into())
    })?;
    // Some servers pad the size with spaces.
    let extension = rest.trim_ascii_start();
    let is_valid = !digits.is_empty()
        && (extension.is_empty() || extension.starts_with(b";"))
        && !rest.contains(&b'\r')
        && !rest.contains(&b'\x0c');
    is_valid.then_some((size, extension.len()))
}
