//! Validation of a profile's file. All problems of the file are reported together.

use std::collections::HashSet;
use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;
use time::Duration;

use super::built_in::ROOT;
use super::leaf::LeafProfile;
use super::origin::ProfileOrigin;
use super::root::RootProfile;
use super::rules::{
    CommonName, DnsPattern, HostRule, KeyRule, NAME_PLACEHOLDER, PurposeRule, RenewalKey, RenewalRule,
    ValidityRule,
};
use super::schema::{
    BasicConstraintsSection, ExtendedKeyUsageSection, HostsSection, KeySection, LeafFile, RenewalSection,
    RootFile, ValiditySection,
};
use crate::clock;
use crate::identity::{CONTROL_SERVICE_DNS_NAME, CommonNameForm, HostUse, Role, ServerAuth};
use crate::x509::{ExtendedKeyUsage, KeyAlgorithm};
use crate::yaml::{Document, Place, YamlProblem};

/// Supported version of the file format.
pub(super) const VERSION: u32 = 1;

/// Maximum back-dating of a certificate.
const BACKDATE_LIMIT: Duration = Duration::hours(1);

/// Maximum number of hosts that a profile may allow in one certificate.
const HOSTS_LIMIT: usize = 100;

/// Validate the profile of the root.
pub(super) fn root(document: &Document, origin: ProfileOrigin) -> Result<RootProfile, Vec<YamlProblem>> {
    let file: RootFile = document.deserialize().map_err(|problem| vec![problem])?;
    let mut validator = Validator { document, problems: Vec::new() };
    validator.header(file.version, &file.role, ROOT);
    let common_name = validator.common_name(&file.subject.common_name, CommonNameForm::Prefix(""));
    let key = validator.key(&file.key);
    let validity = validator.validity(&file.validity);
    validator.key_usage(&file.key_usage, &["key_cert_sign", "crl_sign"]);
    let path_length = validator.root_constraints(&file.basic_constraints);
    let profile = || {
        Some(RootProfile {
            origin,
            common_name: common_name?,
            key: key?,
            validity: validity?,
            path_length: path_length?,
        })
    };
    validator.conclude(profile())
}

/// Validate the profile of `role`.
pub(super) fn leaf(
    document: &Document,
    role: Role,
    origin: ProfileOrigin,
) -> Result<LeafProfile, Vec<YamlProblem>> {
    let file: LeafFile = document.deserialize().map_err(|problem| vec![problem])?;
    let mut validator = Validator { document, problems: Vec::new() };
    validator.header(file.version, &file.role, role.as_str());
    let common_name = validator.common_name(&file.subject.common_name, role.common_name_form());
    validator.spiffe_id(&file.subject_alt_name.uri, role);
    validator.fixed_dns_names(&file.subject_alt_name.dns, role);
    let hosts = validator.hosts(file.subject_alt_name.hosts.as_ref(), role);
    let key = validator.key(&file.key);
    let validity = validator.validity(&file.validity);
    validator.key_usage(&file.key_usage, &["digital_signature"]);
    let purposes = validator.purposes(&file.extended_key_usage, role, file.subject_alt_name.hosts.is_some());
    validator.leaf_constraints(&file.basic_constraints);
    let renewal = validator.renewal(&file.renewal);
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
    validator.conclude(profile())
}

/// Profile file under validation, with the problems found so far.
struct Validator<'a> {
    document: &'a Document,
    problems: Vec<YamlProblem>,
}

