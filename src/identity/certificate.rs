//! Whose a certificate is, and whether it is what its role has.
//!
//! Nothing here verifies a chain: an identity read from a certificate that no trusted root issued
//! is only a claim.

use uuid::Uuid;

use super::cluster::TrustDomain;
use super::error::IdentityError;
use super::host::Host;
use super::role::{CONTROL_SERVICE_DNS_NAME, Role};
use super::spiffe_id::Identity;
use crate::x509::{Certificate, ExtendedKeyUsage, SubjectAltName};

impl Identity {
    /// The identity in a certificate of this cluster: that of its one URI. Neither its subject nor
    /// any other alternative name counts, whatever they look like.
    ///
    /// # Errors
    /// [`IdentityRefusal`] when it is no leaf, or does not have exactly one identity of the trust
    /// domain.
    pub fn of_certificate(
        certificate: &Certificate,
        trust_domain: &TrustDomain,
    ) -> Result<Self, IdentityRefusal> {
        check_is_leaf(certificate)?;
        let mut uris = certificate.subject_alt_names.iter().filter_map(|name| match name {
            SubjectAltName::Uri(uri) => Some(uri),
            _ => None,
        });
        let uri = uris.next().ok_or(IdentityRefusal::NoUri)?;
        let others = uris.count();
        if others > 0 {
            return Err(IdentityRefusal::SeveralUris { count: others + 1 });
        }
        let identity: Self = uri.parse().map_err(IdentityRefusal::Malformed)?;
        if identity.trust_domain == *trust_domain {
            Ok(identity)
        } else {
            Err(IdentityRefusal::ForeignTrustDomain {
                found: identity.trust_domain,
                expected: trust_domain.clone(),
            })
        }
    }
}

/// Refuses what is no leaf, or says something critical that is not understood.
pub(super) fn check_is_leaf(certificate: &Certificate) -> Result<(), IdentityRefusal> {
    if certificate.version != 3 {
        return Err(IdentityRefusal::Version { version: certificate.version });
    }
    if certificate.is_ca() {
        return Err(IdentityRefusal::CaCertificate);
    }
    match certificate.unknown_critical_extensions.first() {
        Some(oid) => Err(IdentityRefusal::UnknownCriticalExtension { oid: oid.clone() }),
        None => Ok(()),
    }
}

/// Why a certificate has no identity in this cluster.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityRefusal {
    /// It is a certificate authority's.
    #[error("it is a certificate authority's certificate")]
    CaCertificate,
    /// Its common name is none of Flocker's.
    #[error("its common name is not `control-service`, `node-UUID` or `user-NAME`")]
    CommonName,
    /// Its URI is another identity than its subject.
    #[error("a URI among its subject alternative names is not the identity in its subject")]
    Contradicted,
    /// Its organizational unit is another cluster.
    #[error("its organizational unit is not the cluster {expected}")]
    ForeignCluster {
        /// Whose it should be.
        expected: Uuid,
    },
    /// It is another cluster's.
    #[error("it belongs to the trust domain {found}, not {expected}")]
    ForeignTrustDomain {
        /// Whose it is.
        found: TrustDomain,
        /// Whose it should be.
        expected: TrustDomain,
    },
    /// Its URI, or its subject, is no identity.
    #[error("what should be its identity is none")]
    Malformed(#[source] IdentityError),
    /// It has no URI among its alternative names.
    #[error("it has no URI among its subject alternative names")]
    NoUri,
    /// An attribute of its subject is missing, or stands more than once.
    #[error("its subject has {count} attributes of the kind {what}, where exactly one must be")]
    NotOne {
        /// Which attribute.
        what: &'static str,
        /// How many.
        count: usize,
    },
    /// It has more than one, and nobody could say which counts.
    #[error("it has {count} URIs among its subject alternative names, where exactly one must be")]
    SeveralUris {
        /// How many.
        count: usize,
    },
    /// A critical extension that is not understood.
    #[error("its critical extension {oid} is not understood")]
    UnknownCriticalExtension {
        /// Which.
        oid: String,
    },
    /// Not an X.509 version 3 certificate.
    #[error("it is an X.509 certificate of version {version}, not 3")]
    Version {
        /// Which version it is.
        version: u32,
    },
}

