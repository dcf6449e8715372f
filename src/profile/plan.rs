//! What is going to be signed, worked out from a profile and a request before anything is.

use std::collections::HashSet;
use std::fmt;

use serde::{Serialize, Serializer};
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use super::leaf::LeafProfile;
use super::policy::PolicyError;
use super::root::RootProfile;
use super::rules::{KeyRule, ValidityRule};
use crate::clock::rfc3339;
use crate::identity::{CONTROL_SERVICE_DNS_NAME, ClusterName, Host, Identity, Name, Role};
use crate::x509::{ExtendedKeyUsage, KeyAlgorithm, KeyUsage, Sha256, SubjectAltName};

/// The most characters of a common name (RFC 5280, appendix A.1, `ub-common-name`).
const COMMON_NAME_LIMIT: usize = 64;

/// What may be asked for when a cluster's root is made.
#[derive(Clone, Copy, Debug)]
pub struct RootRequest<'a> {
    /// The cluster's name.
    pub cluster_name: &'a ClusterName,
    /// The cluster's UUID.
    pub cluster_uuid: Uuid,
    /// The key type, if not the profile's default.
    pub key_algorithm: Option<KeyAlgorithm>,
    /// The validity, if not the profile's default.
    pub validity: Option<Duration>,
}

/// What may be asked for when a certificate is issued.
#[derive(Clone, Copy, Debug)]
pub struct LeafRequest<'a> {
    /// Whom it is for.
    pub identity: &'a Identity,
    /// The cluster's UUID.
    pub cluster_uuid: Uuid,
    /// The hosts it serves as; a control service's own host comes first.
    pub hosts: &'a [Host],
    /// The key type, if not the profile's default. With a key that is there already, its type.
    pub key_algorithm: Option<KeyAlgorithm>,
    /// The validity, if not the profile's default.
    pub validity: Option<Duration>,
}

/// What a root's certificate is going to say.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RootPlan {
    /// Subject and issuer.
    #[serde(flatten)]
    pub subject: PlannedSubject,
    /// The type of its key.
    pub key_algorithm: KeyAlgorithm,
    /// How many authorities may follow below it.
    pub path_length: u32,
    /// What its key may sign.
    #[serde(serialize_with = "key_usage")]
    pub key_usage: KeyUsage,
    /// The first second in which it holds.
    #[serde(serialize_with = "time")]
    pub not_before: OffsetDateTime,
    /// The last second in which it holds.
    #[serde(serialize_with = "time")]
    pub not_after: OffsetDateTime,
    /// The digest of the profile that allowed it.
    pub profile: Sha256,
}

/// What a leaf certificate is going to say.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LeafPlan {
    /// Whom it is for.
    #[serde(flatten, serialize_with = "identity")]
    pub identity: Identity,
    /// Its subject.
    #[serde(flatten)]
    pub subject: PlannedSubject,
    /// The SPIFFE ID, then DNS names, then addresses, each once.
    pub subject_alt_names: Vec<SubjectAltName>,
    /// The type of its key.
    pub key_algorithm: KeyAlgorithm,
    /// What its key may sign.
    #[serde(serialize_with = "key_usage")]
    pub key_usage: KeyUsage,
    /// What its key may be used for in TLS, the server's purpose first.
    pub extended_key_usage: Vec<ExtendedKeyUsage>,
    /// The first second in which it holds.
    #[serde(serialize_with = "time")]
    pub not_before: OffsetDateTime,
    /// The last second in which it holds.
    #[serde(serialize_with = "time")]
    pub not_after: OffsetDateTime,
    /// The digest of the profile that allowed it.
    pub profile: Sha256,
}

/// A subject: one organizational unit, then one common name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PlannedSubject {
    /// The cluster's UUID.
    pub organizational_unit: String,
    /// The common name.
    pub common_name: String,
}

