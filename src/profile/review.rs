//! From a profile's file to a profile: every rule that one file can break, all breaches reported.

use std::collections::HashSet;
use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;
use time::Duration;

use super::built_in::ROOT;
use super::leaf::LeafProfile;
use super::origin::Origin;
use super::root::RootProfile;
use super::rules::{
    CommonName, DnsPattern, HostRule, KeyRule, NAME_PLACEHOLDER, PurposeRule, RenewalKey, RenewalRule,
    ValidityRule,
};
use super::schema::{
    BasicConstraintsFile, ExtendedKeyUsageFile, HostsFile, KeyFile, LeafFile, RenewalFile, RootFile,
    ValidityFile,
};
use crate::clock;
use crate::identity::{CONTROL_SERVICE_DNS_NAME, Role};
use crate::x509::{ExtendedKeyUsage, KeyAlgorithm};
use crate::yaml::{Document, Place, Problem};

/// The version of the profiles' form that this program reads.
pub(super) const VERSION: u32 = 1;

/// The most that a certificate may be back-dated.
const BACKDATE_LIMIT: Duration = Duration::hours(1);

/// The most hosts that any profile may allow in one certificate.
const HOSTS_LIMIT: usize = 100;

/// Reads the root's profile.
pub(super) fn root(document: &Document, origin: Origin) -> Result<RootProfile, Vec<Problem>> {
    let file: RootFile = document.deserialize().map_err(|problem| vec![problem])?;
    let mut review = Review { document, problems: Vec::new() };
    review.header(file.version, &file.role, ROOT);
    let common_name = review.common_name(&file.subject.common_name, "");
    let key = review.key(&file.key);
    let validity = review.validity(&file.validity);
    review.key_usage(&file.key_usage, &["key_cert_sign", "crl_sign"]);
    let path_length = review.root_constraints(&file.basic_constraints);
    let profile = || {
        Some(RootProfile {
            origin,
            common_name: common_name?,
            key: key?,
            validity: validity?,
            path_length: path_length?,
        })
    };
    review.conclude(profile())
}

/// Reads the profile of `role`.
pub(super) fn leaf(document: &Document, role: Role, origin: Origin) -> Result<LeafProfile, Vec<Problem>> {
    let file: LeafFile = document.deserialize().map_err(|problem| vec![problem])?;
    let mut review = Review { document, problems: Vec::new() };
    review.header(file.version, &file.role, role.as_str());
    let begin = match role {
        Role::ControlService => CONTROL_SERVICE_DNS_NAME,
        Role::NodeAgent | Role::ApiUser => role.file_prefix(),
    };
    let common_name = review.common_name(&file.subject.common_name, begin);
    review.spiffe_id(&file.subject_alt_name.uri, role);
    review.fixed_dns_names(&file.subject_alt_name.dns, role);
    let hosts = review.hosts(file.subject_alt_name.hosts.as_ref(), role);
    let key = review.key(&file.key);
    let validity = review.validity(&file.validity);
    review.key_usage(&file.key_usage, &["digital_signature"]);
    let purposes = review.purposes(&file.extended_key_usage, role, file.subject_alt_name.hosts.is_some());
    review.leaf_constraints(&file.basic_constraints);
    let renewal = review.renewal(&file.renewal);
    let profile = || {
        Some(LeafProfile {
            role,
            origin,
            common_name: common_name?,
            hosts,
            key: key?,
            validity: validity?,
            purposes,
            renewal: renewal?,
        })
    };
    review.conclude(profile())
}

/// One file under review, and what was found wrong with it so far.
struct Review<'a> {
    document: &'a Document,
    problems: Vec<Problem>,
}

