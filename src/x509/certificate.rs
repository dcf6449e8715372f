//! Parsed certificates.

use rustls_pki_types::CertificateDer;
use time::OffsetDateTime;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;
use x509_parser::x509::X509Version;

use super::encoded_time;
use super::error::X509Error;
use super::extensions::{
    AuthorityKeyIdentifier, BasicConstraints, ExtendedKeyUsage, Extensions, KeyUsage, PolicyConstraints,
    SubjectAltName,
};
use super::key_algorithm::KeyAlgorithm;
use super::key_identifier::KeyIdentifier;
use super::name::DistinguishedName;
use super::name_constraints::NameConstraints;
use super::public_key::key_algorithm;
use super::serial_number::SerialNumber;
use super::sha256::Sha256;
use super::signed::{SignatureError, Signed};

/// Parsed certificate (RFC 5280, section 4) with an unverified signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// Original DER.
    pub der: CertificateDer<'static>,
    /// Version, counted from 1; always 3 for accepted certificates.
    pub version: u32,
    /// Serial number, unique per key of an issuer.
    pub serial_number: SerialNumber,
    /// Claimed issuer.
    pub issuer: DistinguishedName,
    /// Name of the holder; empty if the names are in the extension alone.
    pub subject: DistinguishedName,
    /// First second of the validity.
    pub not_before: OffsetDateTime,
    /// Last second of the validity.
    pub not_after: OffsetDateTime,
    /// DER of the SubjectPublicKeyInfo.
    pub public_key_info: Vec<u8>,
    /// Key type; `None` if it is unsupported.
    pub key_algorithm: Option<KeyAlgorithm>,
    /// Subject alternative names in order; empty if the extension is missing.
    pub subject_alt_names: Vec<SubjectAltName>,
    /// Key usage; `None` if the extension is missing.
    pub key_usage: Option<KeyUsage>,
    /// Extended key usage; `None` if the extension is missing.
    pub extended_key_usage: Option<Vec<ExtendedKeyUsage>>,
    /// Basic constraints; `None` if the extension is missing.
    pub basic_constraints: Option<BasicConstraints>,
    /// Identifier of its own key.
    pub subject_key_identifier: Option<KeyIdentifier>,
    /// Critical flag of that identifier, which RFC 5280, section 4.2.1.2 forbids.
    pub subject_key_identifier_critical: bool,
    /// Claimed identifier of the issuer's key.
    pub authority_key_identifier: Option<AuthorityKeyIdentifier>,
    /// Name constraints; `None` if the extension is missing.
    pub name_constraints: Option<Box<NameConstraints>>,
    /// Policy constraints; `None` if both extensions are missing.
    pub policy_constraints: Option<PolicyConstraints>,
    /// Dotted identifiers of other critical extensions, for which RFC 5280, section 4.2 requires rejection.
    pub unknown_critical_extensions: Vec<String>,
}

impl Certificate {
    /// Parse the DER of exactly one certificate.
    ///
    /// # Errors
    /// [`X509Error::Malformed`] for anything else, for a duplicate or malformed extension, and for a serial
    /// number out of bounds.
    pub fn from_der(der: &[u8]) -> Result<Self, X509Error> {
        let malformed = |why: String| X509Error::Malformed { what: "certificate", why };
        let (rest, parsed) = X509Certificate::from_der(der).map_err(|e| malformed(parse_failure(&e)))?;
        if !rest.is_empty() {
            return Err(malformed("there is trailing data".to_owned()));
        }
        let extensions = Extensions::read(parsed.extensions()).map_err(malformed)?;
        let (not_before, not_after) = encoded_time::validity(parsed.tbs_certificate.as_ref())
            .map_err(|error| malformed(error.as_str().to_owned()))?;
        Ok(Self {
            der: CertificateDer::from(der.to_vec()),
            version: match parsed.version() {
                X509Version::V1 => 1,
                X509Version::V2 => 2,
                X509Version::V3 => 3,
                other => other.0.saturating_add(1),
            },
            serial_number: match parsed.raw_serial() {
                // Negative, or with a leading octet that DER leaves out (X.690, section 8.3.2).
                [0x80..=0xff, ..] | [0, 0..=0x7f, ..] => return Err(X509Error::SerialNumberRange),
                octets => SerialNumber::from_be_bytes(octets).map_err(|_| X509Error::SerialNumberRange)?,
            },
            issuer: DistinguishedName::read(parsed.issuer()),
            subject: DistinguishedName::read(parsed.subject()),
            not_before,
            not_after,
            public_key_info: parsed.public_key().raw.to_vec(),
            key_algorithm: key_algorithm(parsed.public_key()),
            subject_alt_names: extensions.subject_alt_names,
            key_usage: extensions.key_usage,
            extended_key_usage: extensions.extended_key_usage,
            basic_constraints: extensions.basic_constraints,
            subject_key_identifier: extensions.subject_key_identifier,
            subject_key_identifier_critical: extensions.subject_key_identifier_critical,
            authority_key_identifier: extensions.authority_key_identifier,
            name_constraints: extensions.name_constraints.map(Box::new),
            policy_constraints: extensions.policy_constraints,
            unknown_critical_extensions: extensions
                .others
                .into_iter()
                .filter_map(|other| other.critical.then_some(other.oid))
                .collect(),
        })
    }

