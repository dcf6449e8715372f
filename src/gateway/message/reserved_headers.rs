//! Reserved header fields: compiled names, with those that the configuration adds.

use std::cmp::Ordering;

use http::HeaderName;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HOST};

use super::reserved_names::{COMMON, VENDORS};

/// Shortest prefix before a `*`.
const MIN_PREFIX: usize = 3;

/// Reserved names, sorted for a search without allocation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReservedHeaders {
    exact: Vec<Box<str>>,
    /// None is a prefix of another.
    prefixes: Vec<Box<str>>,
    /// Bytes that a reserved name can begin with.
    initials: [bool; 128],
}

impl Default for ReservedHeaders {
    fn default() -> Self {
        Self::with(&[])
    }
}

impl ReservedHeaders {
    /// Reserved names of the gateway, and `more` of the configuration.
    #[must_use]
    pub fn with(more: &[HeaderPattern]) -> Self {
        let built_in = COMMON.iter().chain(VENDORS).copied();
        let all: Vec<_> = built_in.chain(more.iter().map(|pattern| &*pattern.0)).collect();
        let mut prefixes: Vec<Box<str>> = Vec::new();
        let mut wanted: Vec<_> = all.iter().filter_map(|name| name.strip_suffix('*')).collect();
        wanted.sort_unstable();
        for prefix in wanted {
            if !prefixes.last().is_some_and(|last| prefix.starts_with(&**last)) {
                prefixes.push(prefix.into());
            }
        }
        let mut exact: Vec<Box<str>> =
            all.iter().filter(|name| !name.ends_with('*')).map(|name| Box::from(*name)).collect();
        exact.sort_unstable();
        exact.dedup();
        let mut initials = [false; 128];
        for byte in exact.iter().chain(&prefixes).filter_map(|name| name.bytes().next()) {
            if let Some(initial) = initials.get_mut(usize::from(byte)) {
                *initial = true;
            }
        }
        Self { exact, prefixes, initials }
    }

    /// Returns true if the field is removed, by its folded name.
    #[must_use]
    pub fn contain(&self, name: &HeaderName) -> bool {
        // Framing and routing: only the exact spelling passes.
        *name != CONTENT_LENGTH && *name != HOST && self.contain_text(name.as_str())
    }

    fn contain_text(&self, name: &str) -> bool {
        let Some(initial) = name.bytes().next().map(fold) else { return false };
        if !self.initials.get(usize::from(initial)).is_some_and(|initial| *initial) {
            return false;
        }
        let folded = || name.bytes().map(fold);
        // The greatest prefix that is not greater than the name; every other one is no prefix of it.
        let after = self.prefixes.partition_point(|prefix| prefix.bytes().cmp(folded()) != Ordering::Greater);
        let prefix = after.checked_sub(1).and_then(|last| self.prefixes.get(last));
        prefix.is_some_and(|prefix| prefix.bytes().eq(folded().take(prefix.len())))
            || self.exact.binary_search_by(|exact| exact.bytes().cmp(folded())).is_ok()
    }

    fn cover(&self, pattern: &HeaderPattern) -> bool {
        match pattern.0.strip_suffix('*') {
            Some(prefix) => self.prefixes.iter().any(|own| prefix.starts_with(&**own)),
            None => self.contain_text(&pattern.0),
        }
    }
}

/// Folded name of a header field, or a prefix of names with a `*` at its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderPattern(Box<str>);

impl HeaderPattern {
    /// Parse a name such as `X-Corp-User`, or a prefix such as `X-Corp-*`.
    ///
    /// # Errors
    /// [`HeaderPatternError`] if it is neither, has no effect, or would remove what every request needs.
    pub fn parse(text: &str) -> Result<Self, HeaderPatternError> {
        let (name, star) = text.strip_suffix('*').map_or((text, ""), |prefix| (prefix, "*"));
        let is_token = HeaderName::from_bytes(name.as_bytes()).is_ok() && !name.contains('*');
        if !is_token || !star.is_empty() && name.len() < MIN_PREFIX {
            return Err(HeaderPatternError::Syntax { given: text.to_owned() });
        }
        let folded: String = name.bytes().map(|byte| char::from(fold(byte))).collect();
        let pattern = Self(format!("{folded}{star}").into());
        let is_needed = |needed: &HeaderName| match star {
            "" => *needed == *folded,
            _ => needed.as_str().starts_with(&folded),
        };
        if let Some(needed) = [CONTENT_LENGTH, CONTENT_TYPE, HOST].into_iter().find(is_needed) {
            return Err(HeaderPatternError::Needed { given: text.to_owned(), needed });
        }
        match ReservedHeaders::default().cover(&pattern) {
            true => Err(HeaderPatternError::Unused { given: text.to_owned() }),
            false => Ok(pattern),
        }
    }
}

/// Fold a byte of a name: lower case, and `-` for all but letters and digits. No server folds more coarsely.
const fn fold(byte: u8) -> u8 {
    if byte.is_ascii_alphanumeric() { byte.to_ascii_lowercase() } else { b'-' }
}