impl RootProfile {
    /// The root that this profile gives for `request` at `now`.
    ///
    /// # Errors
    /// [`PolicyError`]: the rule of the profile that the request breaks.
    pub fn plan(&self, request: &RootRequest<'_>, now: OffsetDateTime) -> Result<RootPlan, PolicyError> {
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
    /// The certificate that this profile gives for `request` at `now`, under an issuer that ends at
    /// `issuer_not_after`. A default validity is cut to the issuer's end; one that was asked for is not.
    ///
    /// # Errors
    /// [`PolicyError`]: the rule of the profile that the request breaks.
    pub fn plan(
        &self,
        request: &LeafRequest<'_>,
        now: OffsetDateTime,
        issuer_not_after: OffsetDateTime,
    ) -> Result<LeafPlan, PolicyError> {
        let identity = request.identity;
        if identity.role != self.role {
            return Err(PolicyError::Role { profile: self.role, identity: identity.role });
        }
        let hosts = self.judge_hosts(identity, request.hosts)?;
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

    /// Whether a key that is there already, such as a certification request's, may be certified.
    ///
    /// # Errors
    /// [`PolicyError::KeyAlgorithm`] when its type is weak, unknown or not allowed here.
    pub fn judge_public_key(&self, key_algorithm: Option<KeyAlgorithm>) -> Result<KeyAlgorithm, PolicyError> {
        match key_algorithm {
            Some(known) => self.key.choose(Some(known)),
            None => Err(self.key.refusal(None)),
        }
    }

    /// The hosts, each once, if the certificate may name them all.
    fn judge_hosts<'a>(&self, identity: &Identity, hosts: &'a [Host]) -> Result<Vec<&'a Host>, PolicyError> {
        let own_comes_first = hosts.first().is_some_and(|host| Name::of_host(host) == identity.name);
        if self.role == Role::ControlService && !own_comes_first {
            return Err(PolicyError::OwnHost { name: identity.name.clone() });
        }
        let mut seen = HashSet::new();
        let hosts: Vec<&Host> = hosts.iter().filter(|host| seen.insert(*host)).collect();
        for host in &hosts {
            if self.role != Role::ControlService && is_control_service(host) {
                return Err(PolicyError::HostReserved { role: self.role });
            }
            if !self.hosts.as_ref().is_some_and(|rule| rule.allows(host)) {
                return Err(PolicyError::HostNotAllowed { role: self.role, host: (*host).clone() });
            }
        }
        let at_most = self.hosts.as_ref().map_or(0, |rule| rule.at_most());
        if hosts.len() > at_most {
            return Err(PolicyError::TooManyHosts { role: self.role, given: hosts.len(), at_most });
        }
        Ok(hosts)
    }
}

/// Signing, which is all that our TLS needs; NSS takes an RSA server's certificate only if the key may
/// also encipher (RFC 5246, section 7.4.2, for the RSA key exchange that nobody here speaks).
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
    let fixed = (identity.role == Role::ControlService).then_some(CONTROL_SERVICE_DNS_NAME);
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
    fn new(cluster_uuid: Uuid, common_name: String) -> Result<Self, PolicyError> {
        let length = common_name.chars().count();
        if length > COMMON_NAME_LIMIT {
            return Err(PolicyError::CommonName { common_name, length, at_most: COMMON_NAME_LIMIT });
        }
        Ok(Self { organizational_unit: cluster_uuid.hyphenated().to_string(), common_name })
    }
}

/// As a certificate's subject reads; neither part can hold what would be escaped there.
impl fmt::Display for PlannedSubject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OU={}, CN={}", self.organizational_unit, self.common_name)
    }
}

impl KeyRule {
    fn choose(&self, wanted: Option<KeyAlgorithm>) -> Result<KeyAlgorithm, PolicyError> {
        match wanted {
            None => Ok(self.default),
            Some(wanted) if self.algorithms.contains(&wanted) => Ok(wanted),
            Some(wanted) => Err(self.refusal(Some(wanted))),
        }
    }

