//! Comparison of a signed certificate, or of a CSR, with the plan.

use time::OffsetDateTime;

use super::mismatch::Mismatch;
use super::plan::{LeafPlan, PlannedSubject, RootPlan};
use super::policy::IssuancePolicyError;
use crate::clock::rfc3339;
use crate::x509::{
    BasicConstraints, Certificate, DistinguishedName, ExtendedKeyUsage, KeyAlgorithm, KeyUsage,
    SubjectAltName,
};

/// Fields of a CSR besides its key: they are compared with the plan, and never copied.
#[derive(Clone, Copy, Debug)]
pub struct CsrFields<'a> {
    /// Requested subject.
    pub subject: &'a DistinguishedName,
    /// Requested subject alternative names.
    pub subject_alt_names: &'a [SubjectAltName],
    /// Request for a CA certificate.
    pub requests_ca: bool,
    /// Requested key usage.
    pub key_usage: Option<KeyUsage>,
    /// Requested extended key usage.
    pub extended_key_usage: Option<&'a [ExtendedKeyUsage]>,
}

impl RootPlan {
    /// Compare a signed root certificate with this plan.
    ///
    /// # Errors
    /// [`IssuancePolicyError::Mismatch`] with every differing field; such a certificate must not be released.
    pub fn verify(&self, certificate: &Certificate) -> Result<(), IssuancePolicyError> {
        let constraints = BasicConstraints { critical: true, ca: true, path_length: Some(self.path_length) };
        let mut comparison = Comparison::default();
        comparison.subject(&self.subject, &certificate.subject);
        comparison.field("issuer", &self.subject.to_string(), &certificate.issuer.to_string(), String::clone);
        comparison.validity((self.not_before, self.not_after), certificate);
        comparison.key(self.key_algorithm, self.key_usage, certificate);
        comparison.constraints(constraints, certificate);
        comparison.names(&[], &certificate.subject_alt_names);
        comparison.purposes(None, certificate.extended_key_usage.as_deref());
        comparison.envelope(certificate);
        let authority =
            certificate.authority_key_identifier.as_ref().and_then(|id| id.key_identifier.clone());
        comparison.field(
            "authority_key_identifier",
            &certificate.subject_key_identifier,
            &authority,
            optional,
        );
        comparison.conclude()
    }
}

impl LeafPlan {
    /// Compare a signed certificate with this plan.
    ///
    /// Issuer, signature and public key are not part of a plan; the caller verifies them.
    ///
    /// # Errors
    /// [`IssuancePolicyError::Mismatch`] with every differing field; such a certificate must not be released.
    pub fn verify(&self, certificate: &Certificate) -> Result<(), IssuancePolicyError> {
        let constraints = BasicConstraints { critical: true, ca: false, path_length: None };
        let mut comparison = Comparison::default();
        comparison.subject(&self.subject, &certificate.subject);
        comparison.validity((self.not_before, self.not_after), certificate);
        comparison.key(self.key_algorithm, self.key_usage, certificate);
        comparison.constraints(constraints, certificate);
        comparison.names(&self.subject_alt_names, &certificate.subject_alt_names);
        comparison.purposes(Some(&self.extended_key_usage), certificate.extended_key_usage.as_deref());
        comparison.envelope(certificate);
        comparison.conclude()
    }

    /// List the fields of a CSR that the certificate will not grant, for display.
    ///
    /// # Errors
    /// [`IssuancePolicyError::CsrForCa`] and [`IssuancePolicyError::CsrForNames`]. The certificate would mean
    /// something else than requested, so the CSR is refused.
    pub fn compare_csr(&self, csr: &CsrFields<'_>) -> Result<Vec<Mismatch>, IssuancePolicyError> {
        if csr.requests_ca {
            return Err(IssuancePolicyError::CsrForCa);
        }
        let planned =
            |asked: &SubjectAltName| self.subject_alt_names.iter().any(|name| same_name(name, asked));
        let beyond: Vec<_> = csr.subject_alt_names.iter().filter(|name| !planned(name)).cloned().collect();
        if !beyond.is_empty() {
            return Err(IssuancePolicyError::CsrForNames { names: beyond });
        }
        let mut comparison = Comparison::default();
        if !csr.subject.to_string().is_empty() {
            comparison.subject(&self.subject, csr.subject);
        }
        if let Some(usage) = csr.key_usage {
            comparison.field("key_usage", &self.key_usage.bits, &usage.bits, |bits| {
                list(KeyUsage { critical: false, bits: *bits }.names())
            });
        }
        if csr.extended_key_usage.is_some() {
            comparison.purposes(Some(&self.extended_key_usage), csr.extended_key_usage);
        }
        Ok(comparison.mismatches)
    }
}