/// Text that is not a valid [`HeaderPattern`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HeaderPatternError {
    /// Every request needs a field that it matches.
    #[error("`{given}` would remove `{needed}`, which requests need")]
    Needed {
        /// Refused pattern.
        given: String,
        /// Field that it matches.
        needed: HeaderName,
    },
    /// Neither a name nor a prefix.
    #[error(
        "`{given}` is neither the name of a header field nor a prefix of 3 characters or more with a `*`"
    )]
    Syntax {
        /// Refused pattern.
        given: String,
    },
    /// The gateway removes these fields already.
    #[error("`{given}` has no effect: the gateway always removes it")]
    Unused {
        /// Pattern without effect.
        given: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> HeaderName {
        HeaderName::from_bytes(text.as_bytes()).unwrap()
    }

    #[test]
    fn each_listed_name_is_folded_and_found_with_its_aliases() {
        let reserved = ReservedHeaders::default();
        for listed in COMMON.iter().chain(VENDORS) {
            let plain = listed.strip_suffix('*').unwrap_or(listed);
            assert!(plain.bytes().all(|byte| fold(byte) == byte), "{listed}");
            let spelled =
                if plain.len() < listed.len() { format!("{plain}any-thing") } else { plain.to_owned() };
            for alias in [spelled.replace('-', "_"), spelled.replace('-', "."), spelled.to_uppercase()] {
                let is_needed = matches!(alias.to_lowercase().as_str(), "content-length" | "host");
                assert_eq!(reserved.contain(&name(&alias)), !is_needed, "{alias}");
            }
            if plain.len() == listed.len() {
                let is_prefix_of_another = reserved.contain_text(&format!("{plain}qq"));
                assert!(!is_prefix_of_another || listed.starts_with("x-"), "{listed}");
            }
        }
    }

    #[test]
    fn fields_of_other_proxies_are_reserved_and_those_of_applications_are_not() {
        let reserved = ReservedHeaders::default();
        for field in [
            "X-Amzn-Mtls-Clientcert-Subject",
            "X-ARR-ClientCert",
            "X-Tls-Client-Cert",
            "X-WEBAUTH-USER",
            "X-Auth-Request-Email",
            "CF-Connecting-IP",
            "Cf-Access-Jwt-Assertion",
            "X-Forwarded",
            "X_Forwarded",
            "X-Forwarded-Tls-Client-Cert-Info",
            "X-MS-CLIENT-PRINCIPAL",
            "X-Goog-Authenticated-User-Email",
            "X-Pomerium-Claim-Email",
            "Remote-Groups",
            "X-authentik-username",
            "X-Consumer-Username",
            "l5d-client-id",
            "SM_USER",
            "$WSCC",
            "WL-Proxy-Client-Cert",
            "Fastly-Client-IP",
            "x-envoy-external-address",
            "Impersonate-User",
            "MS-ASPNETCORE-CLIENTCERT",
            "SSLClientCertb64",
            "X-ProxiedEntitiesChain",
            "X-Vouch-User",
            "GAP-Auth",
            "X_Client_DN",
            "VERIFIED",
            "DN",
        ] {
            assert!(reserved.contain(&name(field)), "{field}");
        }
        for field in [
            "accept",
            "authorization",
            "cookie",
            "content-type",
            "if-match",
            "x-amz-date",
            "x-amzn-trace-id",
            "x-api-key",
            "x-auth-token",
            "x-csrf-token",
            "x-goog-api-key",
            "x-requested-with",
            "x-user-agent",
            "x-client-version",
            "x-correlation-id",
            "x-b3-traceid",
            "x-vault-token",
            "grpc-timeout",
            "user-agent",
            "via",
            "warning",
        ] {
            assert!(!reserved.contain(&name(field)), "{field}");
        }
    }

    #[test]
    fn the_configuration_adds_names_and_prefixes() {
        let patterns = ["X-Corp-User", "x_team_*"].map(|text| HeaderPattern::parse(text).unwrap());
        let reserved = ReservedHeaders::with(&patterns);
        for field in ["x-corp-user", "X.Corp.User", "x-team-", "X-Team-Name", "x-cluster-role"] {
            assert!(reserved.contain(&name(field)), "{field}");
        }
        for field in ["x-corp-users", "x-corp", "x-team", "x-teams-name"] {
            assert!(!reserved.contain(&name(field)), "{field}");
        }
    }

    #[test]
    fn a_pattern_is_a_name_or_a_prefix_with_an_effect() {
        for (text, message) in [
            ("", "`` is neither the name of a header field nor a prefix of 3 characters or more with a `*`"),
            (
                "*",
                "`*` is neither the name of a header field nor a prefix of 3 characters or more with a `*`",
            ),
            (
                "x-*",
                "`x-*` is neither the name of a header field nor a prefix of 3 characters or more with a `*`",
            ),
            (
                "a b",
                "`a b` is neither the name of a header field nor a prefix of 3 characters or more with a `*`",
            ),
            (
                "x-*-y",
                "`x-*-y` is neither the name of a header field nor a prefix of 3 characters or more with a `*`",
            ),
            ("Content_Length", "`Content_Length` would remove `content-length`, which requests need"),
            ("con*", "`con*` would remove `content-length`, which requests need"),
            ("Host", "`Host` would remove `host`, which requests need"),
            ("X-Cluster-Role", "`X-Cluster-Role` has no effect: the gateway always removes it"),
            ("X-Forwarded-U*", "`X-Forwarded-U*` has no effect: the gateway always removes it"),
        ] {
            assert_eq!(HeaderPattern::parse(text).unwrap_err().to_string(), message);
        }
    }
}
