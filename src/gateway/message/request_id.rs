//! The number of a request: 128 random bits, the same in the log, upstream and in the response.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use http::HeaderValue;
use serde::{Serialize, Serializer};

use crate::clock::Entropy;

/// The number of one request, 32 hexadecimal digits when written.
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

    /// The number as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// The number as the value of `X-Request-Id`.
    #[must_use]
    pub fn to_header(self) -> HeaderValue {
        HeaderValue::from_bytes(&self.0).unwrap_or_else(|_| HeaderValue::from_static("-"))
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

/// Makes request numbers; the generator is asked once for many.
#[derive(Debug)]
pub struct RequestIds {
    entropy: Arc<dyn Entropy>,
    ready: Mutex<Vec<[u8; 16]>>,
}

impl RequestIds {
    /// Numbers made of what `entropy` delivers.
    #[must_use]
    pub fn new(entropy: Arc<dyn Entropy>) -> Self {
        Self { entropy, ready: Mutex::default() }
    }

    /// The next number. A generator that fails makes it all zeros: a request is not refused for want
    /// of a number.
    pub fn next(&self) -> RequestId {
        let mut ready = self.ready.lock().unwrap_or_else(PoisonError::into_inner);
        if ready.is_empty() {
            let mut random = [0; 64 * 16];
            match self.entropy.fill(&mut random) {
                Ok(()) => ready.extend_from_slice(random.as_chunks().0),
                Err(error) => tracing::error!(%error, "a request has no number"),
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
    fn numbers_are_32_hexadecimal_digits_and_never_repeat() {
        let ids = RequestIds::new(Arc::new(SystemEntropy));
        let some: std::collections::HashSet<_> = (0..1_000).map(|_| ids.next().as_str().to_owned()).collect();
        assert_eq!(some.len(), 1_000);
        assert!(some.iter().all(|id| id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit())));
    }
}
