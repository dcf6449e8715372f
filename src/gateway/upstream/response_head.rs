//! Head of an upstream's response: status, fields for the client, and the framing of the body (RFC 9112, section 6.3).
//!
//! One pass over the fields notes what the gateway itself needs, and leaves out what must not reach the client. A
//! response whose end could be told in two ways is refused.

use std::mem::MaybeUninit;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::StatusCode;
use http::header::{
    CONNECTION, CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue, TRAILER, TRANSFER_ENCODING,
    WWW_AUTHENTICATE,
};

use crate::gateway::message::headers;
use crate::gateway::message::interim::Interim;
use crate::gateway::message::reserved_headers::ReservedHeaders;
use crate::gateway::upstream::response_error::ResponseError;

/// Most fields that are read without the heap.
const INLINE_FIELDS: usize = 100;

/// Longest head, in bytes.
const MAX_LENGTH: usize = 408 << 10;

/// Longest body that a `Content-Length` may state.
const MAX_CONTENT_LENGTH: u64 = u64::MAX >> 1;

/// Field that announces when an idle connection is closed (RFC 2068, section 19.7.1.1; still sent by many servers).
pub(super) const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");

/// Request to which a response is read.
#[derive(Clone, Copy, Debug)]
pub struct ResponseContext<'a> {
    /// True for the response to HEAD, which has no body.
    pub is_head: bool,
    /// Most fields of a response.
    pub most_fields: usize,
    /// Fields that do not reach the client.
    pub reserved: &'a ReservedHeaders,
}

/// Interim or final response.
#[derive(Debug)]
pub enum ReceivedHead {
    /// Interim response, with all of its fields.
    Interim(Interim),
    /// Final response, 101 among them.
    Final(ResponseHead),
}

/// Head of a final response.
#[derive(Debug)]
pub struct ResponseHead {
    /// Status code, 101 or not interim.
    pub status: StatusCode,
    /// Fields for the client; for a 101, all fields.
    pub headers: HeaderMap,
    /// Framing of the body.
    pub framing: BodyFraming,
    /// True if the upstream keeps the connection open after the body.
    pub keeps_alive: bool,
    /// Announced time for which it keeps an idle connection.
    pub idle_lifetime: Option<Duration>,
    /// True if an authentication scheme binds the connection to this client.
    pub binds_connection: bool,
}

/// Framing of a response's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyFraming {
    /// Number of bytes; zero for a response without a body.
    Length(u64),
    /// Chunked transfer coding.
    Chunked,
    /// The body ends with the connection.
    UntilClose,
}

/// Reader of heads, with the memory that it uses again.
#[derive(Debug, Default)]
pub struct HeadReader {
    /// Bytes known to have no end of a head.
    scanned: usize,
    fields: Vec<FieldRange>,
}

/// Place of a field's value, with its name.
#[derive(Debug)]
struct FieldRange {
    name: HeaderName,
    start: usize,
    end: usize,
}

/// Status line of a head, and its length in bytes.
struct StatusLine {
    status: StatusCode,
    is_http_10: bool,
    length: usize,
}

impl HeadReader {
    /// Take the next head from `buffer`; `None` if it is not complete.
    ///
    /// # Errors
    /// [`ResponseError`] if the head is malformed, ambiguous or too large.
    pub fn read(
        &mut self,
        buffer: &mut BytesMut,
        context: &ResponseContext<'_>,
    ) -> Result<Option<ReceivedHead>, ResponseError> {
        if !self.may_be_complete(buffer) {
            return if buffer.len() >= MAX_LENGTH { Err(ResponseError::TooLarge) } else { Ok(None) };
        }
        let line = if context.most_fields > INLINE_FIELDS {
            self.parse(buffer, &mut vec![MaybeUninit::uninit(); context.most_fields])?
        } else {
            let mut fields = [const { MaybeUninit::uninit() }; INLINE_FIELDS];
            self.parse(buffer, fields.get_mut(..context.most_fields).unwrap_or_default())?
        };
        let Some(line) = line else {
            self.scanned = buffer.len();
            return if buffer.len() >= MAX_LENGTH { Err(ResponseError::TooLarge) } else { Ok(None) };
        };
        self.scanned = 0;
        let text = buffer.split_to(line.length).freeze();
        let status = line.status;
        if status.is_informational() && status != StatusCode::SWITCHING_PROTOCOLS {
            return Ok(Some(ReceivedHead::Interim(Interim { status, headers: self.all_fields(&text)? })));
        }
        self.final_head(&line, &text, context).map(|head| Some(ReceivedHead::Final(head)))
    }

