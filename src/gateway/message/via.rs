//! `Via` of forwarded messages (RFC 9110, section 7.6.3).

use http::header::VIA;
use http::{HeaderMap, HeaderName, HeaderValue, Version};

/// Most entries of this gateway in a request. A chain of gateways with the same name has a few; a loop adds one with
/// each turn.
const MAX_OWN_ENTRIES: usize = 8;

/// Longest name.
const MAX_NAME: usize = 64;

/// Entries of this gateway, one for each version of HTTP that a message can arrive in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Via {
    name: Box<str>,
    http1_0: HeaderValue,
    http1_1: HeaderValue,
    http2: HeaderValue,
}

impl Default for Via {
    fn default() -> Self {
        Self {
            name: "cluster-gateway".into(),
            http1_0: HeaderValue::from_static("1.0 cluster-gateway"),
            http1_1: HeaderValue::from_static("1.1 cluster-gateway"),
            http2: HeaderValue::from_static("2 cluster-gateway"),
        }
    }
}

impl Via {
    /// Entries with this name: a pseudonym, or a host with an optional port.
    ///
    /// # Errors
    /// [`ViaNameError`] if it is neither.
    pub fn named(name: &str) -> Result<Self, ViaNameError> {
        let wrong = || ViaNameError { given: name.to_owned() };
        let is_token = |part: &str| HeaderName::from_bytes(part.as_bytes()).is_ok();
        let (host, port) = name.split_once(':').unwrap_or((name, "1"));
        if name.len() > MAX_NAME || !is_token(host) || port.parse::<u16>().is_err() {
            return Err(wrong());
        }
        let entry = |version: &str| HeaderValue::from_str(&format!("{version} {name}")).map_err(|_| wrong());
        Ok(Self { name: name.into(), http1_0: entry("1.0")?, http1_1: entry("1.1")?, http2: entry("2")? })
    }

    /// Append the entry for a message that arrived in `version`.
    pub fn append_to(&self, headers: &mut HeaderMap, version: Version) {
        let entry = match version {
            Version::HTTP_10 => &self.http1_0,
            Version::HTTP_2 => &self.http2,
            _ => &self.http1_1,
        };
        headers.append(VIA, entry.clone());
    }

    /// Return true if the request has passed this gateway too often.
    #[must_use]
    pub fn is_loop(&self, headers: &HeaderMap) -> bool {
        let lines = headers.get_all(VIA).into_iter();
        let entries = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
        let own = entries.filter(|entry| {
            let by = entry.trim_ascii().split(u8::is_ascii_whitespace).filter(|part| !part.is_empty()).nth(1);
            by.is_some_and(|by| by.eq_ignore_ascii_case(self.name.as_bytes()))
        });
        own.count() >= MAX_OWN_ENTRIES
    }
}

/// Text that is no name for `Via`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{given}` is neither `off` nor a name of 1 to {MAX_NAME} characters, such as gateway1 or gateway1.example.com:443"
)]
pub struct ViaNameError {
    given: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_appended_with_the_version_of_the_message() {
        let via = Via::named("gw.example:443").unwrap();
        let mut headers = HeaderMap::new();
        headers.append(VIA, HeaderValue::from_static("1.1 desk"));
        for version in [Version::HTTP_10, Version::HTTP_11, Version::HTTP_2] {
            via.append_to(&mut headers, version);
        }
        let entries: Vec<_> = headers.get_all(VIA).iter().collect();
        assert_eq!(entries, ["1.1 desk", "1.0 gw.example:443", "1.1 gw.example:443", "2 gw.example:443"]);
    }

    #[test]
    fn a_request_that_comes_again_and_again_is_a_loop() {
        let (via, mut headers) = (Via::default(), HeaderMap::new());
        for text in ["1.1 other", "1.1 cluster-gateways", "1.1 other (cluster-gateway)"] {
            (0..20).for_each(|_| {
                assert!(headers.append(VIA, HeaderValue::from_static(text)) || headers.len() == 1)
            });
        }
        for _ in 0..3 {
            headers.append(VIA, HeaderValue::from_static("2 Cluster-Gateway, HTTP/1.1  cluster-gateway (x)"));
            assert!(!via.is_loop(&headers));
        }
        via.append_to(&mut headers, Version::HTTP_2);
        assert!(!via.is_loop(&headers));
        via.append_to(&mut headers, Version::HTTP_11);
        assert!(via.is_loop(&headers));
    }

    #[test]
    fn a_name_is_a_pseudonym_or_a_host() {
        let long = "a".repeat(MAX_NAME + 1);
        for name in ["", "a b", "a,b", "a(b)", "a:b", "a:65536", ":1", "\u{e9}", &long] {
            assert!(Via::named(name).is_err(), "{name}");
        }
        for name in ["gateway1", "gw.example.com", "gw.example.com:443", &long[1..]] {
            assert!(Via::named(name).is_ok(), "{name}");
        }
    }
}
