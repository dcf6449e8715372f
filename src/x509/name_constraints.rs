//! Name constraints (RFC 5280, section 4.2.1.10): parsed with a certificate, applied to the names of those below it.
//!
//! E-mail addresses, DNS names, URIs, IP addresses and directory names are compared. A name of another form is
//! refused where a constraint speaks of that form, and passes elsewhere.

use x509_parser::certificate::X509Certificate;
use x509_parser::oid_registry::OID_X509_EXT_SUBJECT_ALT_NAME;
use x509_parser::prelude::FromDer;

use super::der::{DerError, Reader, tag};
use super::general_name::{DirectoryName, GeneralName};

/// Name constraints of a CA.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameConstraints {
    /// Critical flag of the extension.
    pub critical: bool,
    permitted: Vec<GeneralName>,
    excluded: Vec<GeneralName>,
    fault: Option<&'static str>,
}

impl NameConstraints {
    /// Parse the value of the extension.
    pub(super) fn read(critical: bool, value: &[u8]) -> Result<Self, DerError> {
        let mut fields = Reader::new(Reader::whole(value, tag::SEQUENCE)?);
        let mut constraints = Self { critical, permitted: Vec::new(), excluded: Vec::new(), fault: None };
        if fields.is_empty() {
            constraints.fault = Some("they are empty");
        }
        for tag in [tag::CONTEXT_0, tag::CONTEXT_1] {
            let Some(subtrees) = fields.optional(&[tag])? else { continue };
            let mut subtrees = Reader::new(subtrees.content);
            if subtrees.is_empty() {
                constraints.fault = Some("they have an empty list of subtrees");
            }
            while !subtrees.is_empty() {
                let mut subtree = Reader::new(subtrees.expect(tag::SEQUENCE)?);
                let base = GeneralName::read(subtree.element()?)?;
                if !subtree.is_empty() {
                    constraints.fault = Some("they have a minimum or maximum");
                }
                constraints.fault = constraints.fault.or_else(|| fault_of(&base));
                let list = if tag == tag::CONTEXT_0 {
                    &mut constraints.permitted
                } else {
                    &mut constraints.excluded
                };
                list.push(base);
            }
        }
        fields.end()?;
        Ok(constraints)
    }

    /// The violated rule, if these constraints are not valid.
    #[must_use]
    pub const fn fault(&self) -> Option<&'static str> {
        self.fault
    }
}

/// Names of a certificate that constraints apply to: its subject, if it is not empty, and its alternative names.
#[derive(Debug)]
pub(super) struct CertificateNames(Vec<GeneralName>);

impl CertificateNames {
    /// Names of a certificate (DER); `None` if one is malformed.
    pub(super) fn of(certificate: &[u8]) -> Option<Self> {
        let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
        let subject = DirectoryName::read(parsed.subject().as_raw()).ok()?;
        let mut names: Vec<_> = subject.emails.iter().cloned().map(GeneralName::Email).collect();
        if !subject.is_empty() {
            names.push(GeneralName::Directory(subject));
        }
        let alternative = parsed.extensions().iter().find(|known| known.oid == OID_X509_EXT_SUBJECT_ALT_NAME);
        if let Some(extension) = alternative {
            names.extend(GeneralName::read_all(extension.value).ok()?);
        }
        Some(Self(names))
    }

    /// Apply the constraints of a CA above. `comparisons` is reduced by what that costs.
    pub(super) fn are_within(
        &self,
        constraints: &NameConstraints,
        comparisons: &mut usize,
    ) -> Result<(), NameFault> {
        let NameConstraints { permitted, excluded, .. } = constraints;
        let cost = self.0.len().saturating_mul(permitted.len() + excluded.len());
        *comparisons = comparisons.checked_sub(cost).ok_or(NameFault::TooMany)?;
        for name in &self.0 {
            let same_form = |base: &&GeneralName| base.form() == name.form();
            let is_excluded = |base| compare(name, base, Side::Excluded).unwrap_or(true);
            let is_permitted = |base| compare(name, base, Side::Permitted).unwrap_or(false);
            let mut permitted = permitted.iter().filter(same_form).peekable();
            let outside = permitted.peek().is_some() && !permitted.any(is_permitted);
            if outside || excluded.iter().filter(same_form).any(is_excluded) {
                return Err(NameFault::Excluded);
            }
        }
        Ok(())
    }
}

/// Violation of name constraints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NameFault {
    /// Name that is excluded, or not permitted.
    Excluded,
    /// More comparisons than the limit.
    TooMany,
}

/// List that a subtree stands in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Permitted,
    Excluded,
}