    /// False if the bytes that are new have no empty line, so that a head is parsed once, however slowly it comes.
    fn may_be_complete(&mut self, buffer: &[u8]) -> bool {
        if self.scanned == 0 {
            return !buffer.is_empty();
        }
        let new = buffer.get(self.scanned.saturating_sub(3)..).unwrap_or_default();
        let ends = new.windows(3).any(|three| three == b"\n\r\n") || new.windows(2).any(|two| two == b"\n\n");
        if !ends {
            self.scanned = buffer.len();
        }
        ends
    }

    fn parse<'a>(
        &mut self,
        buffer: &'a [u8],
        fields: &mut [MaybeUninit<httparse::Header<'a>>],
    ) -> Result<Option<StatusLine>, ResponseError> {
        let mut response = httparse::Response::new(&mut []);
        let parsed = httparse::ParserConfig::default().parse_response_with_uninit_headers(
            &mut response,
            buffer,
            fields,
        )?;
        let httparse::Status::Complete(length) = parsed else { return Ok(None) };
        let invalid = ResponseError::Malformed { reason: "the status line is invalid" };
        let Some(status) = response.code.and_then(|code| StatusCode::from_u16(code).ok()) else {
            return Err(invalid);
        };
        let base = buffer.as_ptr().addr();
        self.fields.clear();
        for field in response.headers.iter() {
            let name = HeaderName::from_bytes(field.name.as_bytes())
                .map_err(|_| ResponseError::Malformed { reason: "a field has an invalid name" })?;
            let start = field.value.as_ptr().addr().saturating_sub(base);
            self.fields.push(FieldRange { name, start, end: start + field.value.len() });
        }
        Ok(Some(StatusLine { status, is_http_10: response.version == Some(0), length }))
    }

    fn all_fields(&mut self, text: &Bytes) -> Result<HeaderMap, ResponseError> {
        let mut headers = HeaderMap::with_capacity(self.fields.len());
        for FieldRange { name, start, end } in self.fields.drain(..) {
            headers.append(name, value(text, start, end)?);
        }
        Ok(headers)
    }

    fn final_head(
        &mut self,
        line: &StatusLine,
        text: &Bytes,
        context: &ResponseContext<'_>,
    ) -> Result<ResponseHead, ResponseError> {
        let status = line.status;
        let keeps_all = status == StatusCode::SWITCHING_PROTOCOLS;
        let mut headers = HeaderMap::with_capacity(self.fields.len() + 2);
        let mut framing = Framing::default();
        let mut options = ConnectionOptions::default();
        let (mut binds_connection, mut idle_lifetime, mut announces_trailers) = (false, None, false);
        for FieldRange { name, start, end } in self.fields.drain(..) {
            let value = value(text, start, end)?;
            match &name {
                &CONTENT_LENGTH => framing.add_length(&value),
                &TRANSFER_ENCODING => framing.add_coding(&value),
                &CONNECTION => options.add(&value),
                &WWW_AUTHENTICATE => binds_connection |= headers::binds_connection(&value),
                &TRAILER => announces_trailers = true,
                name if *name == KEEP_ALIVE => {
                    idle_lifetime = idle_lifetime.or_else(|| announced_lifetime(&value));
                }
                _ => {}
            }
            if keeps_all || name == CONNECTION || !context.reserved.contain(&name) {
                headers.append(name, value);
            }
        }
        let has_body = !context.is_head
            && !status.is_informational()
            && status != StatusCode::NO_CONTENT
            && status != StatusCode::NOT_MODIFIED;
        let framing = framing.of_body(has_body, line.is_http_10)?;
        if !keeps_all {
            match options.names_fields || announces_trailers {
                true => headers::to_downstream(&mut headers, context.reserved),
                false if options.any => drop(headers.remove(CONNECTION)),
                false => {}
            }
        }
        Ok(ResponseHead {
            status,
            headers,
            framing,
            keeps_alive: !options.closes
                && (options.keeps_alive || !line.is_http_10)
                && framing != BodyFraming::UntilClose,
            idle_lifetime,
            binds_connection,
        })
    }
}