impl IdentityRefusal {
    /// The stable code of this refusal.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::CaCertificate => "identity.ca_certificate",
            Self::CommonName => "identity.common_name",
            Self::Contradicted => "identity.contradicted",
            Self::ForeignCluster { .. } => "identity.foreign_cluster",
            Self::ForeignTrustDomain { .. } => "identity.foreign_trust_domain",
            Self::Malformed(_) => "identity.malformed",
            Self::NoUri => "identity.no_uri",
            Self::NotOne { .. } => "identity.not_one",
            Self::SeveralUris { .. } => "identity.several_uris",
            Self::UnknownCriticalExtension { .. } => "identity.unknown_critical_extension",
            Self::Version { .. } => "identity.version",
        }
    }
}

/// Judges the form of a certificate against what its role has, and lists every rule that it breaks.
#[must_use]
pub fn role_rules(certificate: &Certificate, identity: &Identity) -> Vec<RuleBroken> {
    let mut broken = Vec::new();
    subject_rules(certificate, identity, &mut broken);
    name_rules(certificate, identity, &mut broken);
    usage_rules(certificate, identity, &mut broken);
    key_identifier_rules(certificate, &mut broken);
    broken
}

fn subject_rules(certificate: &Certificate, identity: &Identity, broken: &mut Vec<RuleBroken>) {
    let wanted = identity.common_name();
    if certificate.subject.common_names != [wanted.as_str()] {
        broken.push(RuleBroken::CommonName { wanted });
    }
    let is_uuid = |unit: &str| unit.parse().is_ok_and(|uuid: Uuid| uuid.hyphenated().to_string() == unit);
    match certificate.subject.organizational_units.as_slice() {
        [unit] if is_uuid(unit) => {}
        _ => broken.push(RuleBroken::OrganizationalUnit),
    }
}

fn name_rules(certificate: &Certificate, identity: &Identity, broken: &mut Vec<RuleBroken>) {
    let role = identity.role;
    let (mut names_itself, mut names_control_service) = (false, false);
    for name in &certificate.subject_alt_names {
        let text = match name {
            SubjectAltName::Uri(_) => continue,
            SubjectAltName::Dns(dns) => dns.clone(),
            SubjectAltName::Ip(ip) => ip.to_string(),
            SubjectAltName::Other(_) => String::new(),
        };
        let host = text.parse::<Host>().ok().filter(|host| host.to_string() == text);
        let is_control_service = text.eq_ignore_ascii_case(CONTROL_SERVICE_DNS_NAME);
        match host {
            Some(_) if role == Role::ControlService && is_control_service => names_control_service = true,
            Some(_) if is_control_service => broken.push(RuleBroken::ControlServiceName { role }),
            Some(host) if role != Role::ApiUser => {
                names_itself |= host.identity_name() == identity.name.as_str();
            }
            _ => broken.push(RuleBroken::AlternativeName { role, name: name.to_string() }),
        }
    }
    if role == Role::ControlService && !names_control_service {
        broken.push(RuleBroken::NoControlServiceName);
    }
    if role == Role::ControlService && !names_itself {
        broken.push(RuleBroken::HostNotNamed { host: identity.name.to_string() });
    }
}

