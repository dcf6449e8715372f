//! A certification request (PKCS#10, RFC 2986): what somebody asks for, and the proof that they
//! have the key.
//!
//! A request is a wish. What is in it is shown and compared; what is signed is decided elsewhere.

use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::cri_attributes::ParsedCriAttribute;
use x509_parser::prelude::FromDer;

use super::certificate::parse_failure;
use super::error::X509Error;
use super::extensions::{ExtendedKeyUsage, Extensions, KeyUsage, SubjectAltName};
use super::key_algorithm::KeyAlgorithm;
use super::name::DistinguishedName;
use super::pem::{Kind, blocks_of};
use super::public_key::{key_algorithm, key_description};
use super::signed::{SignatureError, Signed};

/// A request whose signature has been verified: whoever made it has the private key.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CertificationRequest {
    /// The subject that is asked for.
    pub subject: DistinguishedName,
    /// DER of the SubjectPublicKeyInfo to be certified.
    pub public_key_info: Vec<u8>,
    /// The key's type.
    pub key_algorithm: KeyAlgorithm,
    /// The alternative names that are asked for.
    pub subject_alt_names: Vec<SubjectAltName>,
    /// The key usage that is asked for.
    pub key_usage: Option<KeyUsage>,
    /// The purposes that are asked for.
    pub extended_key_usage: Option<Vec<ExtendedKeyUsage>>,
    /// Whether it asks to become a certificate authority.
    pub requests_ca: bool,
    /// Dotted identifiers of all other extensions that are asked for.
    pub other_extensions: Vec<String>,
}

impl CertificationRequest {
    /// Reads the one request in a file, PEM or DER, and verifies its signature.
    ///
    /// # Errors
    /// [`RequestError`]: not one request, a key this project does not use, or a signature by another
    /// key than the one in it.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, RequestError> {
        match blocks_of(Kind::CertificationRequest, bytes).map_err(RequestError::Unreadable)?.as_slice() {
            [block] => Self::from_der(block.der()),
            several => Err(RequestError::Several { count: several.len() }),
        }
    }

    pub(super) fn from_der(der: &[u8]) -> Result<Self, RequestError> {
        let malformed = |why: String| {
            RequestError::Unreadable(X509Error::Malformed { what: "certification request", why })
        };
        let signed = Signed::from_der(der).map_err(|error| malformed(error.as_str().to_owned()))?;
        let (_, parsed) =
            X509CertificationRequest::from_der(der).map_err(|error| malformed(parse_failure(&error)))?;
        let info = &parsed.certification_request_info;
        let mut requested =
            info.iter_attributes().filter_map(|attribute| match attribute.parsed_attribute() {
                ParsedCriAttribute::ExtensionRequest(request) => Some(request.extensions.as_slice()),
                _ => None,
            });
        let extensions = Extensions::read(requested.next().unwrap_or_default()).map_err(malformed)?;
        if requested.next().is_some() {
            return Err(malformed("it asks for extensions twice".to_owned()));
        }
        let key_algorithm = key_algorithm(&info.subject_pki)
            .ok_or_else(|| RequestError::UnsupportedKey { found: key_description(&info.subject_pki) })?;
        signed.verify(info.subject_pki.raw).map_err(RequestError::Signature)?;
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

/// Why a request is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// More than one request in the file.
    #[error("there are {count} certification requests in the file, where one was expected")]
    Several {
        /// How many.
        count: usize,
    },
    /// It does not prove that its maker has the private key.
    #[error("the request does not prove possession of its key")]
    Signature(#[source] SignatureError),
    /// The file does not hold a request.
    #[error("the certification request cannot be read")]
    Unreadable(#[source] X509Error),
    /// Its key is too weak, or of a type that this project does not use.
    #[error("the request's key is {found}, which is not supported")]
    UnsupportedKey {
        /// What it is.
        found: String,
    },
}

impl RequestError {
    /// The stable code of this error.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Several { .. } => "request.several",
            Self::Signature(_) => "request.bad_signature",
            Self::Unreadable(source) => source.code(),
            Self::UnsupportedKey { .. } => "request.unsupported_key",
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
        CertificationRequest::from_bytes(bytes).map_or_else(|error| error.code(), |_| "verified")
    }

    #[test]
    fn what_is_asked_for_is_read() {
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
            let read = CertificationRequest::from_bytes(&bytes).unwrap();
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
    fn every_supported_key_can_be_proved() {
        use rcgen::{PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PKCS_RSA_SHA256};
        for (algorithm, wanted) in [
            (&PKCS_ECDSA_P384_SHA384, KeyAlgorithm::EcdsaP384),
            (&PKCS_ED25519, KeyAlgorithm::Ed25519),
            (&PKCS_RSA_SHA256, KeyAlgorithm::Rsa2048),
        ] {
            let der = request(|_| {}, &KeyPair::generate_for(algorithm).unwrap());
            assert_eq!(CertificationRequest::from_bytes(&der).unwrap().key_algorithm, wanted);
        }
    }

    #[test]
    fn a_request_for_somebody_elses_key_is_refused() {
        let (mine, theirs) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
        let public = rcgen::PublicKeyData::subject_public_key_info;
        let mut der = request(|_| {}, &mine);
        let at = der.windows(91).position(|window| window == public(&mine)).unwrap();
        der[at..at + 91].copy_from_slice(&public(&theirs));
        assert_eq!(code(&der), "request.bad_signature");
    }

    #[test]
    fn a_key_that_is_not_used_here_is_named() {
        let der = request(|_| {}, &KeyPair::generate_for(&rcgen::PKCS_ECDSA_P521_SHA512).unwrap());
        match CertificationRequest::from_bytes(&der).unwrap_err() {
            RequestError::UnsupportedKey { found } => assert_eq!(found, "1.3.132.0.35"),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_is_not_one_request_is_refused() {
        let key = KeyPair::generate().unwrap();
        let text = pem("CERTIFICATE REQUEST", &request(|_| {}, &key));
        assert_eq!(code(b""), "x509.no_block");
        assert_eq!(code(format!("{text}{text}").as_bytes()), "request.several");
        assert_eq!(code(key.serialize_pem().as_bytes()), "x509.private_key");
        assert_eq!(code(Root::with(authority("root")).pem().as_bytes()), "x509.unexpected_block");
        assert_eq!(code(Root::with(authority("root")).der()), "x509.malformed");
    }

    #[test]
    fn nothing_that_was_tampered_with_verifies_or_panics() {
        let der = request(|p| p.is_ca = IsCa::ExplicitNoCa, &KeyPair::generate().unwrap());
        for at in 0..der.len() {
            let mut flipped = der.clone();
            flipped[at] ^= 1;
            assert_ne!(code(&flipped), "verified", "{at}");
            assert_ne!(code(&der[..at]), "verified", "{at}");
        }
    }
}
