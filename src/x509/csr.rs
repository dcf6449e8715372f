//! Certificate signing requests (PKCS#10, RFC 2986).
//!
//! The signature proves possession of the private key. Requested fields are displayed and compared; the
//! profile determines the fields of the certificate.

use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::cri_attributes::ParsedCriAttribute;
use x509_parser::prelude::FromDer;

use super::certificate::parse_failure;
use super::der::{Reader, element, tag};
use super::error::X509Error;
use super::extensions::{ExtendedKeyUsage, Extensions, KeyUsage, SubjectAltName};
use super::key_algorithm::KeyAlgorithm;
use super::name::DistinguishedName;
use super::pem::{ObjectKind, blocks_of};
use super::public_key::{key_algorithm, key_description};
use super::signed::{SignatureError, Signed};

use crate::error::{Code, Coded};

/// CSR with a verified signature, which proves possession of the private key.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Csr {
    /// Requested subject.
    pub subject: DistinguishedName,
    /// DER of the SubjectPublicKeyInfo to certify.
    pub public_key_info: Vec<u8>,
    /// Key type.
    pub key_algorithm: KeyAlgorithm,
    /// Requested subject alternative names.
    pub subject_alt_names: Vec<SubjectAltName>,
    /// Requested key usage.
    pub key_usage: Option<KeyUsage>,
    /// Requested extended key usage.
    pub extended_key_usage: Option<Vec<ExtendedKeyUsage>>,
    /// Request for a CA certificate.
    pub requests_ca: bool,
    /// Dotted identifiers of other requested extensions.
    pub other_extensions: Vec<String>,
}

impl Csr {
    /// Parse the only CSR in a file, PEM or DER, and verify its signature.
    ///
    /// # Errors
    /// [`CsrError`] for anything but one CSR, an unsupported key type, or a wrong signature.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CsrError> {
        match blocks_of(ObjectKind::Csr, bytes).map_err(CsrError::Unreadable)?.as_slice() {
            [block] => Self::from_der(block.der()),
            several => Err(CsrError::Several { count: several.len() }),
        }
    }

    pub(super) fn from_der(der: &[u8]) -> Result<Self, CsrError> {
        let malformed = |why: String| {
            CsrError::Unreadable(X509Error::Malformed { what: "certificate signing request", why })
        };
        let signed = Signed::from_der(der).map_err(|error| malformed(error.as_str().to_owned()))?;
        let completed = with_attributes(der);
        let (_, parsed) = X509CertificationRequest::from_der(completed.as_deref().unwrap_or(der))
            .map_err(|error| malformed(parse_failure(&error)))?;
        let info = &parsed.certification_request_info;
        let mut requested =
            info.iter_attributes().filter_map(|attribute| match attribute.parsed_attribute() {
                ParsedCriAttribute::ExtensionRequest(request) => Some(request.extensions.as_slice()),
                _ => None,
            });
        let extensions = Extensions::read(requested.next().unwrap_or_default()).map_err(malformed)?;
        if requested.next().is_some() {
            return Err(malformed("it requests extensions twice".to_owned()));
        }
        let key_algorithm = key_algorithm(&info.subject_pki)
            .ok_or_else(|| CsrError::UnsupportedKey { found: key_description(&info.subject_pki) })?;
        signed.verify(info.subject_pki.raw).map_err(CsrError::Signature)?;
        Ok(Self {
            subject: DistinguishedName::read(&info.subject),
            public_key_info: info.subject_pki.raw.to_vec(),
            key_algorithm,
            subject_alt_names: extensions.subject_alt_names,
            key_usage: extensions.key_usage,
            extended_key_usage: extensions.extended_key_usage,
            requests_ca: extensions.basic_constraints.is_some_and(|constraints| constraints.ca),
            other_extensions: extensions.others.into_iter().map(|other| other.oid).collect(),
        })
    }
}

