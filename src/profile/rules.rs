//! The rules a profile is made of, each a type that only [`review`](super::review) makes and that
//! cannot contradict itself.

use std::fmt;

use ipnet::IpNet;
use time::{Duration, OffsetDateTime};

use crate::identity::Host;
use crate::x509::{ExtendedKeyUsage, KeyAlgorithm};

/// Stands in a common name for the name of the identity.
pub(super) const NAME_PLACEHOLDER: &str = "{name}";

/// The common name of a subject, with `{name}` where the identity's name goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommonName(pub(super) String);

impl CommonName {
    /// The common name of whoever is called `name`.
    #[must_use]
    pub fn of(&self, name: &str) -> String {
        self.0.replace(NAME_PLACEHOLDER, name)
    }
}

/// Which key types are allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRule {
    /// The one that is used when none is asked for.
    pub(super) default: KeyAlgorithm,
    /// All that may be asked for, the default among them.
    pub(super) algorithms: Vec<KeyAlgorithm>,
}

impl KeyRule {
    /// The key type that is used when none is asked for.
    #[must_use]
    pub fn default_algorithm(&self) -> KeyAlgorithm {
        self.default
    }

    /// Every key type that may be asked for.
    #[must_use]
    pub fn algorithms(&self) -> &[KeyAlgorithm] {
        &self.algorithms
    }
}

/// How long a certificate may hold: minimum ≤ default ≤ maximum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ValidityRule {
    /// The shortest that may be asked for.
    pub(super) minimum: Duration,
    /// What is given when nothing is asked for.
    pub(super) default: Duration,
    /// The longest that may be asked for.
    pub(super) maximum: Duration,
    /// How far before the present a certificate begins.
    pub(super) backdate: Duration,
}

impl ValidityRule {
    /// The shortest validity that may be asked for.
    #[must_use]
    pub fn minimum(&self) -> Duration {
        self.minimum
    }

    /// The validity that is given when none is asked for.
    #[must_use]
    pub fn default_validity(&self) -> Duration {
        self.default
    }

    /// The longest validity that may be asked for.
    #[must_use]
    pub fn maximum(&self) -> Duration {
        self.maximum
    }
}

/// Which hosts a request may name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostRule {
    pub(super) at_most: usize,
    pub(super) dns: Vec<DnsPattern>,
    pub(super) ip: Vec<IpNet>,
}

impl HostRule {
    /// How many hosts a certificate may name.
    #[must_use]
    pub fn at_most(&self) -> usize {
        self.at_most
    }

    /// Whether a certificate may name `host`.
    #[must_use]
    pub fn allows(&self, host: &Host) -> bool {
        match host {
            Host::Dns(name) => self.dns.iter().any(|pattern| pattern.matches(name)),
            Host::Ip(ip) => self.ip.iter().any(|network| network.contains(ip)),
        }
    }
}

/// A set of DNS names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum DnsPattern {
    /// `*`: every name.
    Any,
    /// `*.DOMAIN`: every name below the domain, however deep, but not the domain itself.
    Below(String),
    /// This name alone.
    Exact(String),
}

impl DnsPattern {
    /// Reads a pattern; `None` for what is none.
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

/// What a certificate's key may be used for in TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PurposeRule {
    /// In every certificate.
    pub(super) always: Vec<ExtendedKeyUsage>,
    /// Also in one that names hosts.
    pub(super) with_hosts: Vec<ExtendedKeyUsage>,
}

impl PurposeRule {
    /// The purposes of a certificate, the server's first.
    #[must_use]
    pub fn purposes(&self, names_hosts: bool) -> Vec<ExtendedKeyUsage> {
        let has = |purpose: &ExtendedKeyUsage| {
            self.always.contains(purpose) || names_hosts && self.with_hosts.contains(purpose)
        };
        [ExtendedKeyUsage::ServerAuth, ExtendedKeyUsage::ClientAuth].into_iter().filter(has).collect()
    }
}

/// When and how a certificate is replaced.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RenewalRule {
    /// The part of its validity, between 0 and 1, after which it is due.
    pub(super) after: f64,
    /// What becomes of the key.
    pub(super) key: RenewalKey,
}

impl RenewalRule {
    /// When a certificate of that validity is due for renewal.
    #[must_use]
    pub fn due(&self, not_before: OffsetDateTime, not_after: OffsetDateTime) -> OffsetDateTime {
        not_before.checked_add((not_after - not_before) * self.after).unwrap_or(not_after)
    }

    /// What becomes of the key.
    #[must_use]
    pub fn key(&self) -> RenewalKey {
        self.key
    }
}

/// What becomes of the key when a certificate is replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RenewalKey {
    /// A new key is made.
    Rekey,
    /// The certificate is renewed for the key it has.
    SameKey,
}

impl RenewalKey {
    /// The word for it in profiles.
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
    fn a_host_is_allowed_by_its_own_kind_of_rule() {
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
    fn renewal_is_due_at_its_part_of_the_validity() {
        let rule = RenewalRule { after: 0.5, key: RenewalKey::Rekey };
        let start = OffsetDateTime::UNIX_EPOCH;
        assert_eq!(rule.due(start, start + Duration::days(10)), start + Duration::days(5));
    }
}
