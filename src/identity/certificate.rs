//! Identity of a certificate, and conformance of the certificate to its role.
//!
//! The chain is not verified here: without that, the identity is only a claim.

use uuid::Uuid;

use super::cluster::TrustDomain;
use super::error::IdentityError;
use super::host::Host;
use super::role::{CONTROL_SERVICE_DNS_NAME, HostUse, Role, ServerAuth};
use super::spiffe_id::Identity;
use crate::error::{Code, Coded};
use crate::x509::{Certificate, ExtendedKeyUsage, SubjectAltName};

impl Identity {
    /// Identity in the only URI of a certificate; its subject and other alternative names are ignored.
    ///
    /// # Errors
    /// [`IdentityRefusal`] unless the certificate is a leaf with exactly one URI, an identity in
    /// `trust_domain`.
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

/// Refuse CA certificates, other versions than 3, and unknown critical extensions.
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

/// Reason why a certificate has no identity in this cluster.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityRefusal {
    /// CA:TRUE in its basic constraints (RFC 5280, section 4.2.1.9).
    #[error("it is a CA certificate")]
    CaCertificate,
    /// Common name in none of Flocker's forms.
    #[error("its common name is not {}", Role::common_names())]
    CommonName,
    /// URI and subject are different identities.
    #[error("a URI in its subject alternative names contradicts its subject")]
    Contradicted,
    /// Organizational unit of another cluster.
    #[error("its organizational unit is not the cluster {expected}")]
    ForeignCluster {
        /// This cluster.
        expected: Uuid,
    },
    /// Trust domain of another cluster.
    #[error("it belongs to the trust domain {found}, not {expected}")]
    ForeignTrustDomain {
        /// Trust domain of the certificate.
        found: TrustDomain,
        /// Trust domain of this cluster.
        expected: TrustDomain,
    },
    /// URI or subject that is not an identity.
    #[error("its identity is malformed")]
    Malformed(#[source] IdentityError),
    /// No URI in the subject alternative names.
    #[error("it has no URI in its subject alternative names")]
    NoUri,
    /// Missing or repeated attribute of the subject.
    #[error("its subject has {count} attributes of type {what} instead of one")]
    NotOne {
        /// Attribute type.
        what: &'static str,
        /// Number found.
        count: usize,
    },
    /// Several URIs, so that the identity is ambiguous.
    #[error("it has {count} URIs in its subject alternative names instead of one")]
    SeveralUris {
        /// Number found.
        count: usize,
    },
    /// Critical extension that this program does not process (RFC 5280, section 4.2).
    #[error("its critical extension {oid} is unknown")]
    UnknownCriticalExtension {
        /// Object identifier.
        oid: String,
    },
    /// Not an X.509 version 3 certificate.
    #[error("it is an X.509 certificate of version {version}, not 3")]
    Version {
        /// Version found.
        version: u32,
    },
}

impl Coded for IdentityRefusal {
    fn coded(&self) -> Code {
        match self {
            Self::CaCertificate => Code::refused("identity.ca_certificate"),
            Self::CommonName => Code::refused("identity.common_name"),
            Self::Contradicted => Code::refused("identity.contradicted"),
            Self::ForeignCluster { .. } => Code::refused("identity.foreign_cluster"),
            Self::ForeignTrustDomain { .. } => Code::refused("identity.foreign_trust_domain"),
            Self::Malformed(_) => Code::refused("identity.malformed"),
            Self::NoUri => Code::refused("identity.no_uri"),
            Self::NotOne { .. } => Code::refused("identity.not_one"),
            Self::SeveralUris { .. } => Code::refused("identity.several_uris"),
            Self::UnknownCriticalExtension { .. } => Code::refused("identity.unknown_critical_extension"),
            Self::Version { .. } => Code::refused("identity.version"),
        }
    }
}

/// List every rule of its role that a certificate violates.
#[must_use]
pub fn role_violations(certificate: &Certificate, identity: &Identity) -> Vec<RoleViolation> {
    let mut broken = Vec::new();
    subject_rules(certificate, identity, &mut broken);
    name_rules(certificate, identity, &mut broken);
    usage_rules(certificate, identity, &mut broken);
    key_identifier_rules(certificate, &mut broken);
    broken
}

fn subject_rules(certificate: &Certificate, identity: &Identity, broken: &mut Vec<RoleViolation>) {
    let wanted = identity.common_name();
    if certificate.subject.common_names != [wanted.as_str()] {
        broken.push(RoleViolation::CommonName { wanted });
    }
    let is_uuid = |unit: &str| unit.parse().is_ok_and(|uuid: Uuid| uuid.hyphenated().to_string() == unit);
    match certificate.subject.organizational_units.as_slice() {
        [unit] if is_uuid(unit) => {}
        _ => broken.push(RoleViolation::OrganizationalUnit),
    }
}

fn name_rules(certificate: &Certificate, identity: &Identity, broken: &mut Vec<RoleViolation>) {
    let role = identity.role;
    let needs_control_service = role.fixed_dns_name() == Some(CONTROL_SERVICE_DNS_NAME);
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
            Some(_) if needs_control_service && is_control_service => names_control_service = true,
            Some(_) if is_control_service => broken.push(RoleViolation::ControlServiceName { role }),
            Some(host) if role.hosts() != HostUse::Never => {
                names_itself |= host.identity_name() == identity.name.as_str();
            }
            _ => broken.push(RoleViolation::AlternativeName { role, name: name.to_string() }),
        }
    }
    if needs_control_service && !names_control_service {
        broken.push(RoleViolation::NoControlServiceName);
    }
    if role.hosts() == HostUse::Required && !names_itself {
        broken.push(RoleViolation::HostNotNamed { host: identity.name.to_string() });
    }
}

