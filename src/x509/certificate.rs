//! One certificate, read: every field that a decision of ours rests on, owned and typed.

use std::fmt;

use rustls_pki_types::CertificateDer;
use serde::Serialize;
use time::OffsetDateTime;
use x509_parser::certificate::X509Certificate;
use x509_parser::oid_registry::{
    OID_KEY_TYPE_EC_PUBLIC_KEY, OID_PKCS1_RSAENCRYPTION, OID_SIG_ED25519, OID_X509_COMMON_NAME,
    OID_X509_COUNTRY_NAME, OID_X509_LOCALITY_NAME, OID_X509_ORGANIZATION_NAME, OID_X509_ORGANIZATIONAL_UNIT,
    OID_X509_STATE_OR_PROVINCE_NAME,
};
use x509_parser::prelude::FromDer;
use x509_parser::public_key::PublicKey;
use x509_parser::x509::{
    AlgorithmIdentifier, AttributeTypeAndValue, SubjectPublicKeyInfo, X509Name, X509Version,
};

use super::extensions::{
    AuthorityKeyIdentifier, BasicConstraints, ExtendedKeyUsage, Extensions, KeyUsage, SubjectAltName,
};
use super::{KeyAlgorithm, KeyIdentifier, SerialNumber, Sha256, X509Error};

/// A certificate (RFC 5280, section 4), parsed; its signature is not judged here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// The DER, byte for byte as it came.
    pub der: CertificateDer<'static>,
    /// The version as people count it: 3 for all that this project accepts.
    pub version: u32,
    /// The serial number; with the issuer's key, the name of the certificate.
    pub serial_number: SerialNumber,
    /// Who signed it, as the certificate says.
    pub issuer: DistinguishedName,
    /// Whom it is for, as a distinguished name.
    pub subject: DistinguishedName,
    /// The first second in which it holds.
    pub not_before: OffsetDateTime,
    /// The last second in which it holds.
    pub not_after: OffsetDateTime,
    /// DER of the SubjectPublicKeyInfo.
    pub public_key_info: Vec<u8>,
    /// The key's type; `None` for one that this project does not use.
    pub key_algorithm: Option<KeyAlgorithm>,
    /// Subject alternative names in their order; empty when the extension is missing.
    pub subject_alt_names: Vec<SubjectAltName>,
    /// Key usage; `None` when the extension is missing.
    pub key_usage: Option<KeyUsage>,
    /// Extended key usage; `None` when the extension is missing.
    pub extended_key_usage: Option<Vec<ExtendedKeyUsage>>,
    /// Basic constraints; `None` when the extension is missing.
    pub basic_constraints: Option<BasicConstraints>,
    /// The identifier of its own key.
    pub subject_key_identifier: Option<KeyIdentifier>,
    /// The identifier of the key that signed it.
    pub authority_key_identifier: Option<AuthorityKeyIdentifier>,
    /// Dotted identifiers of critical extensions that are none of the above (name constraints, which
    /// webpki checks, aside): RFC 5280, section 4.2 has such a certificate refused.
    pub unknown_critical_extensions: Vec<String>,
}

