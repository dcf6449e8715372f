//! Whether what was signed is what was planned, and what a certification request wanted beyond it.

use time::OffsetDateTime;

use super::mismatch::Mismatch;
use super::plan::{LeafPlan, PlannedSubject, RootPlan};
use super::policy::PolicyError;
use crate::clock::rfc3339;
use crate::x509::{
    BasicConstraints, Certificate, DistinguishedName, ExtendedKeyUsage, KeyAlgorithm, KeyUsage,
    SubjectAltName,
};

/// What a certification request asks for besides its key: read, shown, never copied.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// Its subject.
    pub subject: &'a DistinguishedName,
    /// The subject alternative names it asks for.
    pub subject_alt_names: &'a [SubjectAltName],
    /// Whether it asks to become an authority.
    pub asks_ca: bool,
    /// The key usage it asks for.
    pub key_usage: Option<KeyUsage>,
    /// The purposes it asks for.
    pub extended_key_usage: Option<&'a [ExtendedKeyUsage]>,
}

impl RootPlan {
    /// Compares a signed root with this plan.
    ///
    /// # Errors
    /// [`PolicyError::Mismatch`] with every field that differs: the certificate must not be let out.
    pub fn judge(&self, certificate: &Certificate) -> Result<(), PolicyError> {
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
    /// Compares a signed certificate with this plan.
    ///
    /// That it has the right issuer, a good signature and the right public key is for whoever knows
    /// these to check.
    ///
    /// # Errors
    /// [`PolicyError::Mismatch`] with every field that differs: the certificate must not be let out.
    pub fn judge(&self, certificate: &Certificate) -> Result<(), PolicyError> {
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

    /// What a certification request asks for that this plan does otherwise, for showing.
    ///
    /// # Errors
    /// [`PolicyError::AsksCa`] and [`PolicyError::AsksSan`]: whoever asks for these expects a
    /// certificate that means something else, and gets none.
    pub fn judge_request(&self, asked: &Asked<'_>) -> Result<Vec<Mismatch>, PolicyError> {
        if asked.asks_ca {
            return Err(PolicyError::AsksCa);
        }
        let planned =
            |asked: &SubjectAltName| self.subject_alt_names.iter().any(|name| same_name(name, asked));
        let beyond: Vec<_> = asked.subject_alt_names.iter().filter(|name| !planned(name)).cloned().collect();
        if !beyond.is_empty() {
            return Err(PolicyError::AsksSan { names: beyond });
        }
        let mut comparison = Comparison::default();
        if !asked.subject.to_string().is_empty() {
            comparison.subject(&self.subject, asked.subject);
        }
        if let Some(usage) = asked.key_usage {
            comparison.field("key_usage", &self.key_usage.bits, &usage.bits, |bits| {
                list(KeyUsage { critical: false, bits: *bits }.names())
            });
        }
        if asked.extended_key_usage.is_some() {
            comparison.purposes(Some(&self.extended_key_usage), asked.extended_key_usage);
        }
        Ok(comparison.mismatches)
    }
}

/// DNS names compare without case (RFC 4343); what is signed is lower-case in any event.
fn same_name(planned: &SubjectAltName, asked: &SubjectAltName) -> bool {
    match (planned, asked) {
        (SubjectAltName::Dns(planned), SubjectAltName::Dns(asked)) => planned.eq_ignore_ascii_case(asked),
        _ => planned == asked,
    }
}

/// Field by field, what differs between plan and certificate.
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

    /// A subject is compared as written: separators inside a value are escaped there.
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

    /// What every certificate has, whatever it is for (RFC 5280, sections 4.1.2.1, 4.2, 4.2.1.1).
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

    fn conclude(self) -> Result<(), PolicyError> {
        if self.mismatches.is_empty() {
            Ok(())
        } else {
            Err(PolicyError::Mismatch { mismatches: self.mismatches })
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

    /// The root of the plan, `change` made to it before it was signed.
    fn root(change: impl FnOnce(&mut CertificateParams)) -> Certificate {
        let plan = root_plan();
        let mut params = params(&plan.subject, (plan.not_before, plan.not_after));
        params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        Certificate::from_der(params.self_signed(&key).unwrap().der()).unwrap()
    }

    /// The leaf of the plan, `change` made to it before it was signed, for `key`.
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

    fn fields(judgement: Result<(), PolicyError>) -> Vec<&'static str> {
        match judgement {
            Ok(()) => Vec::new(),
            Err(PolicyError::Mismatch { mismatches }) => mismatches.iter().map(|m| m.field).collect(),
            Err(other) => panic!("{other}"),
        }
    }

    #[test]
    fn what_was_planned_is_let_out() {
        assert_eq!(leaf_plan().judge(&leaf(|_| {})), Ok(()));
        assert_eq!(root_plan().judge(&root(|_| {})), Ok(()));
    }

    #[test]
    fn a_leaf_that_differs_in_any_field_is_kept_back() {
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
            assert_eq!(fields(leaf_plan().judge(&leaf(change))).first(), Some(&field));
        }
        let other_key = KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap();
        assert_eq!(fields(leaf_plan().judge(&leaf_of(&other_key, |_| {}))), ["key_algorithm"]);
    }

    #[test]
    fn a_root_that_differs_in_any_field_is_kept_back() {
        let changes: [(&[&str], Change); 5] = [
            (&["subject", "issuer"], |p| p.distinguished_name.push(DnType::CommonName, "other")),
            (&["key_usage"], |p| p.key_usages.truncate(1)),
            (&["basic_constraints"], |p| p.is_ca = IsCa::Ca(rcgen::BasicConstraints::Constrained(1))),
            (&["extended_key_usage"], |p| p.extended_key_usages.push(Purpose::ServerAuth)),
            (&["subject_alt_name"], |p| p.subject_alt_names.push(SanType::DnsName("x".try_into().unwrap()))),
        ];
        for (expected, change) in changes {
            assert_eq!(fields(root_plan().judge(&root(change))), expected);
        }
        assert!(root_plan().judge(&leaf(|_| {})).is_err());
    }

    #[test]
    fn a_mismatch_says_what_was_planned_and_what_was_found() {
        let refused = leaf_plan().judge(&leaf(|p| p.key_usages.clear())).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "the certificate is not what was planned: key_usage is none instead of critical digital_signature"
        );
        assert_eq!(refused.code(), "policy.mismatch");
    }

    #[test]
    fn what_a_request_asks_for_is_shown_or_refused_but_never_copied() {
        let other = leaf(|p| p.distinguished_name.push(DnType::CommonName, "someone"));
        let plan = leaf_plan();
        let mut asked = Asked {
            subject: &other.subject,
            subject_alt_names: &[SubjectAltName::Dns("API.example.com".to_owned())],
            asks_ca: false,
            key_usage: Some(KeyUsage { critical: false, bits: 1 | 1 << 2 }),
            extended_key_usage: Some(&[ExtendedKeyUsage::ClientAuth]),
        };
        let differences = plan.judge_request(&asked).unwrap();
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
            let refused = plan.judge_request(&Asked { subject_alt_names: &names, ..asked }).unwrap_err();
            assert_eq!(refused.code(), "policy.request_asks_san");
        }
        asked.asks_ca = true;
        assert_eq!(plan.judge_request(&asked).unwrap_err().code(), "policy.request_asks_ca");
    }
}