/// Compare DNS names without case (RFC 4343); the signed name is lower-case.
fn same_name(planned: &SubjectAltName, asked: &SubjectAltName) -> bool {
    match (planned, asked) {
        (SubjectAltName::Dns(planned), SubjectAltName::Dns(asked)) => planned.eq_ignore_ascii_case(asked),
        _ => planned == asked,
    }
}

/// Comparison field by field.
#[derive(Default)]
struct Comparison {
    mismatches: Vec<Mismatch>,
}

impl Comparison {
    fn field<T: PartialEq + ?Sized>(
        &mut self,
        field: &'static str,
        planned: &T,
        found: &T,
        show: impl Fn(&T) -> String,
    ) {
        if planned != found {
            self.mismatches.push(Mismatch { field, planned: show(planned), found: show(found) });
        }
    }

    /// Compare subjects as text, in which separators inside a value are escaped.
    fn subject(&mut self, planned: &PlannedSubject, found: &DistinguishedName) {
        self.field("subject", &planned.to_string(), &found.to_string(), String::clone);
    }

    fn validity(&mut self, planned: (OffsetDateTime, OffsetDateTime), found: &Certificate) {
        self.field("not_before", &planned.0, &found.not_before, |time| rfc3339(*time));
        self.field("not_after", &planned.1, &found.not_after, |time| rfc3339(*time));
    }

    fn key(&mut self, algorithm: KeyAlgorithm, usage: KeyUsage, found: &Certificate) {
        self.field("key_algorithm", &Some(algorithm), &found.key_algorithm, optional);
        self.field("key_usage", &Some(usage), &found.key_usage, |usage| match usage {
            Some(usage) => critical(usage.critical, list(usage.names())),
            None => NONE.to_owned(),
        });
    }

    fn constraints(&mut self, planned: BasicConstraints, found: &Certificate) {
        self.field("basic_constraints", &Some(planned), &found.basic_constraints, |constraints| {
            match constraints {
                Some(BasicConstraints { critical: is_critical, ca, path_length }) => {
                    let path_length = path_length.map(|length| format!(", path length {length}"));
                    critical(*is_critical, format!("CA {ca}{}", path_length.unwrap_or_default()))
                }
                None => NONE.to_owned(),
            }
        });
    }

    fn names(&mut self, planned: &[SubjectAltName], found: &[SubjectAltName]) {
        self.field("subject_alt_name", planned, found, |names| list(names));
    }

    fn purposes(&mut self, planned: Option<&[ExtendedKeyUsage]>, found: Option<&[ExtendedKeyUsage]>) {
        self.field("extended_key_usage", &planned, &found, |purposes| list(purposes.unwrap_or_default()));
    }

    /// Check the fields common to all certificates (RFC 5280, sections 4.1.2.1, 4.2, 4.2.1.1).
    fn envelope(&mut self, found: &Certificate) {
        self.field("version", &3, &found.version, u32::to_string);
        self.field("unknown critical extensions", &Vec::new(), &found.unknown_critical_extensions, |found| {
            list(found)
        });
        let present = |present: &bool| if *present { "present" } else { NONE }.to_owned();
        self.field("subject_key_identifier", &true, &found.subject_key_identifier.is_some(), present);
        let names_a_key = found
            .authority_key_identifier
            .as_ref()
            .is_some_and(|authority| authority.key_identifier.is_some() && !authority.names_issuer);
        self.field("authority_key_identifier", &true, &names_a_key, present);
    }

    fn conclude(self) -> Result<(), IssuancePolicyError> {
        if self.mismatches.is_empty() {
            Ok(())
        } else {
            Err(IssuancePolicyError::Mismatch { mismatches: self.mismatches })
        }
    }
}

const NONE: &str = "none";

fn optional<T: ToString>(value: &Option<T>) -> String {
    value.as_ref().map_or_else(|| NONE.to_owned(), T::to_string)
}

fn critical(critical: bool, text: String) -> String {
    if critical { format!("critical {text}") } else { format!("not critical {text}") }
}