impl Certificate {
    /// Parses one certificate and nothing after it.
    ///
    /// # Errors
    /// [`X509Error::Malformed`] for anything that is not one certificate in DER, for an extension that
    /// stands twice or does not parse, and for a serial number out of bounds.
    pub fn from_der(der: &[u8]) -> Result<Self, X509Error> {
        let malformed = |why: String| X509Error::Malformed { what: "certificate", why };
        let (rest, parsed) = X509Certificate::from_der(der).map_err(|e| malformed(parse_failure(&e)))?;
        if !rest.is_empty() {
            return Err(malformed("there are bytes after it".to_owned()));
        }
        let extensions = Extensions::read(parsed.extensions()).map_err(malformed)?;
        Ok(Self {
            der: CertificateDer::from(der.to_vec()),
            version: match parsed.version() {
                X509Version::V1 => 1,
                X509Version::V2 => 2,
                X509Version::V3 => 3,
                other => other.0.saturating_add(1),
            },
            serial_number: SerialNumber::from_be_bytes(parsed.raw_serial())?,
            issuer: DistinguishedName::read(parsed.issuer()),
            subject: DistinguishedName::read(parsed.subject()),
            not_before: parsed.validity().not_before.to_datetime(),
            not_after: parsed.validity().not_after.to_datetime(),
            public_key_info: parsed.public_key().raw.to_vec(),
            key_algorithm: key_algorithm(parsed.public_key()),
            subject_alt_names: extensions.subject_alt_names,
            key_usage: extensions.key_usage,
            extended_key_usage: extensions.extended_key_usage,
            basic_constraints: extensions.basic_constraints,
            subject_key_identifier: extensions.subject_key_identifier,
            authority_key_identifier: extensions.authority_key_identifier,
            unknown_critical_extensions: extensions
                .others
                .into_iter()
                .filter_map(|other| other.critical.then_some(other.oid))
                .collect(),
        })
    }

    /// SHA-256 of the DER: what tools show as the fingerprint.
    #[must_use]
    pub fn fingerprint(&self) -> Sha256 {
        Sha256::of(&self.der)
    }

    /// Whether it claims to be a certificate authority's.
    #[must_use]
    pub fn is_ca(&self) -> bool {
        self.basic_constraints.is_some_and(|constraints| constraints.ca)
    }

    /// Whether `at` lies within its validity, both ends included.
    #[must_use]
    pub fn is_valid_at(&self, at: OffsetDateTime) -> bool {
        self.not_before <= at && at <= self.not_after
    }
}

/// Why x509_parser stopped, without its repeated wrapping.
pub(super) fn parse_failure(error: &x509_parser::nom::Err<x509_parser::error::X509Error>) -> String {
    match error {
        x509_parser::nom::Err::Incomplete(_) => "it ends too early".to_owned(),
        x509_parser::nom::Err::Error(e) | x509_parser::nom::Err::Failure(e) => e.to_string(),
    }
}

/// The type of the public key in a SubjectPublicKeyInfo, `None` for one that this project does not use.
#[must_use]
pub fn algorithm_of_public_key(public_key_info: &[u8]) -> Option<KeyAlgorithm> {
    SubjectPublicKeyInfo::from_der(public_key_info).ok().and_then(|(_, key)| key_algorithm(&key))
}

/// The type of a public key, `None` for one that this project does not use.
pub(super) fn key_algorithm(key: &SubjectPublicKeyInfo<'_>) -> Option<KeyAlgorithm> {
    let oid = &key.algorithm.algorithm;
    if *oid == OID_SIG_ED25519 {
        return Some(KeyAlgorithm::Ed25519);
    }
    if *oid == OID_KEY_TYPE_EC_PUBLIC_KEY {
        return match algorithm_oid(&key.algorithm).as_str() {
            "1.2.840.10045.3.1.7" => Some(KeyAlgorithm::EcdsaP256),
            "1.3.132.0.34" => Some(KeyAlgorithm::EcdsaP384),
            _ => None,
        };
    }
    if *oid == OID_PKCS1_RSAENCRYPTION
        && let Ok(PublicKey::RSA(rsa)) = key.parsed()
    {
        return match rsa.key_size() {
            2048 => Some(KeyAlgorithm::Rsa2048),
            3072 => Some(KeyAlgorithm::Rsa3072),
            4096 => Some(KeyAlgorithm::Rsa4096),
            _ => None,
        };
    }
    None
}

/// A public key in words, one that this project does not use too: `rsa-1024`, or its identifier.
pub(super) fn key_description(key: &SubjectPublicKeyInfo<'_>) -> String {
    match (key_algorithm(key), key.parsed()) {
        (Some(algorithm), _) => algorithm.to_string(),
        (None, Ok(PublicKey::RSA(rsa))) => format!("rsa-{}", rsa.key_size()),
        (None, _) => algorithm_oid(&key.algorithm),
    }
}