    /// SHA-256 fingerprint of the DER.
    #[must_use]
    pub fn fingerprint(&self) -> Sha256 {
        Sha256::of(&self.der)
    }

    /// Verify the signature with the key of the issuer, its SubjectPublicKeyInfo (DER).
    ///
    /// # Errors
    /// [`SignatureError`] for a wrong signature or an unsupported algorithm.
    pub fn verify_signature(&self, public_key_info: &[u8]) -> Result<(), SignatureError> {
        let signed = Signed::from_der(&self.der).map_err(|_| SignatureError::Unsupported)?;
        signed.verify(public_key_info)
    }

    /// Same name of issuer and subject, as in the change of a CA's key (RFC 5280, section 3.2).
    #[must_use]
    pub fn is_self_issued(&self) -> bool {
        self.issuer.der == self.subject.der
    }

    /// CA flag of the basic constraints.
    #[must_use]
    pub fn is_ca(&self) -> bool {
        self.basic_constraints.is_some_and(|constraints| constraints.ca)
    }

    /// Check that `at` lies within the validity, both ends included.
    #[must_use]
    pub fn is_valid_at(&self, at: OffsetDateTime) -> bool {
        self.not_before <= at && at <= self.not_after
    }
}

/// Describe an error of x509_parser, without its nested wrappers.
pub(super) fn parse_failure(error: &x509_parser::nom::Err<x509_parser::error::X509Error>) -> String {
    match error {
        x509_parser::nom::Err::Incomplete(_) => "it is truncated".to_owned(),
        x509_parser::nom::Err::Error(e) | x509_parser::nom::Err::Failure(e) => e.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, CustomExtension, DnType, IsCa, KeyPair, SanType};

    fn signed(change: impl FnOnce(&mut CertificateParams)) -> Vec<u8> {
        let mut params = CertificateParams::default();
        params.serial_number = Some(vec![1, 2, 3].into());
        change(&mut params);
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
    }

    #[test]
    fn all_fields_are_parsed() {
        let der = signed(|params| {
            params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Constrained(0));
            params.subject_alt_names = vec![
                SanType::URI("spiffe://prod/api-user/alice".try_into().unwrap()),
                SanType::DnsName("control-service".try_into().unwrap()),
                SanType::IpAddress("::1".parse().unwrap()),
            ];
            params.distinguished_name.push(DnType::CommonName, "a, OU=b");
        });
        let certificate = Certificate::from_der(&der).unwrap();
        assert_eq!(certificate.version, 3);
        assert_eq!(certificate.key_algorithm, Some(KeyAlgorithm::EcdsaP256));
        assert_eq!(certificate.serial_number.as_be_bytes(), [1, 2, 3]);
        assert_eq!(certificate.subject.common_names, ["a, OU=b"]);
        assert_eq!(certificate.subject.to_string(), r"CN=a\, OU\=b", "one value stays one value");
        assert!(certificate.is_ca());
        assert_eq!(certificate.subject_alt_names.len(), 3);
        assert_eq!(
            certificate.subject_alt_names[0],
            SubjectAltName::Uri("spiffe://prod/api-user/alice".into())
        );
    }

    #[test]
    fn an_unknown_critical_extension_is_listed() {
        let der = signed(|params| {
            let mut extension = CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 99999, 1], vec![5, 0]);
            extension.set_criticality(true);
            params.custom_extensions.push(extension);
        });
        assert_eq!(Certificate::from_der(&der).unwrap().unknown_critical_extensions, ["1.3.6.1.4.1.99999.1"]);
    }

    #[test]
    fn anything_but_one_certificate_is_refused() {
        let der = signed(|_| {});
        for length in [0, 1, der.len() / 2, der.len() - 1] {
            assert!(Certificate::from_der(&der[..length]).is_err(), "{length}");
        }
        assert!(Certificate::from_der(&[der.as_slice(), &[0]].concat()).is_err());
    }
}
