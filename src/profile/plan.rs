//! Plans of certificates, made from a profile and a request before anything is signed.

use std::collections::HashSet;
use std::fmt;

use serde::{Serialize, Serializer};
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use super::leaf::LeafProfile;
use super::policy::IssuancePolicyError;
use super::root::RootProfile;
use super::rules::{KeyRule, ValidityRule};
use crate::clock::rfc3339;
use crate::identity::{CONTROL_SERVICE_DNS_NAME, ClusterName, Host, HostUse, Identity, Name, Role};
use crate::x509::{ExtendedKeyUsage, KeyAlgorithm, KeyUsage, Sha256, SubjectAltName};

/// Maximum length of a common name in characters (RFC 5280, appendix A.1, `ub-common-name`).
const COMMON_NAME_LIMIT: usize = 64;

/// Request for a root certificate.
#[derive(Clone, Copy, Debug)]
pub struct RootRequest<'a> {
    /// Common name of the root.
    pub cluster_name: &'a ClusterName,
    /// Organizational unit of every subject below this root.
    pub cluster_uuid: Uuid,
    /// Key type; `None` for the default of the profile.
    pub key_algorithm: Option<KeyAlgorithm>,
    /// Validity; `None` for the default of the profile.
    pub validity: Option<Duration>,
}

/// Request for a leaf certificate.
#[derive(Clone, Copy, Debug)]
pub struct LeafRequest<'a> {
    /// Identity of the certificate.
    pub identity: &'a Identity,
    /// Organizational unit of the subject.
    pub cluster_uuid: Uuid,
    /// Hosts of the certificate. An identity named for a host has that one first.
    pub hosts: &'a [Host],
    /// Key type; `None` for the default of the profile. For an existing key, its type.
    pub key_algorithm: Option<KeyAlgorithm>,
    /// Validity; `None` for the default of the profile.
    pub validity: Option<Duration>,
}

/// Contents of a root certificate before it is signed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RootPlan {
    /// Subject and issuer.
    #[serde(flatten)]
    pub subject: PlannedSubject,
    /// Key type.
    pub key_algorithm: KeyAlgorithm,
    /// Maximum number of CA certificates below it in a chain.
    pub path_length: u32,
    /// Bits of the critical extension (RFC 5280, section 4.2.1.3).
    #[serde(serialize_with = "key_usage")]
    pub key_usage: KeyUsage,
    /// First second of the validity.
    #[serde(serialize_with = "time")]
    pub not_before: OffsetDateTime,
    /// Last second of the validity.
    #[serde(serialize_with = "time")]
    pub not_after: OffsetDateTime,
    /// Digest of the profile.
    pub profile: Sha256,
}

/// Contents of a leaf certificate before it is signed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LeafPlan {
    /// Identity of the certificate.
    #[serde(flatten, serialize_with = "identity")]
    pub identity: Identity,
    /// Distinguished name in the form of Flocker.
    #[serde(flatten)]
    pub subject: PlannedSubject,
    /// SPIFFE ID, then DNS names, then IP addresses, without duplicates.
    pub subject_alt_names: Vec<SubjectAltName>,
    /// Key type.
    pub key_algorithm: KeyAlgorithm,
    /// Bits of the critical extension (RFC 5280, section 4.2.1.3).
    #[serde(serialize_with = "key_usage")]
    pub key_usage: KeyUsage,
    /// Purposes in TLS, `serverAuth` first.
    pub extended_key_usage: Vec<ExtendedKeyUsage>,
    /// First second of the validity.
    #[serde(serialize_with = "time")]
    pub not_before: OffsetDateTime,
    /// Last second of the validity.
    #[serde(serialize_with = "time")]
    pub not_after: OffsetDateTime,
    /// Digest of the profile.
    pub profile: Sha256,
}

/// Subject of one organizational unit and one common name, in this order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PlannedSubject {
    /// UUID of the cluster.
    pub organizational_unit: String,
    /// Prefix of the role and name, at most 64 characters (RFC 5280, appendix A.1).
    pub common_name: String,
}