/// What tells a kind of key from another: the curve's identifier where there is one, else the
/// algorithm's.
pub(super) fn algorithm_oid(algorithm: &AlgorithmIdentifier<'_>) -> String {
    let parameters =
        algorithm.parameters.as_ref().filter(|_| algorithm.algorithm == OID_KEY_TYPE_EC_PUBLIC_KEY);
    let curve = parameters.and_then(|parameters| parameters.as_oid().ok());
    curve.as_ref().unwrap_or(&algorithm.algorithm).to_id_string()
}

/// A subject or issuer name: its DER, for comparing, and what is looked for in it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct DistinguishedName {
    /// DER of the name.
    pub der: Vec<u8>,
    /// All its common names, in order.
    pub common_names: Vec<String>,
    /// All its organizational units, in order.
    pub organizational_units: Vec<String>,
    text: String,
}

impl DistinguishedName {
    pub(super) fn read(name: &X509Name<'_>) -> Self {
        // One in an encoding that is not read is kept too, so that it counts.
        let value = |attribute: &AttributeTypeAndValue<'_>| match attribute.as_str() {
            Ok(text) => text.to_owned(),
            Err(_) => format!("#{}", super::hex(attribute.as_slice())),
        };
        let all = |oid| name.iter_by_oid(oid).map(value).collect();
        let text = name
            .iter_attributes()
            .map(|attribute| {
                let oid = attribute.attr_type();
                let known = [
                    (OID_X509_COMMON_NAME, "CN"),
                    (OID_X509_ORGANIZATIONAL_UNIT, "OU"),
                    (OID_X509_ORGANIZATION_NAME, "O"),
                    (OID_X509_COUNTRY_NAME, "C"),
                    (OID_X509_STATE_OR_PROVINCE_NAME, "ST"),
                    (OID_X509_LOCALITY_NAME, "L"),
                ];
                let key = known
                    .iter()
                    .find(|(known, _)| known == oid)
                    .map_or_else(|| oid.to_id_string(), |(_, short)| (*short).to_owned());
                let value = match attribute.as_str() {
                    Ok(text) => escape(text),
                    Err(_) => format!("#{}", super::hex(attribute.as_slice())),
                };
                format!("{key}={value}")
            })
            .collect::<Vec<_>>()
            .join(", ");
        Self {
            der: name.as_raw().to_vec(),
            common_names: all(&OID_X509_COMMON_NAME),
            organizational_units: all(&OID_X509_ORGANIZATIONAL_UNIT),
            text,
        }
    }
}

/// One value as RFC 4514 escapes it, control and non-ASCII characters too: it goes into logs.
pub(super) fn escape(value: &str) -> String {
    value
        .chars()
        .flat_map(|c| {
            let special = matches!(c, ',' | '+' | '=' | '"' | '\\' | '<' | '>' | ';');
            let escaped: String = match c {
                _ if special => format!("\\{c}"),
                ' '..='~' => c.to_string(),
                _ => c.escape_default().collect(),
            };
            escaped.chars().collect::<Vec<_>>()
        })
        .collect()
}

impl fmt::Display for DistinguishedName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

impl Serialize for DistinguishedName {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
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
    fn what_was_written_is_read() {
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
    fn an_unknown_critical_extension_is_noticed() {
        let der = signed(|params| {
            let mut extension = CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 99999, 1], vec![5, 0]);
            extension.set_criticality(true);
            params.custom_extensions.push(extension);
        });
        assert_eq!(Certificate::from_der(&der).unwrap().unknown_critical_extensions, ["1.3.6.1.4.1.99999.1"]);
    }

    #[test]
    fn what_is_not_exactly_one_certificate_is_refused() {
        let der = signed(|_| {});
        for length in [0, 1, der.len() / 2, der.len() - 1] {
            assert!(Certificate::from_der(&der[..length]).is_err(), "{length}");
        }
        assert!(Certificate::from_der(&[der.as_slice(), &[0]].concat()).is_err());
    }
}