fn usage_rules(certificate: &Certificate, identity: &Identity, broken: &mut Vec<RoleViolation>) {
    let role = identity.role;
    match certificate.basic_constraints {
        Some(constraints) if constraints.critical && !constraints.ca => {}
        _ => broken.push(RoleViolation::BasicConstraints),
    }
    match certificate.key_usage {
        Some(usage)
            if usage.critical && usage.digital_signature() && !usage.key_cert_sign() && !usage.crl_sign() => {
        }
        _ => broken.push(RoleViolation::KeyUsage),
    }
    let serves_host = certificate
        .subject_alt_names
        .iter()
        .any(|name| matches!(name, SubjectAltName::Dns(_) | SubjectAltName::Ip(_)));
    let may_serve = match role.server_auth() {
        ServerAuth::Always => true,
        ServerAuth::WithHosts => serves_host,
        ServerAuth::Never => false,
    };
    let usages = certificate.extended_key_usage.as_deref().unwrap_or_default();
    let client = usages.contains(&ExtendedKeyUsage::ClientAuth);
    let server = usages.contains(&ExtendedKeyUsage::ServerAuth);
    let must_serve = role.server_auth() == ServerAuth::Always;
    let others = usages
        .iter()
        .any(|usage| matches!(usage, ExtendedKeyUsage::TokenSigning | ExtendedKeyUsage::Other(_)));
    if !client || others || (server && !may_serve) || (must_serve && !server) {
        broken.push(RoleViolation::ExtendedKeyUsage {
            role,
            found: usages.iter().map(ToString::to_string).collect(),
        });
    }
}

fn key_identifier_rules(certificate: &Certificate, broken: &mut Vec<RoleViolation>) {
    let authority = certificate.authority_key_identifier.as_ref().and_then(|id| id.key_identifier.as_ref());
    if certificate.subject_key_identifier.is_none() || authority.is_none() {
        broken.push(RoleViolation::KeyIdentifiers);
    }
}

