//! Rules of a profile, constructed by [`validate`](super::validate) only, so that they are consistent.

use std::fmt;

use ipnet::IpNet;
use time::{Duration, OffsetDateTime};

use crate::identity::Host;
use crate::x509::{ExtendedKeyUsage, KeyAlgorithm};

/// Placeholder for the name of the identity in a common name.
pub(super) const NAME_PLACEHOLDER: &str = "{name}";

/// Template of a common name, with `{name}` for the name of the identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommonName(pub(super) String);

impl CommonName {
    /// Common name of the identity called `name`.
    #[must_use]
    pub fn of(&self, name: &str) -> String {
        self.0.replace(NAME_PLACEHOLDER, name)
    }
}

/// Allowed key types.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRule {
    /// Key type of a request without one.
    pub(super) default: KeyAlgorithm,
    /// Allowed key types, the default included.
    pub(super) algorithms: Vec<KeyAlgorithm>,
}

impl KeyRule {
    /// Key type of a request without one.
    #[must_use]
    pub fn default_algorithm(&self) -> KeyAlgorithm {
        self.default
    }

    /// Allowed key types, the default included.
    #[must_use]
    pub fn algorithms(&self) -> &[KeyAlgorithm] {
        &self.algorithms
    }
}

/// Allowed validity: minimum ≤ default ≤ maximum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ValidityRule {
    /// Shortest validity that a request may ask for.
    pub(super) minimum: Duration,
    /// Validity of a request without one.
    pub(super) default: Duration,
    /// Longest validity, which no certificate exceeds.
    pub(super) maximum: Duration,
    /// Offset of `notBefore` into the past.
    pub(super) backdate: Duration,
}

impl ValidityRule {
    /// Minimum validity.
    #[must_use]
    pub fn minimum(&self) -> Duration {
        self.minimum
    }

    /// Validity of a request without one.
    #[must_use]
    pub fn default_validity(&self) -> Duration {
        self.default
    }

    /// Maximum validity.
    #[must_use]
    pub fn maximum(&self) -> Duration {
        self.maximum
    }
}

/// Allowed hosts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostRule {
    pub(super) at_most: usize,
    pub(super) dns: Vec<DnsPattern>,
    pub(super) ip: Vec<IpNet>,
}

impl HostRule {
    /// Maximum number of hosts in a certificate.
    #[must_use]
    pub fn at_most(&self) -> usize {
        self.at_most
    }

    /// Check a host against the allowed names and networks.
    #[must_use]
    pub fn allows(&self, host: &Host) -> bool {
        match host {
            Host::Dns(name) => self.dns.iter().any(|pattern| pattern.matches(name)),
            Host::Ip(ip) => self.ip.iter().any(|network| network.contains(ip)),
        }
    }
}

/// Set of DNS names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum DnsPattern {
    /// `*`: every name.
    Any,
    /// `*.DOMAIN`: every name below the domain, however deep, but not the domain itself.
    Below(String),
    /// A single name.
    Exact(String),
}

impl DnsPattern {
    /// Parse a pattern; `None` if it is invalid.
    pub(super) fn parse(text: &str) -> Option<Self> {
        if text == "*" {
            return Some(Self::Any);
        }
        let name = |text: &str| match text.parse() {
            Ok(Host::Dns(name)) => Some(name),
            _ => None,
        };
        match text.strip_prefix("*.") {
            Some(domain) => name(domain).map(Self::Below),
            None => name(text).map(Self::Exact),
        }
    }

    fn matches(&self, name: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Below(domain) => name
                .strip_suffix(domain.as_str())
                .is_some_and(|labels| labels.len() > 1 && labels.ends_with('.')),
            Self::Exact(exact) => name == exact,
        }
    }
}

impl fmt::Display for DnsPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("*"),
            Self::Below(domain) => write!(f, "*.{domain}"),
            Self::Exact(name) => f.write_str(name),
        }
    }
}

/// Purposes of a certificate in TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PurposeRule {
    /// Purposes of every certificate.
    pub(super) always: Vec<ExtendedKeyUsage>,
    /// Additional purposes of a certificate with hosts.
    pub(super) with_hosts: Vec<ExtendedKeyUsage>,
}

impl PurposeRule {
    /// Purposes of a certificate, `serverAuth` first.
    #[must_use]
    pub fn purposes(&self, has_hosts: bool) -> Vec<ExtendedKeyUsage> {
        let has = |purpose: &ExtendedKeyUsage| {
            self.always.contains(purpose) || has_hosts && self.with_hosts.contains(purpose)
        };
        [ExtendedKeyUsage::ServerAuth, ExtendedKeyUsage::ClientAuth].into_iter().filter(has).collect()
    }
}

/// Time and manner of renewal.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RenewalRule {
    /// Fraction of the validity, between 0 and 1, after which renewal is due.
    pub(super) after: f64,
    /// Key of the renewed certificate.
    pub(super) key: RenewalKey,
}

impl RenewalRule {
    /// Time at which renewal of a certificate with that validity is due.
    #[must_use]
    pub fn due(&self, not_before: OffsetDateTime, not_after: OffsetDateTime) -> OffsetDateTime {
        not_before.checked_add((not_after - not_before) * self.after).unwrap_or(not_after)
    }

    /// Key of the renewed certificate.
    #[must_use]
    pub fn key(&self) -> RenewalKey {
        self.key
    }
}

/// Key of a renewed certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RenewalKey {
    /// Newly generated key.
    Rekey,
    /// Same key as before.
    SameKey,
}

impl RenewalKey {
    /// Name in profiles.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rekey => "rekey",
            Self::SameKey => "same_key",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_matches_whole_labels_only() {
        let pattern = |text| DnsPattern::parse(text).unwrap();
        for (text, name, matches) in [
            ("*", "anything.at.all", true),
            ("*.example.com", "a.example.com", true),
            ("*.example.com", "a.b.example.com", true),
            ("*.example.com", "example.com", false),
            ("*.example.com", "badexample.com", false),
            ("*.example.com", "a.example.com.evil.org", false),
            ("api.example.com", "api.example.com", true),
            ("api.example.com", "x.api.example.com", false),
            ("*.Example.COM", "a.example.com", true),
        ] {
            assert_eq!(pattern(text).matches(name), matches, "{text} {name}");
        }
        for text in ["", "*.", "**", "a.*.b", "*a.b", "*.*.b", "10.0.0.1", "*.10.0.0.1", "a b", ".a", "a."] {
            assert!(DnsPattern::parse(text).is_none(), "{text}");
        }
    }

    #[test]
    fn hosts_are_matched_by_rules_of_their_type() {
        let rule = HostRule {
            at_most: 1,
            dns: vec![DnsPattern::Below("example.com".to_owned())],
            ip: vec!["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()],
        };
        for (host, allowed) in [
            ("a.example.com", true),
            ("example.org", false),
            ("10.1.2.3", true),
            ("11.0.0.1", false),
            ("fd00::1", true),
            ("::1", false),
        ] {
            assert_eq!(rule.allows(&host.parse().unwrap()), allowed, "{host}");
        }
    }

    #[test]
    fn renewal_is_due_at_its_fraction_of_the_validity() {
        let rule = RenewalRule { after: 0.5, key: RenewalKey::Rekey };
        let start = OffsetDateTime::UNIX_EPOCH;
        assert_eq!(rule.due(start, start + Duration::days(10)), start + Duration::days(5));
    }
}