impl<'a> Review<'a> {
    fn at(&self, key: &str) -> Place<'a> {
        self.document.at(key)
    }

    fn refuse(&mut self, place: &Place<'_>, rule: impl fmt::Display) {
        self.problems.push(place.problem(rule));
    }

    /// The profile, if nothing at all was found wrong.
    fn conclude<T>(self, profile: Option<T>) -> Result<T, Vec<Problem>> {
        match profile {
            Some(profile) if self.problems.is_empty() => Ok(profile),
            _ => Err(self.problems),
        }
    }

    /// Reads the elements of a list, none of which may stand twice.
    fn list<T>(
        &mut self,
        place: &Place<'_>,
        texts: &[String],
        mut read: impl FnMut(&str) -> Result<T, String>,
    ) -> Vec<T> {
        let mut seen = HashSet::new();
        let mut values = Vec::new();
        for (index, text) in texts.iter().enumerate() {
            match read(text) {
                _ if !seen.insert(text) => {
                    self.refuse(&place.at(index), format_args!("`{text}` stands twice"))
                }
                Ok(value) => values.push(value),
                Err(rule) => self.refuse(&place.at(index), rule),
            }
        }
        values
    }

    fn header(&mut self, version: u32, role: &str, file_stem: &str) {
        if version != VERSION {
            self.refuse(&self.at("version"), format_args!("{version} is not known, only {VERSION} is"));
        }
        if role != file_stem {
            self.refuse(
                &self.at("role"),
                format_args!("`{role}` stands in the file of `{file_stem}`; they must be the same"),
            );
        }
    }

    /// A common name that begins with `begin`, so that no role can pass for another by its subject.
    fn common_name(&mut self, template: &str, begin: &str) -> Option<CommonName> {
        let place = self.at("subject").at("common_name");
        let before = self.problems.len();
        let fixed = template.replacen(NAME_PLACEHOLDER, "", 1);
        if let Some(wrong) =
            fixed.chars().find(|c| !(c.is_ascii_alphanumeric() || matches!(c, ' ' | '-' | '.' | '_')))
        {
            self.refuse(
                &place,
                format_args!(
                    "`{template}` has `{}`; allowed are one {NAME_PLACEHOLDER}, letters, digits, spaces and -._",
                    wrong.escape_default()
                ),
            );
        }
        let needs_name = begin != CONTROL_SERVICE_DNS_NAME;
        if needs_name && !template.contains(NAME_PLACEHOLDER) {
            self.refuse(
                &place,
                format_args!("`{template}` lacks {NAME_PLACEHOLDER}: all would have one subject"),
            );
        }
        if !template.starts_with(begin) {
            self.refuse(&place, format_args!("`{template}` must begin with `{begin}`"));
        }
        (self.problems.len() == before).then(|| CommonName(template.to_owned()))
    }

    fn spiffe_id(&mut self, template: &str, role: Role) {
        let wanted = spiffe_id_template(role);
        if template != wanted {
            let place = self.at("subject_alt_name").at("uri");
            self.refuse(&place, format_args!("`{template}` must be `{wanted}`"));
        }
    }

    fn fixed_dns_names(&mut self, names: &[String], role: Role) {
        let place = self.at("subject_alt_name").at("dns");
        if role != Role::ControlService {
            if !names.is_empty() {
                self.refuse(
                    &place,
                    format_args!("{role} has no fixed DNS name; list allowed ones in `hosts`"),
                );
            }
        } else if names != [CONTROL_SERVICE_DNS_NAME] {
            self.refuse(&place, format_args!("must be exactly [{CONTROL_SERVICE_DNS_NAME}]"));
        }
    }

    fn hosts(&mut self, file: Option<&HostsFile>, role: Role) -> Option<HostRule> {
        let place = self.at("subject_alt_name").at("hosts");
        let Some(file) = file else {
            if role == Role::ControlService {
                self.refuse(&place, "missing: control-service is named for a host");
            }
            return None;
        };
        if role == Role::ApiUser {
            self.refuse(&place, "api-user has no host");
        }
        if !(1..=HOSTS_LIMIT).contains(&file.at_most) {
            self.refuse(
                &place.at("at_most"),
                format_args!("{} is not within 1 to {HOSTS_LIMIT}", file.at_most),
            );
        }
        if file.dns.is_empty() && file.ip.is_empty() {
            self.refuse(&place, "allows no host at all; leave it out to say so");
        }
        let dns = self.list(&place.at("dns"), &file.dns, |text| match DnsPattern::parse(text) {
            Some(DnsPattern::Exact(name))
                if name == CONTROL_SERVICE_DNS_NAME && role != Role::ControlService =>
            {
                Err(format!("`{name}` is reserved for control services"))
            }
            Some(pattern) => Ok(pattern),
            None => Err(format!("`{text}` is neither `*`, `*.DOMAIN` nor a whole DNS name")),
        });
        let ip = self.list(&place.at("ip"), &file.ip, network);
        Some(HostRule { at_most: file.at_most, dns, ip })
    }

    fn key(&mut self, file: &KeyFile) -> Option<KeyRule> {
        let place = self.at("key").at("algorithms");
        if file.algorithms.is_empty() {
            self.refuse(&place, "at least one key type must be allowed");
        }
        let algorithms = self
            .list(&place, &file.algorithms, |text| text.parse::<KeyAlgorithm>().map_err(|e| e.to_string()));
        Some(KeyRule { default: *algorithms.first()?, algorithms })
    }

    fn validity(&mut self, file: &ValidityFile) -> Option<ValidityRule> {
        let mut read = |key: &str, text: &str| {
            let duration = clock::parse_duration(text);
            if let Err(error) = &duration {
                self.refuse(&self.at("validity").at(key), error);
            }
            duration.ok()
        };
        let minimum = read("minimum", &file.minimum);
        let default = read("default", &file.default);
        let maximum = read("maximum", &file.maximum);
        let backdate = read("backdate", &file.backdate);
        if backdate.is_some_and(|backdate| backdate > BACKDATE_LIMIT) {
            self.refuse(
                &self.at("validity").at("backdate"),
                format_args!(
                    "{} is more than the {} allowed",
                    file.backdate,
                    clock::format_duration(BACKDATE_LIMIT)
                ),
            );
        }
        for (shorter, longer, key, rule) in [
            (
                minimum,
                default,
                "default",
                format!("{} is less than the minimum, {}", file.default, file.minimum),
            ),
            (
                default,
                maximum,
                "maximum",
                format!("{} is less than the default, {}", file.maximum, file.default),
            ),
        ] {
            if shorter.zip(longer).is_some_and(|(shorter, longer)| longer < shorter) {
                self.refuse(&self.at("validity").at(key), rule);
            }
        }
        Some(ValidityRule { minimum: minimum?, default: default?, maximum: maximum?, backdate: backdate? })
    }

    fn key_usage(&mut self, words: &[String], wanted: &[&str]) {
        let given: HashSet<&str> = words.iter().map(String::as_str).collect();
        if words.len() != wanted.len() || given != wanted.iter().copied().collect() {
            self.refuse(&self.at("key_usage"), format_args!("must be exactly [{}]", wanted.join(", ")));
        }
    }

    fn purposes(&mut self, file: &ExtendedKeyUsageFile, role: Role, has_hosts: bool) -> PurposeRule {
        let place = self.at("extended_key_usage");
        let (at_always, at_with_hosts) = (place.at("always"), place.at("with_hosts"));
        let always = self.list(&at_always, &file.always, purpose);
        let with_hosts = self.list(&at_with_hosts, &file.with_hosts, purpose);
        let serves = always.contains(&ExtendedKeyUsage::ServerAuth);
        let calls = always.contains(&ExtendedKeyUsage::ClientAuth);
        match role {
            Role::ControlService if !serves => self.refuse(&at_always, "control-service needs server_auth"),
            Role::NodeAgent | Role::ApiUser if !calls => {
                self.refuse(&at_always, format_args!("{role} needs client_auth"));
            }
            Role::NodeAgent if serves => self.refuse(
                &at_always,
                "node-agent has server_auth only with a host it serves on: put it in `with_hosts`",
            ),
            Role::ApiUser if serves => self.refuse(&at_always, "api-user never has server_auth"),
            _ => {}
        }
        let useful = match role {
            Role::ControlService | Role::ApiUser => false,
            Role::NodeAgent => has_hosts,
        };
        if !with_hosts.is_empty() && !useful {
            self.refuse(&at_with_hosts, "has no meaning here: the certificate always or never names hosts");
        }
        PurposeRule { always, with_hosts }
    }

    fn root_constraints(&mut self, file: &BasicConstraintsFile) -> Option<u32> {
        let place = self.at("basic_constraints");
        if !file.ca {
            self.refuse(&place.at("ca"), "must be true: the root signs the others");
        }
        if file.path_length.is_none() {
            self.refuse(&place.at("path_length"), "missing: 0 forbids intermediate authorities");
        }
        file.path_length
    }

    fn leaf_constraints(&mut self, file: &BasicConstraintsFile) {
        let place = self.at("basic_constraints");
        if file.ca {
            self.refuse(&place.at("ca"), "must be false: only the root is an authority");
        }
        if file.path_length.is_some() {
            self.refuse(&place.at("path_length"), "only an authority has one");
        }
    }

    fn renewal(&mut self, file: &RenewalFile) -> Option<RenewalRule> {
        let place = self.at("renewal");
        // Written so that "not a number" is refused as well.
        if !(file.after > 0.0 && file.after < 1.0) {
            self.refuse(&place.at("after"), format_args!("{} is not between 0 and 1", file.after));
        }
        let key = [RenewalKey::Rekey, RenewalKey::SameKey].into_iter().find(|key| key.as_str() == file.key);
        if key.is_none() {
            self.refuse(&place.at("key"), format_args!("`{}` is neither rekey nor same_key", file.key));
        }
        Some(RenewalRule { after: file.after, key: key? })
    }
}

/// The one form of a SPIFFE ID: the gateway decides on it, so no profile may change it.
pub(super) fn spiffe_id_template(role: Role) -> String {
    format!("spiffe://{{trust_domain}}/{role}/{NAME_PLACEHOLDER}")
}

fn purpose(text: &str) -> Result<ExtendedKeyUsage, String> {
    match text {
        "client_auth" => Ok(ExtendedKeyUsage::ClientAuth),
        "server_auth" => Ok(ExtendedKeyUsage::ServerAuth),
        other => Err(format!("`{other}` is no purpose here: client_auth and server_auth are")),
    }
}

/// A network such as `10.0.0.0/8`, or one address.
fn network(text: &str) -> Result<IpNet, String> {
    let network = match text.parse::<IpAddr>() {
        Ok(address) => IpNet::from(address),
        Err(_) => text
            .parse::<IpNet>()
            .map_err(|_| format!("`{text}` is neither an IP network such as 10.0.0.0/8 nor an address"))?,
    };
    if network.trunc() == network {
        Ok(network)
    } else {
        Err(format!("`{text}` has bits beyond its prefix: write {}", network.trunc()))
    }
}