/// The CSR with an empty `attributes` field, if it lacks the field.
///
/// RFC 2986, section 4.1 requires it, but some devices leave it out, and OpenSSL accepts that. The signature is
/// verified over the original.
fn with_attributes(der: &[u8]) -> Option<Vec<u8>> {
    let mut outer = Reader::new(Reader::whole(der, tag::SEQUENCE).ok()?);
    let body = outer.expect(tag::SEQUENCE).ok()?;
    let mut fields = Reader::new(body);
    fields.expect(tag::INTEGER).ok()?;
    fields.expect(tag::SEQUENCE).ok()?;
    fields.expect(tag::SEQUENCE).ok()?;
    fields.end().ok()?;
    let mut completed = element(tag::SEQUENCE, &[body, &[tag::CONTEXT_0, 0]].concat());
    while !outer.is_empty() {
        completed.extend_from_slice(outer.element().ok()?.raw);
    }
    Some(element(tag::SEQUENCE, &completed))
}

/// Refusal of a CSR.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CsrError {
    /// Several CSRs in the file.
    #[error("the file contains {count} certificate signing requests instead of one")]
    Several {
        /// Number found.
        count: usize,
    },
    /// No proof of possession of the private key.
    #[error("the signature of the CSR does not prove possession of its key")]
    Signature(#[source] SignatureError),
    /// File without a valid CSR.
    #[error("the certificate signing request is malformed")]
    Unreadable(#[source] X509Error),
    /// Weak or unsupported key type.
    #[error("the key type of the CSR, {found}, is not supported")]
    UnsupportedKey {
        /// Type of the key.
        found: String,
    },
}

impl Coded for CsrError {
    fn coded(&self) -> Code {
        match self {
            Self::Several { .. } => Code::refused("csr.several"),
            Self::Signature(_) => Code::refused("csr.bad_signature"),
            Self::Unreadable(source) => source.coded(),
            Self::UnsupportedKey { .. } => Code::refused("csr.unsupported_key"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::x509::pem::pem;
    use crate::x509::testing::{Root, authority};
    use rcgen::{
        CertificateParams, CustomExtension, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose,
        SanType,
    };

    fn request(change: impl FnOnce(&mut CertificateParams), key: &KeyPair) -> Vec<u8> {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, "user-alice");
        change(&mut params);
        params.serialize_request(key).unwrap().der().to_vec()
    }

    fn code(bytes: &[u8]) -> &'static str {
        Csr::from_bytes(bytes).map_or_else(|error| error.code(), |_| "verified")
    }

    #[test]
    fn requested_fields_are_parsed() {
        let key = KeyPair::generate().unwrap();
        let der = request(
            |p| {
                p.subject_alt_names = vec![SanType::DnsName("api.example".try_into().unwrap())];
                p.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
                p.key_usages = vec![KeyUsagePurpose::KeyCertSign];
                p.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
                p.custom_extensions
                    .push(CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 99999, 1], vec![5, 0]));
            },
            &key,
        );
        for bytes in [
            der.clone(),
            pem("CERTIFICATE REQUEST", &der).into(),
            pem("NEW CERTIFICATE REQUEST", &der).into(),
        ] {
            let read = Csr::from_bytes(&bytes).unwrap();
            assert_eq!(read.subject.common_names, ["user-alice"]);
            assert_eq!(read.subject_alt_names, [SubjectAltName::Dns("api.example".into())]);
            assert_eq!(read.key_algorithm, KeyAlgorithm::EcdsaP256);
            assert_eq!(read.public_key_info, rcgen::PublicKeyData::subject_public_key_info(&key));
            assert!(read.requests_ca && read.key_usage.unwrap().key_cert_sign());
            assert_eq!(read.extended_key_usage, Some(vec![ExtendedKeyUsage::ServerAuth]));
            assert_eq!(read.other_extensions, ["1.3.6.1.4.1.99999.1"]);
        }
    }

    #[test]
    fn every_supported_key_type_is_accepted() {
        use rcgen::{PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PKCS_RSA_SHA256};
        for (algorithm, wanted) in [
            (&PKCS_ECDSA_P384_SHA384, KeyAlgorithm::EcdsaP384),
            (&PKCS_ED25519, KeyAlgorithm::Ed25519),
            (&PKCS_RSA_SHA256, KeyAlgorithm::Rsa2048),
        ] {
            let der = request(|_| {}, &KeyPair::generate_for(algorithm).unwrap());
            assert_eq!(Csr::from_bytes(&der).unwrap().key_algorithm, wanted);
        }
    }

    #[test]
    fn a_csr_without_attributes_is_accepted() {
        use rcgen::SigningKey as _;
        let key = KeyPair::generate().unwrap();
        let der = request(|_| {}, &key);
        let signed = Signed::from_der(&der).unwrap();
        let mut fields = Reader::new(Reader::whole(signed.body, tag::SEQUENCE).unwrap());
        let kept: Vec<u8> = (0..3).flat_map(|_| fields.element().unwrap().raw.to_vec()).collect();
        let body = element(tag::SEQUENCE, &kept);
        let mut bits = vec![0];
        bits.extend(key.sign(&body).unwrap());
        let algorithm = element(tag::SEQUENCE, signed.algorithm);
        let der = element(tag::SEQUENCE, &[body, algorithm, element(tag::BIT_STRING, &bits)].concat());
        let read = Csr::from_bytes(&der).unwrap();
        assert_eq!(read.subject.common_names, ["user-alice"]);
        assert_eq!(read.public_key_info, rcgen::PublicKeyData::subject_public_key_info(&key));
        // The signature covers what was sent, not what was completed.
        let mut forged = der;
        let last = forged.len() - 1;
        forged[last] ^= 1;
        assert_eq!(code(&forged), "csr.bad_signature");
    }

    #[test]
    fn a_byte_order_mark_before_a_csr_is_skipped() {
        let text = pem("CERTIFICATE REQUEST", &request(|_| {}, &KeyPair::generate().unwrap()));
        assert_eq!(code(format!("\u{feff}{text}").as_bytes()), "verified");
    }

    #[test]
    fn a_csr_for_a_foreign_key_is_refused() {
        let (mine, theirs) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
        let public = rcgen::PublicKeyData::subject_public_key_info;
        let mut der = request(|_| {}, &mine);
        let at = der.windows(91).position(|window| window == public(&mine)).unwrap();
        der[at..at + 91].copy_from_slice(&public(&theirs));
        assert_eq!(code(&der), "csr.bad_signature");
    }

    #[test]
    fn an_unsupported_key_type_is_reported() {
        let der = request(|_| {}, &KeyPair::generate_for(&rcgen::PKCS_ECDSA_P521_SHA512).unwrap());
        match Csr::from_bytes(&der).unwrap_err() {
            CsrError::UnsupportedKey { found } => assert_eq!(found, "the curve P-521 (1.3.132.0.35)"),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn anything_but_one_csr_is_refused() {
        let key = KeyPair::generate().unwrap();
        let text = pem("CERTIFICATE REQUEST", &request(|_| {}, &key));
        assert_eq!(code(b""), "x509.no_block");
        assert_eq!(code(format!("{text}{text}").as_bytes()), "csr.several");
        assert_eq!(code(key.serialize_pem().as_bytes()), "x509.private_key");
        assert_eq!(code(Root::with(authority("root")).pem().as_bytes()), "x509.unexpected_block");
        assert_eq!(code(Root::with(authority("root")).der()), "x509.malformed");
    }

    #[test]
    fn modified_input_neither_verifies_nor_panics() {
        let der = request(|p| p.is_ca = IsCa::ExplicitNoCa, &KeyPair::generate().unwrap());
        for at in 0..der.len() {
            let mut flipped = der.clone();
            flipped[at] ^= 1;
            assert_ne!(code(&flipped), "verified", "{at}");
            assert_ne!(code(&der[..at]), "verified", "{at}");
        }
    }
}