impl RootProfile {
    /// Plan the root certificate for `request` at `now`.
    ///
    /// # Errors
    /// [`IssuancePolicyError`] if the request violates a rule of the profile.
    pub fn plan(
        &self,
        request: &RootRequest<'_>,
        now: OffsetDateTime,
    ) -> Result<RootPlan, IssuancePolicyError> {
        let key_algorithm = self.key.choose(request.key_algorithm)?;
        let (not_before, not_after) = self.validity.window(request.validity, now, None)?;
        let common_name = self.common_name.of(request.cluster_name.as_str());
        Ok(RootPlan {
            subject: PlannedSubject::new(request.cluster_uuid, common_name)?,
            key_algorithm,
            path_length: self.path_length,
            key_usage: KeyUsage::KEY_CERT_SIGN_AND_CRL_SIGN,
            not_before,
            not_after,
            profile: self.origin.digest,
        })
    }
}

impl LeafProfile {
    /// Plan the certificate for `request` at `now`, under an issuer that expires at `issuer_not_after`.
    ///
    /// A default validity is shortened to that of the issuer; a requested one is refused instead.
    ///
    /// # Errors
    /// [`IssuancePolicyError`] if the request violates a rule of the profile.
    pub fn plan(
        &self,
        request: &LeafRequest<'_>,
        now: OffsetDateTime,
        issuer_not_after: OffsetDateTime,
    ) -> Result<LeafPlan, IssuancePolicyError> {
        let identity = request.identity;
        if identity.role != self.role {
            return Err(IssuancePolicyError::Role { profile: self.role, identity: identity.role });
        }
        let hosts = self.check_hosts(identity, request.hosts)?;
        let key_algorithm = self.key.choose(request.key_algorithm)?;
        let (not_before, not_after) = self.validity.window(request.validity, now, Some(issuer_not_after))?;
        let common_name = self.common_name.of(identity.name.as_str());
        let extended_key_usage = self.purposes.purposes(!hosts.is_empty());
        Ok(LeafPlan {
            subject: PlannedSubject::new(request.cluster_uuid, common_name)?,
            key_usage: key_usage_for(key_algorithm, &extended_key_usage),
            extended_key_usage,
            subject_alt_names: subject_alt_names(identity, &hosts),
            identity: identity.clone(),
            key_algorithm,
            not_before,
            not_after,
            profile: self.origin.digest,
        })
    }

    /// Check the type of an existing key, such as that of a CSR.
    ///
    /// # Errors
    /// [`IssuancePolicyError::KeyAlgorithm`] for a type that is weak, unknown or not allowed by the profile.
    pub fn check_public_key(
        &self,
        key_algorithm: Option<KeyAlgorithm>,
    ) -> Result<KeyAlgorithm, IssuancePolicyError> {
        match key_algorithm {
            Some(known) => self.key.choose(Some(known)),
            None => Err(self.key.refusal(None)),
        }
    }

    /// Remove duplicate hosts, and refuse those that the certificate may not have.
    fn check_hosts<'a>(
        &self,
        identity: &Identity,
        hosts: &'a [Host],
    ) -> Result<Vec<&'a Host>, IssuancePolicyError> {
        let role = self.role;
        let own_comes_first = hosts.first().is_some_and(|host| Name::of_host(host) == identity.name);
        if role.hosts() == HostUse::Required && !own_comes_first {
            return Err(IssuancePolicyError::OwnHost { role, name: identity.name.clone() });
        }
        let mut seen = HashSet::new();
        let hosts: Vec<&Host> = hosts.iter().filter(|host| seen.insert(*host)).collect();
        for host in &hosts {
            if role.fixed_dns_name() != Some(CONTROL_SERVICE_DNS_NAME) && is_control_service(host) {
                return Err(IssuancePolicyError::HostReserved { role });
            }
            if !self.hosts.as_ref().is_some_and(|rule| rule.allows(host)) {
                return Err(IssuancePolicyError::HostNotAllowed { role, host: (*host).clone() });
            }
        }
        let at_most = self.hosts.as_ref().map_or(0, |rule| rule.at_most());
        if hosts.len() > at_most {
            return Err(IssuancePolicyError::TooManyHosts { role, given: hosts.len(), at_most });
        }
        Ok(hosts)
    }
}

/// Key usage for TLS: signing. NSS accepts an RSA server certificate only with `keyEncipherment` as well
/// (RFC 5246, section 7.4.2), although its RSA key exchange is not supported here.
fn key_usage_for(key_algorithm: KeyAlgorithm, purposes: &[ExtendedKeyUsage]) -> KeyUsage {
    if key_algorithm.is_rsa() && purposes.contains(&ExtendedKeyUsage::ServerAuth) {
        KeyUsage::DIGITAL_SIGNATURE_AND_KEY_ENCIPHERMENT
    } else {
        KeyUsage::DIGITAL_SIGNATURE
    }
}