fn value(text: &Bytes, start: usize, end: usize) -> Result<HeaderValue, ResponseError> {
    let invalid = ResponseError::Malformed { reason: "a field has an invalid value" };
    // A slice of the head, which is not copied.
    HeaderValue::from_maybe_shared(text.slice(start..end)).map_err(|_| invalid)
}

/// Options of all `Connection` fields.
#[derive(Default)]
struct ConnectionOptions {
    any: bool,
    closes: bool,
    keeps_alive: bool,
    /// Set for an option other than `keep-alive`, whose field is reserved.
    names_fields: bool,
}

impl ConnectionOptions {
    fn add(&mut self, value: &HeaderValue) {
        self.any = true;
        for option in value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
            let keeps_alive = option.eq_ignore_ascii_case(b"keep-alive");
            self.keeps_alive |= keeps_alive;
            self.names_fields |= !keeps_alive;
            self.closes |= option.eq_ignore_ascii_case(b"close");
        }
    }
}

/// Fields that state the length of a body.
#[derive(Default)]
struct Framing {
    lengths: usize,
    /// First length; `None` if it is not a number.
    length: Option<u64>,
    /// Set if a length is a list of equal numbers, or stated twice.
    repeated: bool,
    /// Set if lengths differ, or are not numbers.
    invalid: bool,
    codings: usize,
    is_chunked: bool,
}

impl Framing {
    fn add_length(&mut self, value: &HeaderValue) {
        for text in value.as_bytes().split(|byte| *byte == b',') {
            self.lengths += 1;
            // Within a list, white space is no part of a number.
            let text = text.trim_ascii();
            let number = text.iter().try_fold(0_u64, |number, byte| {
                let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
                number.checked_mul(10)?.checked_add(digit)
            });
            let number = number.filter(|number| !text.is_empty() && *number <= MAX_CONTENT_LENGTH);
            self.repeated |= self.lengths > 1;
            self.invalid |= number.is_none() || self.lengths > 1 && number != self.length;
            self.length = number;
        }
    }

    fn add_coding(&mut self, value: &HeaderValue) {
        self.codings += 1;
        self.is_chunked = value.as_bytes().eq_ignore_ascii_case(b"chunked");
    }

    /// Framing of the body. Where there is none, its fields have to be unambiguous all the same.
    fn of_body(&self, has_body: bool, is_http_10: bool) -> Result<BodyFraming, ResponseError> {
        let ambiguous = |reason| Err(ResponseError::Ambiguous { reason });
        match (self.codings, self.lengths) {
            (1.., 1..) => return ambiguous("it has both a Transfer-Encoding and a Content-Length"),
            (2.., _) => return ambiguous("it has more than one Transfer-Encoding"),
            (1, _) if !self.is_chunked => return ambiguous("its Transfer-Encoding is not `chunked`"),
            (1, _) if is_http_10 => {
                return Err(ResponseError::Malformed { reason: "HTTP/1.0 has no Transfer-Encoding" });
            }
            (_, 1..) if self.invalid => {
                return Err(ResponseError::Malformed { reason: "its Content-Length is not a number" });
            }
            _ if self.repeated => return ambiguous("it has more than one Content-Length"),
            _ => {}
        }
        Ok(match self.length {
            _ if !has_body => BodyFraming::Length(0),
            _ if self.is_chunked => BodyFraming::Chunked,
            Some(length) => BodyFraming::Length(length),
            None => BodyFraming::UntilClose,
        })
    }
}