impl<'a> Validator<'a> {
    fn at(&self, key: &str) -> Place<'a> {
        self.document.at(key)
    }

    fn refuse(&mut self, place: &Place<'_>, rule: impl fmt::Display) {
        self.problems.push(place.problem(rule));
    }

    /// Return the profile if no problem was found.
    fn conclude<T>(self, profile: Option<T>) -> Result<T, Vec<YamlProblem>> {
        match profile {
            Some(profile) if self.problems.is_empty() => Ok(profile),
            _ => Err(self.problems),
        }
    }

    /// Parse the elements of a list and refuse duplicates.
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
                    self.refuse(&place.at(index), format_args!("`{text}` is listed twice"))
                }
                Ok(value) => values.push(value),
                Err(rule) => self.refuse(&place.at(index), rule),
            }
        }
        values
    }

    fn header(&mut self, version: u32, role: &str, file_stem: &str) {
        if version != VERSION {
            self.refuse(
                &self.at("version"),
                format_args!("{version} is not supported; the only version is {VERSION}"),
            );
        }
        if role != file_stem {
            self.refuse(
                &self.at("role"),
                format_args!("`{role}` must be `{file_stem}`, as in the file name"),
            );
        }
    }

    /// Check a common name. Its start is fixed, so that no role can imitate another by its subject.
    fn common_name(&mut self, template: &str, form: CommonNameForm) -> Option<CommonName> {
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
        let (begin, needs_name) = (form.start(), matches!(form, CommonNameForm::Prefix(_)));
        if needs_name && !template.contains(NAME_PLACEHOLDER) {
            self.refuse(
                &place,
                format_args!("`{template}` lacks {NAME_PLACEHOLDER}: subjects would not be unique"),
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
        match role.fixed_dns_name() {
            None if !names.is_empty() => self
                .refuse(&place, format_args!("{role} has no fixed DNS name; list allowed names in `hosts`")),
            Some(fixed) if names != [fixed] => self.refuse(&place, format_args!("must be exactly [{fixed}]")),
            _ => {}
        }
    }

    fn hosts(&mut self, file: Option<&HostsSection>, role: Role) -> Option<HostRule> {
        let place = self.at("subject_alt_name").at("hosts");
        let Some(file) = file else {
            if role.hosts() == HostUse::Required {
                self.refuse(&place, format_args!("missing: {role} is named for a host"));
            }
            return None;
        };
        if role.hosts() == HostUse::Never {
            self.refuse(&place, format_args!("{role} has no host"));
        }
        if !(1..=HOSTS_LIMIT).contains(&file.at_most) {
            self.refuse(
                &place.at("at_most"),
                format_args!("{} is not within 1 to {HOSTS_LIMIT}", file.at_most),
            );
        }
        if file.dns.is_empty() && file.ip.is_empty() {
            self.refuse(&place, "allows no host; remove it to allow none");
        }
        let dns = self.list(&place.at("dns"), &file.dns, |text| match DnsPattern::parse(text) {
            Some(DnsPattern::Exact(name))
                if name == CONTROL_SERVICE_DNS_NAME
                    && role.fixed_dns_name() != Some(CONTROL_SERVICE_DNS_NAME) =>
            {
                Err(format!("`{name}` is reserved for control services"))
            }
            Some(pattern) => Ok(pattern),
            None => Err(format!("`{text}` is not `*`, `*.DOMAIN` or a complete DNS name")),
        });
        let ip = self.list(&place.at("ip"), &file.ip, network);
        Some(HostRule { at_most: file.at_most, dns, ip })
    }

    fn key(&mut self, file: &KeySection) -> Option<KeyRule> {
        let place = self.at("key").at("algorithms");
        if file.algorithms.is_empty() {
            self.refuse(&place, "must allow at least one key type");
        }
        let algorithms = self
            .list(&place, &file.algorithms, |text| text.parse::<KeyAlgorithm>().map_err(|e| e.to_string()));
        Some(KeyRule { default: *algorithms.first()?, algorithms })
    }

    fn validity(&mut self, file: &ValiditySection) -> Option<ValidityRule> {
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
                    "{} exceeds the maximum, {}",
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

    fn purposes(&mut self, file: &ExtendedKeyUsageSection, role: Role, has_hosts: bool) -> PurposeRule {
        let place = self.at("extended_key_usage");
        let (at_always, at_with_hosts) = (place.at("always"), place.at("with_hosts"));
        let always = self.list(&at_always, &file.always, purpose);
        let with_hosts = self.list(&at_with_hosts, &file.with_hosts, purpose);
        let serves = always.contains(&ExtendedKeyUsage::ServerAuth);
        let calls = always.contains(&ExtendedKeyUsage::ClientAuth);
        let server_auth = role.server_auth();
        match server_auth {
            ServerAuth::Always if !serves => {
                self.refuse(&at_always, format_args!("{role} requires server_auth"));
            }
            ServerAuth::WithHosts | ServerAuth::Never if !calls => {
                self.refuse(&at_always, format_args!("{role} requires client_auth"));
            }
            ServerAuth::WithHosts if serves => self.refuse(
                &at_always,
                format_args!("{role} has server_auth only with a host: move it to `with_hosts`"),
            ),
            ServerAuth::Never if serves => {
                self.refuse(&at_always, format_args!("{role} never has server_auth"));
            }
            _ => {}
        }
        let allowed = server_auth == ServerAuth::WithHosts && has_hosts;
        if !allowed && !with_hosts.is_empty() {
            self.refuse(&at_with_hosts, "has no effect: the certificate always or never has hosts");
        }
        PurposeRule { always, with_hosts }
    }

    fn root_constraints(&mut self, file: &BasicConstraintsSection) -> Option<u32> {
        let place = self.at("basic_constraints");
        if !file.ca {
            self.refuse(&place.at("ca"), "must be true: the root is a CA");
        }
        if file.path_length.is_none() {
            self.refuse(&place.at("path_length"), "missing: 0 forbids intermediate CAs");
        }
        file.path_length
    }

    fn leaf_constraints(&mut self, file: &BasicConstraintsSection) {
        let place = self.at("basic_constraints");
        if file.ca {
            self.refuse(&place.at("ca"), "must be false: only the root is a CA");
        }
        if file.path_length.is_some() {
            self.refuse(&place.at("path_length"), "only a CA has a path length");
        }
    }

    fn renewal(&mut self, file: &RenewalSection) -> Option<RenewalRule> {
        let place = self.at("renewal");
        // In this form, NaN is refused as well.
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

/// Only allowed form of a SPIFFE ID, because gateways authorize by it.
pub(super) fn spiffe_id_template(role: Role) -> String {
    format!("spiffe://{{trust_domain}}/{role}/{NAME_PLACEHOLDER}")
}

fn purpose(text: &str) -> Result<ExtendedKeyUsage, String> {
    match text {
        "client_auth" => Ok(ExtendedKeyUsage::ClientAuth),
        "server_auth" => Ok(ExtendedKeyUsage::ServerAuth),
        other => Err(format!("`{other}` is not supported; the purposes are client_auth and server_auth")),
    }
}

/// Parse a network such as `10.0.0.0/8`, or one address.
fn network(text: &str) -> Result<IpNet, String> {
    let network = match text.parse::<IpAddr>() {
        Ok(address) => IpNet::from(address),
        Err(_) => text
            .parse::<IpNet>()
            .map_err(|_| format!("`{text}` is not an IP network such as 10.0.0.0/8, or an address"))?,
    };
    if network.trunc() == network {
        Ok(network)
    } else {
        Err(format!("`{text}` has host bits set: write {}", network.trunc()))
    }
}