/// Rule of its role that a certificate violates.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RoleViolation {
    /// Subject alternative name that the role does not allow.
    #[error("role {role} does not allow the subject alternative name {name}")]
    AlternativeName {
        /// Role of the identity.
        role: Role,
        /// Name with its type.
        name: String,
    },
    /// No critical `basicConstraints` with `CA:FALSE`.
    #[error("it has no critical basicConstraints with CA:FALSE")]
    BasicConstraints,
    /// Common name other than the identity's.
    #[error("its subject does not have exactly one common name, `{wanted}`")]
    CommonName {
        /// Expected common name.
        wanted: String,
    },
    /// Name reserved for control services.
    #[error("role {role} does not allow the name control-service")]
    ControlServiceName {
        /// Role of the identity.
        role: Role,
    },
    /// Extended key usage other than that of the role.
    #[error("its extended key usage does not fit the role {role}: {}", found.join(", "))]
    ExtendedKeyUsage {
        /// Role of the identity.
        role: Role,
        /// Purposes found.
        found: Vec<String>,
    },
    /// Missing host of the identity.
    #[error("its subject alternative names do not include its own host, {host}")]
    HostNotNamed {
        /// Host in the identity.
        host: String,
    },
    /// Missing subject or authority key identifier.
    #[error("it lacks a subject or an authority key identifier")]
    KeyIdentifiers,
    /// Key usage other than signing handshakes.
    #[error(
        "its key usage is not critical, lacks digitalSignature, or includes signing certificates or CRLs"
    )]
    KeyUsage,
    /// Missing DNS name that clients of a control service verify.
    #[error("its subject alternative names do not include DNS:control-service")]
    NoControlServiceName,
    /// Organizational unit that is not a cluster UUID.
    #[error("its subject does not have exactly one organizational unit, the UUID of the cluster")]
    OrganizationalUnit,
}

impl Coded for RoleViolation {
    fn coded(&self) -> Code {
        match self {
            Self::AlternativeName { .. } => Code::refused("role.alternative_name"),
            Self::BasicConstraints => Code::refused("role.basic_constraints"),
            Self::CommonName { .. } => Code::refused("role.common_name"),
            Self::ControlServiceName { .. } => Code::refused("role.control_service_name"),
            Self::ExtendedKeyUsage { .. } => Code::refused("role.extended_key_usage"),
            Self::HostNotNamed { .. } => Code::refused("role.host_not_named"),
            Self::KeyIdentifiers => Code::refused("role.key_identifiers"),
            Self::KeyUsage => Code::refused("role.key_usage"),
            Self::NoControlServiceName => Code::refused("role.no_control_service_name"),
            Self::OrganizationalUnit => Code::refused("role.organizational_unit"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::NameSyntax;
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
        assert_eq!(refusal(|p| p.distinguished_name = subject(ALICE)), "accepted", "the subject is ignored");
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
    fn certificates_of_other_clusters_and_authorities_are_refused() {
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
        let name = match role.name_syntax() {
            NameSyntax::Host => "api.example",
            NameSyntax::Uuid => NODE,
            NameSyntax::User => "alice",
        };
        params.subject_alt_names = role.fixed_dns_name().into_iter().map(dns).collect();
        if role.hosts() == HostUse::Required {
            params.subject_alt_names.extend([dns(name), ip("10.0.0.1")]);
        }
        if role.server_auth() == ServerAuth::Always {
            params.extended_key_usages.push(ExtendedKeyUsagePurpose::ServerAuth);
        }
        let identity: Identity = format!("spiffe://prod/{role}/{name}").parse().unwrap();
        params.subject_alt_names.push(uri(&identity.spiffe_id()));
        params.distinguished_name = subject(&identity.common_name());
        (params, identity)
    }

    fn broken(role: Role, change: impl FnOnce(&mut CertificateParams)) -> Vec<&'static str> {
        let (mut params, identity) = of_role(role);
        change(&mut params);
        role_violations(&issued(&params), &identity).iter().map(RoleViolation::code).collect()
    }

    #[test]
    fn a_certificate_of_each_role_violates_no_rule() {
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
    fn a_name_or_usage_of_another_role_is_reported() {
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
    fn every_violation_is_listed() {
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