/// Longest time of an announced one that is left unused, for a request on its way while the upstream closes.
const CLOSING_MARGIN: Duration = Duration::from_secs(1);

/// Time for which the upstream keeps an idle connection, from `Keep-Alive: timeout=SECONDS`, less a margin.
fn announced_lifetime(value: &HeaderValue) -> Option<Duration> {
    let announced = value.to_str().ok()?.split(',').find_map(|parameter| {
        let (name, seconds) = parameter.split_once('=')?;
        let seconds = seconds.trim().trim_matches('"').parse().ok()?;
        name.trim().eq_ignore_ascii_case("timeout").then_some(Duration::from_secs(seconds))
    })?;
    Some(announced - CLOSING_MARGIN.min(announced / 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_announced_lifetime_is_used_but_for_a_margin() {
        for (value, millis) in [
            ("timeout=5", Some(4_000)),
            ("timeout=5, max=100", Some(4_000)),
            ("max=100, Timeout = \"2\"", Some(1_000)),
            ("timeout=1", Some(500)),
            ("timeout=0", Some(0)),
            ("max=5", None),
            ("timeout=soon", None),
            ("timeout=-1", None),
            ("", None),
        ] {
            let lifetime = announced_lifetime(&value.parse().unwrap());
            assert_eq!(lifetime, millis.map(Duration::from_millis), "{value:?}");
        }
    }

    /// Heads in `text`, given in parts of `size` bytes; the bytes that are left; and an error, if one ended it.
    fn read(text: &str, size: usize) -> (Vec<ReceivedHead>, Vec<u8>, Option<ResponseError>) {
        let reserved = ReservedHeaders::default();
        let context = ResponseContext { is_head: false, most_fields: 100, reserved: &reserved };
        let (mut reader, mut buffer, mut heads) = (HeadReader::default(), BytesMut::new(), Vec::new());
        for part in text.as_bytes().chunks(size) {
            buffer.extend_from_slice(part);
            loop {
                match reader.read(&mut buffer, &context) {
                    Ok(Some(head @ ReceivedHead::Interim(_))) => heads.push(head),
                    Ok(Some(head)) => {
                        heads.push(head);
                        break;
                    }
                    Ok(None) => break,
                    Err(error) => return (heads, buffer.to_vec(), Some(error)),
                }
            }
            if matches!(heads.last(), Some(ReceivedHead::Final(_))) {
                break;
            }
        }
        (heads, buffer.to_vec(), None)
    }

    fn status(head: &ReceivedHead) -> u16 {
        match head {
            ReceivedHead::Interim(interim) => interim.status.as_u16(),
            ReceivedHead::Final(head) => head.status.as_u16(),
        }
    }

    #[test]
    fn heads_are_found_however_they_are_cut() {
        let last = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
        let hints = "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n";
        let go_on = "HTTP/1.1 100 Continue\r\n\r\n";
        for size in [1, 7, 10, 4_096] {
            let statuses = |text: &str| read(text, size).0.iter().map(status).collect::<Vec<_>>();
            assert_eq!(statuses(&format!("{go_on}{hints}{hints}{last}")), [100, 103, 103, 200], "{size}");
            assert_eq!(statuses(&format!("{hints}{go_on}")), [103, 100], "{size}");
            assert_eq!(statuses(&format!("{go_on}HTTP/1.1 200 OK\r\nx: y\r\n")), [100], "{size}");
            let switched = "HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\n";
            assert_eq!(statuses(&format!("{switched}{hints}")), [101], "{size}");
        }
    }

    #[test]
    fn the_end_of_a_body_is_told_in_one_way() {
        for (head, framing) in [
            ("200 OK\r\ncontent-length: 3\r\n", BodyFraming::Length(3)),
            ("200 OK\r\ncontent-length: 0003\r\n", BodyFraming::Length(3)),
            ("200 OK\r\ntransfer-encoding: CHUNKED\r\n", BodyFraming::Chunked),
            ("200 OK\r\n", BodyFraming::UntilClose),
            ("204 No Content\r\n", BodyFraming::Length(0)),
            ("304 Not Modified\r\ncontent-length: 9\r\n", BodyFraming::Length(0)),
        ] {
            let (heads, rest, error) = read(&format!("HTTP/1.1 {head}\r\nrest"), 4_096);
            let Some(ReceivedHead::Final(read)) = heads.first() else { panic!("{head:?}: {error:?}") };
            assert_eq!((read.framing, &*rest), (framing, b"rest".as_slice()), "{head:?}");
            assert_eq!(read.keeps_alive, framing != BodyFraming::UntilClose, "{head:?}");
        }
        for (version, fields) in [
            (1, "content-length: 3\r\ncontent-length: 3"),
            (1, "content-length: 3, 3"),
            (1, "content-length: 3\r\ncontent-length: 4"),
            (1, "content-length: "),
            (1, "content-length: +3"),
            (1, "content-length: 0x3"),
            (1, "content-length: 9223372036854775808"),
            (1, "content-length: 3\r\ntransfer-encoding: chunked"),
            (1, "transfer-encoding: chunked\r\ntransfer-encoding: chunked"),
            (1, "transfer-encoding: chunked, chunked"),
            (1, "transfer-encoding: gzip, chunked"),
            (1, "transfer-encoding: identity"),
            (0, "transfer-encoding: chunked"),
        ] {
            let (heads, _, error) = read(&format!("HTTP/1.{version} 200 OK\r\n{fields}\r\n\r\n"), 4_096);
            assert!(heads.is_empty() && error.is_some(), "{fields:?}: {heads:?}");
        }
    }

    #[test]
    fn a_connection_is_kept_as_its_version_and_options_have_it() {
        for (version, option, kept) in [
            (1, "", true),
            (1, "keep-alive", true),
            (1, "Close", false),
            (1, "keep-alive, close", false),
            (0, "", false),
            (0, "Keep-Alive", true),
        ] {
            let head =
                format!("HTTP/1.{version} 200 OK\r\ncontent-length: 0\r\nconnection: {option}\r\n\r\n");
            let Some(ReceivedHead::Final(head)) = read(&head, 4_096).0.pop() else { panic!("{option}") };
            assert_eq!(head.keeps_alive, kept, "HTTP/1.{version} {option:?}");
            assert!(!head.headers.contains_key(CONNECTION), "{option}");
        }
    }

    /// The fields for the client are those that a second pass over all of them would leave.
    #[test]
    fn fields_of_the_hop_are_left_out_while_the_head_is_read() {
        let all = [
            "x-a: 1",
            "set-cookie: a",
            "set-cookie: b",
            "X-Cluster-Role: forged",
            "x_cluster_role: forged",
            "keep-alive: timeout=5",
            "connection: keep-alive",
            "connection: x-a, close",
            "trailer: x-sum, x-cluster-name",
            "proxy-authenticate: Basic",
        ];
        for chosen in 0..1_u32 << all.len() {
            let lines = all.iter().enumerate().filter(|(at, _)| chosen & 1 << at != 0).map(|(_, line)| *line);
            let text: String = lines.clone().map(|line| format!("{line}\r\n")).collect();
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n{text}\r\n");
            let Some(ReceivedHead::Final(head)) = read(&head, 4_096).0.pop() else { panic!("{text}") };
            let mut expected = HeaderMap::new();
            for line in std::iter::once("content-length: 0").chain(lines) {
                let (name, value) = line.split_once(": ").unwrap();
                expected.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap());
            }
            headers::to_downstream(&mut expected, &ReservedHeaders::default());
            assert_eq!(head.headers, expected, "{text}");
        }
    }
}
