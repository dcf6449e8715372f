//! Reader of interim responses. hyper skips them, unless each request carries a callback on the heap; so the
//! stream looks at the start of each response, which costs nothing where there is none.

use http::StatusCode;
use http::header::{HeaderMap, HeaderName, HeaderValue};

use crate::gateway::message::interim::Interim;

/// Start of every interim response.
const START: &[u8] = b"HTTP/1.1 1";

/// Most bytes of interim responses that wait for their end.
const MAX_BYTES: usize = 64 << 10;

/// Most fields of an interim response.
const MAX_FIELDS: usize = 100;

/// Reader of what precedes the final response.
#[derive(Debug, Default)]
pub(super) struct InterimReader {
    /// Bytes of an interim response that is not complete.
    partial: Vec<u8>,
}

impl InterimReader {
    /// Take the next bytes of the upstream, and pass each interim response to `found`. Returns false once the final
    /// response begins; bytes that are no HTTP are left to hyper.
    pub(super) fn read(&mut self, bytes: &[u8], mut found: impl FnMut(Interim)) -> bool {
        if self.partial.is_empty() && !may_be_interim(bytes) {
            return false;
        }
        self.partial.extend_from_slice(bytes);
        while may_be_interim(&self.partial) && self.partial.len() <= MAX_BYTES {
            let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
            let mut response = httparse::Response::new(&mut fields);
            match response.parse(&self.partial) {
                Ok(httparse::Status::Partial) => return true,
                Ok(httparse::Status::Complete(length)) => match interim(&response) {
                    Some(interim) => {
                        found(interim);
                        self.partial.drain(..length);
                    }
                    None => break,
                },
                Err(_) => break,
            }
        }
        self.partial = Vec::new();
        false
    }
}

fn may_be_interim(bytes: &[u8]) -> bool {
    bytes.iter().zip(START).all(|(byte, wanted)| byte == wanted)
}

/// Interim response; `None` for 101 (Switching Protocols), which is final.
fn interim(response: &httparse::Response<'_, '_>) -> Option<Interim> {
    let status = StatusCode::from_u16(response.code?).ok()?;
    let mut headers = HeaderMap::new();
    for field in response.headers.iter() {
        let name = HeaderName::from_bytes(field.name.as_bytes()).ok()?;
        headers.append(name, HeaderValue::from_bytes(field.value).ok()?);
    }
    (status != StatusCode::SWITCHING_PROTOCOLS).then_some(Interim { status, headers })
}

#[cfg(test)]
mod tests {
    use super::*;

    const FINAL: &str = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";

    /// Statuses found in `text`, given in parts of `size` bytes, and the state at the end.
    fn read(text: &str, size: usize) -> (Vec<u16>, bool) {
        let mut reader = InterimReader::default();
        let mut found = Vec::new();
        let goes_on = text
            .as_bytes()
            .chunks(size)
            .all(|part| reader.read(part, |interim| found.push(interim.status.as_u16())));
        (found, goes_on)
    }

    #[test]
    fn interim_responses_are_found_however_they_are_cut() {
        let hints = "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n";
        let go_on = "HTTP/1.1 100 Continue\r\n\r\n";
        for size in [1, 7, 10, 4_096] {
            assert_eq!(
                read(&format!("{go_on}{hints}{hints}{FINAL}"), size),
                (vec![100, 103, 103], false),
                "{size}"
            );
            assert_eq!(read(&format!("{hints}{go_on}"), size), (vec![103, 100], true), "{size}");
            assert_eq!(read(FINAL, size), (vec![], false), "{size}");
        }
    }

    #[test]
    fn what_is_no_interim_response_is_left_alone() {
        for text in [
            "HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\n",
            "HTTP/1.1 1x3 Early Hints\r\n\r\n",
            "HTTP/1.1 103 Early Hints\r\nbad name: x\r\n\r\n",
            "HTTP/1.0 103 Early Hints\r\n\r\n",
            "nonsense",
        ] {
            assert_eq!(read(text, 4_096), (vec![], false), "{text:?}");
        }
        let endless = format!("HTTP/1.1 103 Early Hints\r\nx: {}", "y".repeat(MAX_BYTES));
        assert_eq!(read(&endless, 4_096), (vec![], false));
    }
}