/// Rule that a subtree violates.
fn fault_of(base: &GeneralName) -> Option<&'static str> {
    match base {
        GeneralName::Dns(name) if name.starts_with('.') => Some("a DNS name in them has a leading period"),
        GeneralName::Dns(name) if !name.is_empty() && !is_host(name) => {
            Some("a DNS name in them is not valid")
        }
        GeneralName::Email(base) => {
            let is_valid = match base.rsplit_once('@') {
                Some((local, host)) => is_local_part(local) && is_host(host),
                None => is_host(base.strip_prefix('.').unwrap_or(base)),
            };
            (!is_valid).then_some("an e-mail address in them is not valid")
        }
        GeneralName::Uri(base) => {
            let host = base.strip_prefix('.').unwrap_or(base);
            let is_address = host.parse::<std::net::IpAddr>().is_ok();
            (!is_host(host) || is_address).then_some("a URI host in them is not valid")
        }
        GeneralName::Ip(octets) => {
            let (_, mask) = octets.split_at(octets.len() / 2);
            let bits = mask.iter().flat_map(|octet| (0..8).rev().map(move |bit| octet >> bit & 1));
            let contiguous = bits.is_sorted_by(|first, next| first >= next);
            (!matches!(octets.len(), 8 | 32) || !contiguous)
                .then_some("an IP address range in them is not valid")
        }
        GeneralName::Dns(_) | GeneralName::Directory(_) | GeneralName::Other(_) => None,
    }
}

/// Compare a name with a subtree of its form; `None` if that is not possible.
fn compare(name: &GeneralName, base: &GeneralName, side: Side) -> Option<bool> {
    match (name, base) {
        (GeneralName::Dns(name), GeneralName::Dns(base)) => is_dns_within(name, base, side),
        (GeneralName::Email(name), GeneralName::Email(base)) => {
            let (local, host) =
                name.rsplit_once('@').filter(|(local, host)| is_local_part(local) && is_host(host))?;
            Some(match base.rsplit_once('@') {
                Some((base_local, base_host)) => {
                    let same_local = match side {
                        Side::Permitted => local == base_local,
                        Side::Excluded => local.eq_ignore_ascii_case(base_local),
                    };
                    same_local && host.eq_ignore_ascii_case(base_host)
                }
                None => is_host_within(host, base),
            })
        }
        (GeneralName::Uri(name), GeneralName::Uri(base)) => Some(is_host_within(host_of(name)?, base)),
        (GeneralName::Ip(address), GeneralName::Ip(range)) => {
            let (network, mask) = range.split_at(range.len() / 2);
            matches!(address.len(), 4 | 16).then(|| {
                network.len() == address.len()
                    && address.iter().zip(network).zip(mask).all(|((a, n), m)| a & m == n & m)
            })
        }
        (GeneralName::Directory(name), GeneralName::Directory(base)) => Some(name.is_within(base)),
        _ => None,
    }
}

/// Test a DNS name for being `base` or below it. A wildcard is excluded with any name that it covers.
fn is_dns_within(name: &str, base: &str, side: Side) -> Option<bool> {
    let (wildcard, rest) = match name.strip_prefix("*.") {
        Some(rest) => (true, rest),
        None => (false, name),
    };
    if !is_host(rest) {
        return None;
    }
    let below = |name: &str, base: &str| {
        base.is_empty() || name == base || name.strip_suffix(base).is_some_and(|labels| labels.ends_with('.'))
    };
    let covers = || base.split_once('.').is_some_and(|(_, parent)| parent == rest);
    Some(below(rest, base) || wildcard && side == Side::Excluded && covers())
}

/// Test a host for a constraint on e-mail addresses or URIs: the host itself or, with a leading period, those below.
fn is_host_within(host: &str, base: &str) -> bool {
    let (host, base) = (host.to_ascii_lowercase(), base.to_ascii_lowercase());
    if base.starts_with('.') { host.len() > base.len() && host.ends_with(&base) } else { host == base }
}

/// Host in the authority of a URI (RFC 3986, section 3.2), unless it is an address.
fn host_of(uri: &str) -> Option<&str> {
    let (scheme, rest) = uri.split_once("://")?;
    let is_scheme = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'));
    let authority = rest.split(['/', '?', '#']).next()?;
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let host = host.rsplit_once(':').map_or(host, |(host, _)| host);
    (is_scheme && is_host(host) && host.parse::<std::net::IpAddr>().is_err()).then_some(host)
}

/// Test the syntax of a host name: labels of letters, digits, hyphens and underscores.
fn is_host(name: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
    };
    name.len() <= 253 && name.split('.').all(is_label)
}

/// Test the part before the `@` for the characters of a dot-string (RFC 5321, section 4.1.2).
fn is_local_part(text: &str) -> bool {
    let is_atom = |atom: &str| {
        !atom.is_empty()
            && atom.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~".contains(&b))
    };
    text.split('.').all(is_atom)
}