fn list<T: ToString>(items: impl IntoIterator<Item = T>) -> String {
    let items: Vec<String> = items.into_iter().map(|item| item.to_string()).collect();
    if items.is_empty() { NONE.to_owned() } else { items.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::parse_time;
    use crate::error::Coded;
    use crate::identity::{Host, Identity};
    use crate::profile::{LeafRequest, ProfileSet, RootRequest};
    use rcgen::{
        CertificateParams, CustomExtension, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType,
    };
    use rcgen::{ExtendedKeyUsagePurpose as Purpose, PKCS_ECDSA_P384_SHA384};
    use time::Duration;
    use uuid::Uuid;

    type Change = fn(&mut CertificateParams);

    fn root_plan() -> RootPlan {
        let cluster_name = "prod".parse().unwrap();
        let request = RootRequest {
            cluster_name: &cluster_name,
            cluster_uuid: Uuid::from_u128(7),
            key_algorithm: None,
            validity: None,
        };
        let profiles = ProfileSet::built_in().unwrap();
        profiles.root().plan(&request, parse_time("2027-01-01").unwrap()).unwrap()
    }

    fn leaf_plan() -> LeafPlan {
        let identity: Identity = "spiffe://prod/control-service/api.example.com".parse().unwrap();
        let hosts: [Host; 2] = ["api.example.com".parse().unwrap(), "10.0.0.1".parse().unwrap()];
        let request = LeafRequest {
            identity: &identity,
            cluster_uuid: Uuid::from_u128(7),
            hosts: &hosts,
            key_algorithm: None,
            validity: None,
        };
        let profiles = ProfileSet::built_in().unwrap();
        let now = parse_time("2027-01-01").unwrap();
        profiles.leaf(identity.role).plan(&request, now, root_plan().not_after).unwrap()
    }

    fn params(subject: &PlannedSubject, validity: (OffsetDateTime, OffsetDateTime)) -> CertificateParams {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationalUnitName, &*subject.organizational_unit);
        params.distinguished_name.push(DnType::CommonName, &*subject.common_name);
        params.serial_number = Some(vec![1].into());
        (params.not_before, params.not_after) = validity;
        params.use_authority_key_identifier_extension = true;
        params
    }

    /// Sign the planned root after `change`.
    fn root(change: impl FnOnce(&mut CertificateParams)) -> Certificate {
        let plan = root_plan();
        let mut params = params(&plan.subject, (plan.not_before, plan.not_after));
        params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        Certificate::from_der(params.self_signed(&key).unwrap().der()).unwrap()
    }

    /// Sign the planned leaf for `key` after `change`.
    fn leaf_of(key: &KeyPair, change: impl FnOnce(&mut CertificateParams)) -> Certificate {
        let plan = leaf_plan();
        let mut params = params(&plan.subject, (plan.not_before, plan.not_after));
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![Purpose::ServerAuth, Purpose::ClientAuth];
        params.subject_alt_names = vec![
            SanType::URI("spiffe://prod/control-service/api.example.com".try_into().unwrap()),
            SanType::DnsName("control-service".try_into().unwrap()),
            SanType::DnsName("api.example.com".try_into().unwrap()),
            SanType::IpAddress("10.0.0.1".parse().unwrap()),
        ];
        change(&mut params);
        let issuer = Issuer::new(CertificateParams::default(), KeyPair::generate().unwrap());
        Certificate::from_der(params.signed_by(key, &issuer).unwrap().der()).unwrap()
    }

    fn leaf(change: impl FnOnce(&mut CertificateParams)) -> Certificate {
        leaf_of(&KeyPair::generate().unwrap(), change)
    }

    fn fields(result: Result<(), IssuancePolicyError>) -> Vec<&'static str> {
        match result {
            Ok(()) => Vec::new(),
            Err(IssuancePolicyError::Mismatch { mismatches }) => mismatches.iter().map(|m| m.field).collect(),
            Err(other) => panic!("{other}"),
        }
    }

    #[test]
    fn a_certificate_as_planned_is_accepted() {
        assert_eq!(leaf_plan().verify(&leaf(|_| {})), Ok(()));
        assert_eq!(root_plan().verify(&root(|_| {})), Ok(()));
    }

    #[test]
    fn a_leaf_that_differs_in_any_field_is_refused() {
        let changes: [(&str, Change); 17] = [
            ("subject", |p| p.distinguished_name.push(DnType::CommonName, "user-alice")),
            ("subject", |p| p.distinguished_name.push(DnType::OrganizationName, "x")),
            ("not_before", |p| p.not_before -= Duration::SECOND),
            ("not_after", |p| p.not_after += Duration::SECOND),
            ("key_usage", |p| p.key_usages.clear()),
            ("key_usage", |p| p.key_usages.push(KeyUsagePurpose::KeyCertSign)),
            ("basic_constraints", |p| p.is_ca = IsCa::NoCa),
            ("basic_constraints", |p| p.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained)),
            ("subject_alt_name", |p| p.subject_alt_names.clear()),
            ("subject_alt_name", |p| p.subject_alt_names.swap(0, 1)),
            ("subject_alt_name", |p| p.subject_alt_names.push(SanType::DnsName("x".try_into().unwrap()))),
            ("subject_alt_name", |p| p.subject_alt_names.push(p.subject_alt_names[0].clone())),
            ("extended_key_usage", |p| p.extended_key_usages.clear()),
            ("extended_key_usage", |p| p.extended_key_usages.truncate(1)),
            ("extended_key_usage", |p| p.extended_key_usages.push(Purpose::CodeSigning)),
            ("authority_key_identifier", |p| p.use_authority_key_identifier_extension = false),
            ("unknown critical extensions", |p| {
                let mut extension =
                    CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 99999, 1], vec![5, 0]);
                extension.set_criticality(true);
                p.custom_extensions.push(extension);
            }),
        ];
        for (field, change) in changes {
            // Without basic constraints, rcgen leaves the subject key identifier out as well.
            assert_eq!(fields(leaf_plan().verify(&leaf(change))).first(), Some(&field));
        }
        let other_key = KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap();
        assert_eq!(fields(leaf_plan().verify(&leaf_of(&other_key, |_| {}))), ["key_algorithm"]);
    }

    #[test]
    fn a_root_that_differs_in_any_field_is_refused() {
        let changes: [(&[&str], Change); 5] = [
            (&["subject", "issuer"], |p| p.distinguished_name.push(DnType::CommonName, "other")),
            (&["key_usage"], |p| p.key_usages.truncate(1)),
            (&["basic_constraints"], |p| p.is_ca = IsCa::Ca(rcgen::BasicConstraints::Constrained(1))),
            (&["extended_key_usage"], |p| p.extended_key_usages.push(Purpose::ServerAuth)),
            (&["subject_alt_name"], |p| p.subject_alt_names.push(SanType::DnsName("x".try_into().unwrap()))),
        ];
        for (expected, change) in changes {
            assert_eq!(fields(root_plan().verify(&root(change))), expected);
        }
        assert!(root_plan().verify(&leaf(|_| {})).is_err());
    }

    #[test]
    fn a_mismatch_reports_planned_and_actual_value() {
        let refused = leaf_plan().verify(&leaf(|p| p.key_usages.clear())).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "the certificate differs from its plan: key_usage is none instead of critical digital_signature"
        );
        assert_eq!(refused.code(), "policy.mismatch");
    }

    #[test]
    fn fields_of_a_csr_are_reported_or_refused_but_never_copied() {
        let other = leaf(|p| p.distinguished_name.push(DnType::CommonName, "someone"));
        let plan = leaf_plan();
        let mut csr = CsrFields {
            subject: &other.subject,
            subject_alt_names: &[SubjectAltName::Dns("API.example.com".to_owned())],
            requests_ca: false,
            key_usage: Some(KeyUsage { critical: false, bits: 1 | 1 << 2 }),
            extended_key_usage: Some(&[ExtendedKeyUsage::ClientAuth]),
        };
        let differences = plan.compare_csr(&csr).unwrap();
        assert_eq!(
            differences.iter().map(|difference| difference.field).collect::<Vec<_>>(),
            ["subject", "key_usage", "extended_key_usage"]
        );
        let beyond = [
            SubjectAltName::Dns("evil.example.com".to_owned()),
            SubjectAltName::Uri("spiffe://prod/api-user/root".to_owned()),
        ];
        for name in beyond {
            let names = [name];
            let refused = plan.compare_csr(&CsrFields { subject_alt_names: &names, ..csr }).unwrap_err();
            assert_eq!(refused.code(), "policy.request_asks_san");
        }
        csr.requests_ca = true;
        assert_eq!(plan.compare_csr(&csr).unwrap_err().code(), "policy.request_asks_ca");
    }
}