fn is_control_service(host: &Host) -> bool {
    matches!(host, Host::Dns(name) if name == CONTROL_SERVICE_DNS_NAME)
}

fn subject_alt_names(identity: &Identity, hosts: &[&Host]) -> Vec<SubjectAltName> {
    let fixed = identity.role.fixed_dns_name();
    let named = hosts.iter().filter(|host| !is_control_service(host)).filter_map(|host| match host {
        Host::Dns(name) => Some(name.as_str()),
        Host::Ip(_) => None,
    });
    let addresses = hosts.iter().filter_map(|host| match host {
        Host::Ip(ip) => Some(SubjectAltName::Ip(*ip)),
        Host::Dns(_) => None,
    });
    [SubjectAltName::Uri(identity.spiffe_id())]
        .into_iter()
        .chain(fixed.into_iter().chain(named).map(|name| SubjectAltName::Dns(name.to_owned())))
        .chain(addresses)
        .collect()
}

impl PlannedSubject {
    fn new(cluster_uuid: Uuid, common_name: String) -> Result<Self, IssuancePolicyError> {
        let length = common_name.chars().count();
        if length > COMMON_NAME_LIMIT {
            return Err(IssuancePolicyError::CommonName { common_name, length, at_most: COMMON_NAME_LIMIT });
        }
        Ok(Self { organizational_unit: cluster_uuid.hyphenated().to_string(), common_name })
    }
}

/// Same text as that of a parsed subject, because neither part can contain a character that is escaped there.
impl fmt::Display for PlannedSubject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OU={}, CN={}", self.organizational_unit, self.common_name)
    }
}

impl KeyRule {
    fn choose(&self, wanted: Option<KeyAlgorithm>) -> Result<KeyAlgorithm, IssuancePolicyError> {
        match wanted {
            None => Ok(self.default),
            Some(wanted) if self.algorithms.contains(&wanted) => Ok(wanted),
            Some(wanted) => Err(self.refusal(Some(wanted))),
        }
    }

    fn refusal(&self, given: Option<KeyAlgorithm>) -> IssuancePolicyError {
        IssuancePolicyError::KeyAlgorithm { given, allowed: self.algorithms.clone() }
    }
}

impl ValidityRule {
    /// First and last second of a certificate made at `now`; X.509 has whole seconds.
    fn window(
        &self,
        wanted: Option<Duration>,
        now: OffsetDateTime,
        issuer_not_after: Option<OffsetDateTime>,
    ) -> Result<(OffsetDateTime, OffsetDateTime), IssuancePolicyError> {
        let Self { minimum, default, maximum, backdate } = *self;
        if let Some(given) = wanted
            && !(minimum..=maximum).contains(&given)
        {
            return Err(IssuancePolicyError::Validity { given, minimum, maximum });
        }
        let now = now.replace_nanosecond(0).unwrap_or(now);
        let end = |validity| now.checked_add(validity).filter(|end| end.year() <= 9999);
        let not_before = now.checked_sub(backdate).ok_or(IssuancePolicyError::Calendar)?;
        let not_after = end(wanted.unwrap_or(default)).ok_or(IssuancePolicyError::Calendar)?;
        let Some(issuer_not_after) = issuer_not_after.filter(|issuer| *issuer < not_after) else {
            return Ok((not_before, not_after));
        };
        let shortest = end(minimum).ok_or(IssuancePolicyError::Calendar)?;
        if wanted.is_some() {
            Err(IssuancePolicyError::OutlivesIssuer { not_after, issuer_not_after })
        } else if shortest > issuer_not_after {
            Err(IssuancePolicyError::OutlivesIssuer { not_after: shortest, issuer_not_after })
        } else {
            Ok((not_before, issuer_not_after))
        }
    }
}

fn identity<S: Serializer>(identity: &Identity, serializer: S) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Fields<'a> {
        role: Role,
        name: &'a Name,
        spiffe_id: String,
    }
    Fields { role: identity.role, name: &identity.name, spiffe_id: identity.spiffe_id() }
        .serialize(serializer)
}

fn key_usage<S: Serializer>(usage: &KeyUsage, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(usage.names())
}