fn usage_rules(certificate: &Certificate, identity: &Identity, broken: &mut Vec<RuleBroken>) {
    let role = identity.role;
    match certificate.basic_constraints {
        Some(constraints) if constraints.critical && !constraints.ca => {}
        _ => broken.push(RuleBroken::BasicConstraints),
    }
    match certificate.key_usage {
        Some(usage)
            if usage.critical && usage.digital_signature() && !usage.key_cert_sign() && !usage.crl_sign() => {
        }
        _ => broken.push(RuleBroken::KeyUsage),
    }
    let serves_host = certificate
        .subject_alt_names
        .iter()
        .any(|name| matches!(name, SubjectAltName::Dns(_) | SubjectAltName::Ip(_)));
    let may_serve = match role {
        Role::ControlService => true,
        Role::NodeAgent => serves_host,
        Role::ApiUser => false,
    };
    let usages = certificate.extended_key_usage.as_deref().unwrap_or_default();
    let client = usages.contains(&ExtendedKeyUsage::ClientAuth);
    let server = usages.contains(&ExtendedKeyUsage::ServerAuth);
    let must_serve = role == Role::ControlService;
    let others = usages.iter().any(|usage| matches!(usage, ExtendedKeyUsage::Other(_)));
    if !client || others || (server && !may_serve) || (must_serve && !server) {
        broken.push(RuleBroken::ExtendedKeyUsage {
            role,
            found: usages.iter().map(ToString::to_string).collect(),
        });
    }
}

fn key_identifier_rules(certificate: &Certificate, broken: &mut Vec<RuleBroken>) {
    let authority = certificate.authority_key_identifier.as_ref().and_then(|id| id.key_identifier.as_ref());
    if certificate.subject_key_identifier.is_none() || authority.is_none() {
        broken.push(RuleBroken::KeyIdentifiers);
    }
}

/// A rule of its role that a certificate breaks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RuleBroken {
    /// A name that certificates of the role do not have.
    #[error("a certificate of role {role} may not have the alternative name {name}")]
    AlternativeName {
        /// The role.
        role: Role,
        /// The name, with its kind.
        name: String,
    },
    /// It does not say critically that it is no certificate authority's.
    #[error("it has no critical basicConstraints with CA:FALSE")]
    BasicConstraints,
    /// The subject is not the identity's.
    #[error("its subject should have one common name, `{wanted}`")]
    CommonName {
        /// What it should be.
        wanted: String,
    },
    /// It could pass for a control service.
    #[error("a certificate of role {role} may not have the name control-service")]
    ControlServiceName {
        /// The role.
        role: Role,
    },
    /// Its purposes are not those of the role.
    #[error("its extended key usage does not fit the role {role}: {}", found.join(", "))]
    ExtendedKeyUsage {
        /// The role.
        role: Role,
        /// What it has.
        found: Vec<String>,
    },
    /// A control service that does not name its own host.
    #[error("its alternative names do not include its own host, {host}")]
    HostNotNamed {
        /// The host, as in the identity.
        host: String,
    },
    /// It does not identify its own key and its issuer's.
    #[error("it does not have both a subject and an authority key identifier")]
    KeyIdentifiers,
    /// Its key may do more, or less, than sign.
    #[error(
        "its key usage is not critical, lacks digitalSignature, or includes signing certificates or CRLs"
    )]
    KeyUsage,
    /// A control service without the name that clients verify.
    #[error("its alternative names do not include DNS:control-service")]
    NoControlServiceName,
    /// The subject does not name the cluster.
    #[error("its subject should have one organizational unit, the cluster's UUID")]
    OrganizationalUnit,
}

impl RuleBroken {
    /// The stable code of this rule.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::AlternativeName { .. } => "role.alternative_name",
            Self::BasicConstraints => "role.basic_constraints",
            Self::CommonName { .. } => "role.common_name",
            Self::ControlServiceName { .. } => "role.control_service_name",
            Self::ExtendedKeyUsage { .. } => "role.extended_key_usage",
            Self::HostNotNamed { .. } => "role.host_not_named",
            Self::KeyIdentifiers => "role.key_identifiers",
            Self::KeyUsage => "role.key_usage",
            Self::NoControlServiceName => "role.no_control_service_name",
            Self::OrganizationalUnit => "role.organizational_unit",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::x509::testing::{Root, authority, client, unknown_critical};
    use rcgen::{
        CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, KeyUsagePurpose, SanType,
    };

