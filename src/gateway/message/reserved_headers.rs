//! Reserved header fields: compiled names, with those that the configuration adds.

use http::HeaderName;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HOST};

use super::reserved_names::{COMMON, VENDORS};

/// Shortest prefix before a `*`.
const MIN_PREFIX: usize = 3;

/// Number of groups of reserved names, see [`group_of`].
const GROUPS: usize = 1_024;

/// Reserved names, in groups so small that most names of applications are compared with none of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReservedHeaders {
    groups: Box<[Vec<ReservedName>]>,
}

/// One reserved name, folded.
#[derive(Clone, Debug, PartialEq, Eq)]
struct ReservedName {
    text: Box<str>,
    /// True if all names that begin with it are reserved.
    is_prefix: bool,
}

impl ReservedName {
    fn covers(&self, name: &[u8]) -> bool {
        let text = self.text.as_bytes();
        let length_fits = if self.is_prefix { name.len() >= text.len() } else { name.len() == text.len() };
        length_fits && text.iter().zip(name).all(|(reserved, byte)| *reserved == fold(*byte))
    }
}

/// Group of a name, by its first three bytes. No prefix is shorter, and a shorter name has a group of its own kind.
fn group_of(name: &[u8]) -> usize {
    const { assert!(MIN_PREFIX >= 3) }
    let at = |index: usize| name.get(index).map_or(0, |byte| usize::from(fold(*byte)));
    let (first, second, third) = (at(0), at(1), at(2));
    // Five bits tell letters apart. Most names begin with `x-`, so that the third byte counts for itself.
    ((third & 31) << 5) | ((first ^ (second << 1)) & 31)
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
        let mut groups = vec![Vec::new(); GROUPS].into_boxed_slice();
        let built_in = COMMON.iter().chain(VENDORS).copied();
        for pattern in built_in.chain(more.iter().map(|pattern| &*pattern.0)) {
            let text = pattern.strip_suffix('*').unwrap_or(pattern);
            if let Some(group) = groups.get_mut(group_of(text.as_bytes())) {
                group.push(ReservedName { text: text.into(), is_prefix: text.len() < pattern.len() });
            }
        }
        Self { groups }
    }

    /// Return true if the field is removed, by its folded name.
    #[must_use]
    pub fn contain(&self, name: &HeaderName) -> bool {
        // Framing and routing: only the exact spelling passes.
        self.contain_text(name.as_str()) && *name != CONTENT_LENGTH && *name != HOST
    }

    fn contain_text(&self, name: &str) -> bool {
        let name = name.as_bytes();
        self.groups.get(group_of(name)).is_some_and(|group| group.iter().any(|one| one.covers(name)))
    }

    fn cover(&self, pattern: &HeaderPattern) -> bool {
        let Some(prefix) = pattern.0.strip_suffix('*') else { return self.contain_text(&pattern.0) };
        let prefix = prefix.as_bytes();
        self.groups
            .get(group_of(prefix))
            .is_some_and(|group| group.iter().any(|one| one.is_prefix && one.covers(prefix)))
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

/// Each byte of a name, folded.
const FOLDED: [u8; 256] = {
    let mut table = [b'-'; 256];
    let mut byte = 0_u8;
    let mut rest: &mut [u8] = &mut table;
    while let Some((first, more)) = rest.split_first_mut() {
        if byte.is_ascii_alphanumeric() {
            *first = byte.to_ascii_lowercase();
        }
        byte = byte.wrapping_add(1);
        rest = more;
    }
    table
};

/// Fold a byte of a name: lower case, and `-` for all but letters and digits. No server folds more coarsely.
fn fold(byte: u8) -> u8 {
    FOLDED[usize::from(byte)]
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
    fn a_name_is_reserved_if_and_only_if_the_plain_list_says_so() {
        let reserved = ReservedHeaders::default();
        let by_list = |name: &str| {
            let folded: String = name.bytes().map(|byte| char::from(fold(byte))).collect();
            COMMON.iter().chain(VENDORS).any(|listed| match listed.strip_suffix('*') {
                Some(prefix) => folded.starts_with(prefix),
                None => folded == *listed,
            })
        };
        let names = COMMON.iter().chain(VENDORS).map(|listed| listed.trim_end_matches('*'));
        for name in names.chain(["", "x", "x-", "x--", "accept", "x-request", "etag", "via", "7up"]) {
            // Each name cut at each place, with a byte in place of each other, and with more at its end.
            let cut = (0..=name.len()).map(|end| name[..end].to_owned());
            let changed = (0..name.len()).flat_map(|at| {
                ["q", "-", "_", "z9"].map(|other| format!("{}{other}{}", &name[..at], &name[at + 1..]))
            });
            for text in
                cut.chain(changed).chain([format!("{name}-"), format!("{name}s"), format!("x-{name}")])
            {
                assert_eq!(reserved.contain_text(&text), by_list(&text), "{text}");
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