fn time<S: Serializer>(time: &OffsetDateTime, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&rfc3339(*time))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::parse_time;
    use crate::error::Coded;
    use crate::profile::ProfileSet;

    const NODE: &str = "spiffe://prod/node-agent/6f1b1d3c-3a54-4b7e-9d1e-2f4c5b6a7d8e";
    const USER: &str = "spiffe://prod/api-user/alice";

    fn now() -> OffsetDateTime {
        parse_time("2027-01-01T00:00:00.75Z").unwrap()
    }

    /// Plan of the built-in profiles for a request after `change`, under a root of ten years.
    fn plan(
        identity: &str,
        hosts: &[&str],
        change: impl FnOnce(&mut LeafRequest<'_>),
    ) -> Result<LeafPlan, IssuancePolicyError> {
        plan_under(now() + Duration::days(3650), identity, hosts, change)
    }

    fn plan_under(
        issuer_not_after: OffsetDateTime,
        identity: &str,
        hosts: &[&str],
        change: impl FnOnce(&mut LeafRequest<'_>),
    ) -> Result<LeafPlan, IssuancePolicyError> {
        let identity: Identity = identity.parse().unwrap();
        let hosts: Vec<Host> = hosts.iter().map(|host| host.parse().unwrap()).collect();
        let mut request = LeafRequest {
            identity: &identity,
            cluster_uuid: Uuid::from_u128(7),
            hosts: &hosts,
            key_algorithm: None,
            validity: None,
        };
        change(&mut request);
        let profiles = ProfileSet::built_in().unwrap();
        profiles.leaf(request.identity.role).plan(&request, now(), issuer_not_after)
    }

    fn names(plan: &LeafPlan) -> Vec<String> {
        plan.subject_alt_names.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_control_service_has_its_fixed_name_and_every_host_once() {
        let id = "spiffe://prod/control-service/api.example.com";
        let hosts =
            ["api.example.com", "10.0.0.1", "b.example.com", "API.example.com", "::1", "control-service"];
        let plan = plan(id, &hosts, |_| {}).unwrap();
        assert_eq!(
            names(&plan),
            [
                "URI:spiffe://prod/control-service/api.example.com",
                "DNS:control-service",
                "DNS:api.example.com",
                "DNS:b.example.com",
                "IP:10.0.0.1",
                "IP:::1"
            ]
        );
        assert_eq!(plan.subject.to_string(), "OU=00000000-0000-0000-0000-000000000007, CN=control-service");
        assert_eq!(plan.extended_key_usage, [ExtendedKeyUsage::ServerAuth, ExtendedKeyUsage::ClientAuth]);
    }

    #[test]
    fn a_control_service_names_its_own_host_first() {
        let id = "spiffe://prod/control-service/api.example.com";
        for hosts in [&[][..], &["b.example.com"], &["b.example.com", "api.example.com"]] {
            assert_eq!(plan(id, hosts, |_| {}).unwrap_err().code(), "policy.own_host");
        }
        let v6 = plan("spiffe://prod/control-service/--1.ipv6-literal.net", &["::1"], |_| {}).unwrap();
        assert_eq!(names(&v6)[2], "IP:::1");
    }

    #[test]
    fn a_node_has_server_auth_only_with_a_host() {
        let plain = plan(NODE, &[], |_| {}).unwrap();
        assert_eq!(plain.extended_key_usage, [ExtendedKeyUsage::ClientAuth]);
        assert_eq!(names(&plain), [format!("URI:{NODE}")]);
        let serving = plan(NODE, &["n1.example.com"], |_| {}).unwrap();
        assert_eq!(serving.extended_key_usage, [ExtendedKeyUsage::ServerAuth, ExtendedKeyUsage::ClientAuth]);
    }

    #[test]
    fn a_user_has_a_name_and_nothing_else() {
        let plan = plan(USER, &[], |_| {}).unwrap();
        assert_eq!(names(&plan), [format!("URI:{USER}")]);
        assert_eq!(plan.subject.common_name, "user-alice");
        assert_eq!(plan.extended_key_usage, [ExtendedKeyUsage::ClientAuth]);
        assert_eq!(plan.not_before, parse_time("2026-12-31T23:55:00Z").unwrap());
        assert_eq!(plan.not_after, parse_time("2027-04-01T00:00:00Z").unwrap());
        let json = serde_json::to_value(&plan).unwrap();
        for (key, value) in [
            ("role", "api-user"),
            ("name", "alice"),
            ("spiffe_id", USER),
            ("common_name", "user-alice"),
            ("key_algorithm", "ecdsa-p256"),
            ("not_after", "2027-04-01T00:00:00Z"),
        ] {
            assert_eq!(json[key], value, "{json}");
        }
        assert_eq!(json["key_usage"][0], "digital_signature");
    }

    #[test]
    fn requests_outside_the_profile_are_refused() {
        let days = |days| move |request: &mut LeafRequest<'_>| request.validity = Some(Duration::days(days));
        let many = ["a", "b", "c", "d", "e"];
        for (refused, code) in [
            (plan(USER, &["a"], |_| {}), "policy.host_not_allowed"),
            (plan(NODE, &["control-service"], |_| {}), "policy.host_reserved"),
            (plan(NODE, &["Control-Service"], |_| {}), "policy.host_reserved"),
            (plan(NODE, &many, |_| {}), "policy.too_many_hosts"),
            (plan(USER, &[], days(366)), "policy.validity"),
            (plan(USER, &[], days(0)), "policy.validity"),
            (plan(USER, &[], days(-1)), "policy.validity"),
        ] {
            assert_eq!(refused.unwrap_err().code(), code);
        }
        assert!(plan(NODE, &["a", "b", "c", "d", "A", "d"], |_| {}).is_ok(), "a host counts once");
        assert!(plan(USER, &[], days(365)).is_ok());
    }

    #[test]
    fn a_profile_applies_to_its_own_role_only() {
        let identity: Identity = NODE.parse().unwrap();
        let request = LeafRequest {
            identity: &identity,
            cluster_uuid: Uuid::nil(),
            hosts: &[],
            key_algorithm: None,
            validity: None,
        };
        let profiles = ProfileSet::built_in().unwrap();
        let refused = profiles.leaf(Role::ApiUser).plan(&request, now(), now() + Duration::days(999));
        assert_eq!(refused.unwrap_err().code(), "policy.role");
    }

    #[test]
    fn no_leaf_outlives_its_issuer() {
        let end = parse_time("2027-01-31T00:00:00Z").unwrap();
        let asked = |validity| move |request: &mut LeafRequest<'_>| request.validity = Some(validity);
        assert_eq!(plan_under(end, USER, &[], |_| {}).unwrap().not_after, end, "a default is cut");
        assert_eq!(plan_under(end, USER, &[], asked(Duration::days(30))).unwrap().not_after, end);
        let refused = plan_under(end, USER, &[], asked(Duration::days(31))).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "a certificate valid until 2027-02-01T00:00:00Z would outlive its issuer, which expires at 2027-01-31T00:00:00Z"
        );
        for too_soon in [now() + Duration::minutes(4), now(), now() - Duration::days(1)] {
            let refused = plan_under(too_soon, USER, &[], |_| {}).unwrap_err();
            assert_eq!(refused.code(), "policy.outlives_issuer");
        }
    }

    #[test]
    fn a_time_after_the_year_9999_is_refused() {
        let profiles = ProfileSet::built_in().unwrap();
        let cluster_name = "prod".parse().unwrap();
        let request = RootRequest {
            cluster_name: &cluster_name,
            cluster_uuid: Uuid::nil(),
            key_algorithm: None,
            validity: None,
        };
        let late = parse_time("9999-12-01").unwrap();
        assert_eq!(profiles.root().plan(&request, late).unwrap_err().code(), "policy.calendar");
        assert!(profiles.root().plan(&request, now()).is_ok());
    }

    #[test]
    fn a_weak_or_unknown_key_is_refused() {
        let profiles = ProfileSet::built_in().unwrap();
        let user = profiles.leaf(Role::ApiUser);
        assert_eq!(user.check_public_key(None).unwrap_err().code(), "policy.key_algorithm");
        assert_eq!(user.check_public_key(Some(KeyAlgorithm::Rsa2048)), Ok(KeyAlgorithm::Rsa2048));
        let strict = KeyRule { default: KeyAlgorithm::Ed25519, algorithms: vec![KeyAlgorithm::Ed25519] };
        let refused = strict.choose(Some(KeyAlgorithm::Rsa2048)).unwrap_err();
        assert_eq!(refused.to_string(), "rsa-2048 is not allowed; allowed are ed25519");
    }
}