    const ALICE: &str = "spiffe://prod/api-user/alice";
    const NODE: &str = "6f1b1d3c-3a54-4b7e-9d1e-2f4c5b6a7d8e";
    const CLUSTER: &str = "0b0c7f5e-8f4f-4a55-9b49-1f0d6f6f2c11";

    fn uri(text: &str) -> SanType {
        SanType::URI(text.try_into().unwrap())
    }

    fn dns(text: &str) -> SanType {
        SanType::DnsName(text.try_into().unwrap())
    }

    fn ip(text: &str) -> SanType {
        SanType::IpAddress(text.parse().unwrap())
    }

    fn subject(common_name: &str) -> DistinguishedName {
        let mut subject = DistinguishedName::new();
        subject.push(DnType::CommonName, common_name);
        subject.push(DnType::OrganizationalUnitName, CLUSTER);
        subject
    }

    fn issued(params: &CertificateParams) -> Certificate {
        Certificate::from_der(&Root::new("root").issue(params)).unwrap()
    }

    fn refusal(change: impl FnOnce(&mut CertificateParams)) -> &'static str {
        let mut params = client(7);
        params.subject_alt_names = vec![uri(ALICE)];
        change(&mut params);
        let found = Identity::of_certificate(&issued(&params), &"prod".parse().unwrap());
        found.map_or_else(|refusal| refusal.code(), |_| "accepted")
    }

    #[test]
    fn the_one_uri_is_the_identity() {
        let mut params = client(7);
        params.subject_alt_names = vec![dns("host.example"), uri(ALICE)];
        let identity = Identity::of_certificate(&issued(&params), &"prod".parse().unwrap()).unwrap();
        assert_eq!(identity.to_string(), ALICE);
    }

    #[test]
    fn a_certificate_without_exactly_one_identity_is_refused() {
        assert_eq!(refusal(|p| p.subject_alt_names.clear()), "identity.no_uri");
        assert_eq!(refusal(|p| p.subject_alt_names = vec![dns(ALICE)]), "identity.no_uri");
        let email = SanType::Rfc822Name(ALICE.try_into().unwrap());
        assert_eq!(refusal(|p| p.subject_alt_names = vec![email]), "identity.no_uri");
        assert_eq!(
            refusal(|p| p.distinguished_name = subject(ALICE)),
            "accepted",
            "the subject is not asked"
        );
        assert_eq!(refusal(|p| p.subject_alt_names.push(uri(ALICE))), "identity.several_uris");
        assert_eq!(refusal(|p| p.subject_alt_names.push(uri("https://x.example"))), "identity.several_uris");
        let root = uri("spiffe://prod/api-user/root");
        assert_eq!(refusal(|p| p.subject_alt_names.push(root)), "identity.several_uris");
        for text in
            ["spiffe://prod/admin/alice", "spiffe://prod/api-user/alice\0", "http://prod/api-user/alice", ""]
        {
            assert_eq!(refusal(|p| p.subject_alt_names = vec![uri(text)]), "identity.malformed", "{text:?}");
        }
    }

    #[test]
    fn other_clusters_and_authorities_have_no_identity_here() {
        let foreign = uri("spiffe://prod.example/api-user/alice");
        assert_eq!(refusal(|p| p.subject_alt_names = vec![foreign]), "identity.foreign_trust_domain");
        assert_eq!(refusal(|p| p.is_ca = authority("x").is_ca), "identity.ca_certificate");
        assert_eq!(
            refusal(|p| p.custom_extensions = vec![unknown_critical()]),
            "identity.unknown_critical_extension"
        );
    }

    fn of_role(role: Role) -> (CertificateParams, Identity) {
        let mut params = client(7);
        let id = match role {
            Role::ControlService => {
                params.subject_alt_names = vec![dns("control-service"), dns("api.example"), ip("10.0.0.1")];
                params.extended_key_usages.push(ExtendedKeyUsagePurpose::ServerAuth);
                "spiffe://prod/control-service/api.example".to_owned()
            }
            Role::NodeAgent => format!("spiffe://prod/node-agent/{NODE}"),
            Role::ApiUser => ALICE.to_owned(),
        };
        params.subject_alt_names.push(uri(&id));
        let identity: Identity = id.parse().unwrap();
        params.distinguished_name = subject(&identity.common_name());
        (params, identity)
    }

    fn broken(role: Role, change: impl FnOnce(&mut CertificateParams)) -> Vec<&'static str> {
        let (mut params, identity) = of_role(role);
        change(&mut params);
        role_rules(&issued(&params), &identity).iter().map(RuleBroken::code).collect()
    }

    #[test]
    fn what_each_role_has_breaks_no_rule() {
        for role in Role::ALL {
            assert_eq!(broken(role, |_| {}), [""; 0], "{role}");
        }
        let serving = |p: &mut CertificateParams| {
            p.subject_alt_names.push(dns("node1.example"));
            p.extended_key_usages.push(ExtendedKeyUsagePurpose::ServerAuth);
        };
        assert_eq!(broken(Role::NodeAgent, serving), [""; 0]);
    }

    #[test]
    fn a_name_or_usage_of_another_role_is_noticed() {
        use Role::{ApiUser, ControlService, NodeAgent};
        let serve =
            |p: &mut CertificateParams| p.extended_key_usages.push(ExtendedKeyUsagePurpose::ServerAuth);
        let posing = |p: &mut CertificateParams| p.subject_alt_names.push(dns("Control-Service"));
        assert_eq!(broken(ApiUser, serve), ["role.extended_key_usage"]);
        assert_eq!(broken(NodeAgent, serve), ["role.extended_key_usage"]);
        assert_eq!(broken(NodeAgent, |p| p.extended_key_usages.clear()), ["role.extended_key_usage"]);
        let any = |p: &mut CertificateParams| p.extended_key_usages.push(ExtendedKeyUsagePurpose::Any);
        assert_eq!(broken(ControlService, any), ["role.extended_key_usage"]);
        assert_eq!(
            broken(ControlService, |p| p.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth]),
            ["role.extended_key_usage"]
        );
        assert_eq!(
            broken(ApiUser, |p| p.subject_alt_names.push(dns("x.example"))),
            ["role.alternative_name"]
        );
        assert_eq!(broken(ApiUser, |p| p.subject_alt_names.push(ip("10.0.0.1"))), ["role.alternative_name"]);
        assert_eq!(
            broken(NodeAgent, |p| p.subject_alt_names.push(dns("*.example"))),
            ["role.alternative_name"]
        );
        assert_eq!(
            broken(NodeAgent, |p| p.subject_alt_names.push(dns("control-service"))),
            ["role.control_service_name"]
        );
        assert_eq!(broken(NodeAgent, posing), ["role.alternative_name"], "not even in other letters");
        assert_eq!(
            broken(ControlService, |p| drop(p.subject_alt_names.remove(0))),
            ["role.no_control_service_name"]
        );
        assert_eq!(broken(ControlService, |p| drop(p.subject_alt_names.remove(1))), ["role.host_not_named"]);
    }

    #[test]
    fn every_rule_that_is_broken_is_listed() {
        let found = broken(Role::ApiUser, |p| {
            p.distinguished_name = DistinguishedName::new();
            p.distinguished_name.push(DnType::CommonName, "user-bob");
            p.is_ca = IsCa::NoCa;
            p.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyCertSign];
            p.use_authority_key_identifier_extension = false;
        });
        let all = [
            "role.common_name",
            "role.organizational_unit",
            "role.basic_constraints",
            "role.key_usage",
            "role.key_identifiers",
        ];
        assert_eq!(found, all);
    }
}