    fn refusal(&self, given: Option<KeyAlgorithm>) -> PolicyError {
        PolicyError::KeyAlgorithm { given, allowed: self.algorithms.clone() }
    }
}

impl ValidityRule {
    /// The first and the last second of a certificate made at `now`, whole seconds as X.509 has them.
    fn window(
        &self,
        wanted: Option<Duration>,
        now: OffsetDateTime,
        issuer_not_after: Option<OffsetDateTime>,
    ) -> Result<(OffsetDateTime, OffsetDateTime), PolicyError> {
        let Self { minimum, default, maximum, backdate } = *self;
        if let Some(given) = wanted
            && !(minimum..=maximum).contains(&given)
        {
            return Err(PolicyError::Validity { given, minimum, maximum });
        }
        let now = now.replace_nanosecond(0).unwrap_or(now);
        let end = |validity| now.checked_add(validity).filter(|end| end.year() <= 9999);
        let not_before = now.checked_sub(backdate).ok_or(PolicyError::Calendar)?;
        let not_after = end(wanted.unwrap_or(default)).ok_or(PolicyError::Calendar)?;
        let Some(issuer_not_after) = issuer_not_after.filter(|issuer| *issuer < not_after) else {
            return Ok((not_before, not_after));
        };
        let shortest = end(minimum).ok_or(PolicyError::Calendar)?;
        if wanted.is_some() {
            Err(PolicyError::OutlivesIssuer { not_after, issuer_not_after })
        } else if shortest > issuer_not_after {
            Err(PolicyError::OutlivesIssuer { not_after: shortest, issuer_not_after })
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
    use crate::profile::ProfileSet;

    const NODE: &str = "spiffe://prod/node-agent/6f1b1d3c-3a54-4b7e-9d1e-2f4c5b6a7d8e";
    const USER: &str = "spiffe://prod/api-user/alice";

    fn now() -> OffsetDateTime {
        parse_time("2027-01-01T00:00:00.75Z").unwrap()
    }

    /// A plan by the built-in profiles, its request changed by `change`, under a root of ten years.
    fn plan(
        identity: &str,
        hosts: &[&str],
        change: impl FnOnce(&mut LeafRequest<'_>),
    ) -> Result<LeafPlan, PolicyError> {
        plan_under(now() + Duration::days(3650), identity, hosts, change)
    }

    fn plan_under(
        issuer_not_after: OffsetDateTime,
        identity: &str,
        hosts: &[&str],
        change: impl FnOnce(&mut LeafRequest<'_>),
    ) -> Result<LeafPlan, PolicyError> {
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
    fn a_node_serves_only_with_a_host() {
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
    fn what_the_profile_does_not_allow_is_refused() {
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
    fn a_profile_serves_its_own_role_only() {
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
            "a certificate until 2027-02-01T00:00:00Z would outlive its issuer, which ends 2027-01-31T00:00:00Z"
        );
        for too_soon in [now() + Duration::minutes(4), now(), now() - Duration::days(1)] {
            let refused = plan_under(too_soon, USER, &[], |_| {}).unwrap_err();
            assert_eq!(refused.code(), "policy.outlives_issuer");
        }
    }

    #[test]
    fn a_time_that_cannot_be_written_is_refused() {
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
        assert_eq!(user.judge_public_key(None).unwrap_err().code(), "policy.key_algorithm");
        assert_eq!(user.judge_public_key(Some(KeyAlgorithm::Rsa2048)), Ok(KeyAlgorithm::Rsa2048));
        let strict = KeyRule { default: KeyAlgorithm::Ed25519, algorithms: vec![KeyAlgorithm::Ed25519] };
        let refused = strict.choose(Some(KeyAlgorithm::Rsa2048)).unwrap_err();
        assert_eq!(refused.to_string(), "rsa-2048 is not allowed; allowed are ed25519");
    }
}
