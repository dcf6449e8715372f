//! Request IDs: 128 random bits, the same in the access log, to the upstream and in the response.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use http::HeaderValue;
use serde::{Serialize, Serializer};

use crate::clock::Entropy;

/// ID of one request, 32 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct RequestId([u8; 32]);

impl RequestId {
    fn of(random: [u8; 16]) -> Self {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut text = [b'0'; 32];
        for (pair, byte) in text.chunks_exact_mut(2).zip(random) {
            let digit = |value: u8| DIGITS.get(usize::from(value)).copied().unwrap_or_default();
            pair.copy_from_slice(&[digit(byte >> 4), digit(byte & 15)]);
        }
        Self(text)
    }

    /// ID as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// ID as the value of `X-Request-Id`. HPACK does not index it (RFC 7541, section 6.2.3): it never recurs, and would
    /// push values out of the table that do.
    #[must_use]
    pub fn to_header(self) -> HeaderValue {
        let mut value = HeaderValue::from_bytes(&self.0).unwrap_or_else(|_| HeaderValue::from_static("-"));
        value.set_sensitive(true);
        value
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for RequestId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// Generator of request IDs. It reads entropy for 64 of them at a time.
#[derive(Debug)]
pub struct RequestIds {
    entropy: Arc<dyn Entropy>,
    ready: Mutex<Vec<[u8; 16]>>,
}

impl RequestIds {
    /// Generate IDs from `entropy`.
    #[must_use]
    pub fn new(entropy: Arc<dyn Entropy>) -> Self {
        Self { entropy, ready: Mutex::default() }
    }

    /// Next ID. If the entropy source fails, it is all zeros: a request is not refused for the lack of an ID.
    pub fn next(&self) -> RequestId {
        let mut ready = self.ready.lock().unwrap_or_else(PoisonError::into_inner);
        if ready.is_empty() {
            let mut random = [0; 64 * 16];
            match self.entropy.fill(&mut random) {
                Ok(()) => ready.extend_from_slice(random.as_chunks().0),
                Err(error) => {
                    tracing::error!(%error, "the entropy source failed: a request has an ID of zeros")
                }
            }
        }
        RequestId::of(ready.pop().unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemEntropy;

    #[test]
    fn request_ids_are_32_hexadecimal_digits_and_never_repeat() {
        let ids = RequestIds::new(Arc::new(SystemEntropy));
        let some: std::collections::HashSet<_> = (0..1_000).map(|_| ids.next().as_str().to_owned()).collect();
        assert_eq!(some.len(), 1_000);
        assert!(some.iter().all(|id| id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit())));
    }

    #[test]
    fn hpack_does_not_index_a_value_that_never_recurs() {
        assert!(RequestIds::new(Arc::new(SystemEntropy)).next().to_header().is_sensitive());
    }
}
