//! One certificate, read: every field that a decision of ours rests on, owned and typed.

use std::fmt;
use std::net::IpAddr;

use rustls_pki_types::CertificateDer;
use serde::Serialize;
use time::OffsetDateTime;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::{GeneralName, ParsedExtension, SubjectAlternativeName};
use x509_parser::oid_registry::{
    OID_KEY_TYPE_EC_PUBLIC_KEY, OID_PKCS1_RSAENCRYPTION, OID_SIG_ED25519, OID_X509_COMMON_NAME,
    OID_X509_COUNTRY_NAME, OID_X509_LOCALITY_NAME, OID_X509_ORGANIZATION_NAME, OID_X509_ORGANIZATIONAL_UNIT,
    OID_X509_STATE_OR_PROVINCE_NAME,
};
use x509_parser::prelude::FromDer;
use x509_parser::public_key::PublicKey;
use x509_parser::x509::{SubjectPublicKeyInfo, X509Name, X509Version};

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
        let mut certificate = Self {
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
            subject_alt_names: Vec::new(),
            key_usage: None,
            extended_key_usage: None,
            basic_constraints: None,
            subject_key_identifier: None,
            authority_key_identifier: None,
            unknown_critical_extensions: Vec::new(),
        };
        let mut seen = Vec::new();
        for extension in parsed.extensions() {
            if seen.contains(&&extension.oid) {
                return Err(malformed(format!("the extension {} stands twice", extension.oid)));
            }
            seen.push(&extension.oid);
            match extension.parsed_extension() {
                ParsedExtension::ParseError { .. } => {
                    return Err(malformed(format!("the extension {} cannot be read", extension.oid)));
                }
                ParsedExtension::SubjectAlternativeName(names) => {
                    certificate.subject_alt_names = SubjectAltName::read_all(names)
                        .ok_or_else(|| malformed("an alternative name cannot be read".to_owned()))?;
                }
                ParsedExtension::KeyUsage(usage) => {
                    certificate.key_usage =
                        Some(KeyUsage { critical: extension.critical, bits: usage.flags });
                }
                ParsedExtension::ExtendedKeyUsage(usage) => {
                    certificate.extended_key_usage = Some(ExtendedKeyUsage::read(usage));
                }
                ParsedExtension::BasicConstraints(constraints) => {
                    certificate.basic_constraints = Some(BasicConstraints {
                        critical: extension.critical,
                        ca: constraints.ca,
                        path_length: constraints.path_len_constraint,
                    });
                }
                ParsedExtension::SubjectKeyIdentifier(id) => {
                    certificate.subject_key_identifier = Some(KeyIdentifier(id.0.to_vec()));
                }
                ParsedExtension::AuthorityKeyIdentifier(id) => {
                    certificate.authority_key_identifier = Some(AuthorityKeyIdentifier {
                        key_identifier: id.key_identifier.as_ref().map(|id| KeyIdentifier(id.0.to_vec())),
                        names_issuer: id.authority_cert_issuer.is_some()
                            || id.authority_cert_serial.is_some(),
                    });
                }
                ParsedExtension::NameConstraints(_) => {}
                _ if extension.critical => {
                    certificate.unknown_critical_extensions.push(extension.oid.to_id_string());
                }
                _ => {}
            }
        }
        Ok(certificate)
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

/// The type of a public key, `None` for one that this project does not use.
pub(super) fn key_algorithm(key: &SubjectPublicKeyInfo<'_>) -> Option<KeyAlgorithm> {
    let oid = &key.algorithm.algorithm;
    if *oid == OID_SIG_ED25519 {
        return Some(KeyAlgorithm::Ed25519);
    }
    if *oid == OID_KEY_TYPE_EC_PUBLIC_KEY {
        let curve = key.algorithm.parameters.as_ref()?.as_oid().ok()?.to_id_string();
        return match curve.as_str() {
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
        let all = |oid| {
            name.iter_by_oid(oid).filter_map(|attribute| attribute.as_str().ok()).map(str::to_owned).collect()
        };
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
fn escape(value: &str) -> String {
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

/// One subject alternative name (RFC 5280, section 4.2.1.6), exactly as it was typed: a DNS name
/// inside a URI stays a URI.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum SubjectAltName {
    /// `dNSName`.
    Dns(String),
    /// `iPAddress`.
    Ip(IpAddr),
    /// `uniformResourceIdentifier`.
    Uri(String),
    /// Any other kind: what it is, for showing.
    Other(String),
}

impl SubjectAltName {
    /// All names of the extension; `None` when one cannot be read, since nobody knows what another
    /// program would take it for.
    pub(super) fn read_all(names: &SubjectAlternativeName<'_>) -> Option<Vec<Self>> {
        let readable = !names.general_names.iter().any(|name| matches!(name, GeneralName::Invalid(..)));
        readable.then(|| names.general_names.iter().map(Self::read).collect())
    }

    fn read(name: &GeneralName<'_>) -> Self {
        match name {
            GeneralName::DNSName(name) => Self::Dns((*name).to_owned()),
            GeneralName::URI(uri) => Self::Uri((*uri).to_owned()),
            GeneralName::IPAddress(octets) => {
                match (<[u8; 4]>::try_from(*octets), <[u8; 16]>::try_from(*octets)) {
                    (Ok(v4), _) => Self::Ip(v4.into()),
                    (_, Ok(v6)) => Self::Ip(v6.into()),
                    _ => Self::Other(format!("IP:#{}", super::hex(octets))),
                }
            }
            GeneralName::RFC822Name(name) => Self::Other(format!("email:{}", escape(name))),
            GeneralName::DirectoryName(name) => {
                Self::Other(format!("DirName:{}", DistinguishedName::read(name)))
            }
            GeneralName::OtherName(oid, _) => Self::Other(format!("othername:{oid}")),
            GeneralName::RegisteredID(oid) => Self::Other(format!("RID:{oid}")),
            GeneralName::Invalid(tag, _) => Self::Other(format!("invalid (tag {})", tag.0)),
            GeneralName::X400Address(_) => Self::Other("X400Name".to_owned()),
            GeneralName::EDIPartyName(_) => Self::Other("EdiPartyName".to_owned()),
        }
    }
}

impl fmt::Display for SubjectAltName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dns(name) => write!(f, "DNS:{}", escape(name)),
            Self::Ip(ip) => write!(f, "IP:{ip}"),
            Self::Uri(uri) => write!(f, "URI:{}", escape(uri)),
            Self::Other(text) => f.write_str(text),
        }
    }
}

impl Serialize for SubjectAltName {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Key usage (RFC 5280, section 4.2.1.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyUsage {
    /// Whether the extension is marked critical.
    pub critical: bool,
    /// Bit 0 is `digitalSignature`, and so on in the standard's order.
    pub bits: u16,
}

impl KeyUsage {
    /// The standard's words, in its order.
    const NAMES: [&'static str; 9] = [
        "digital_signature",
        "content_commitment",
        "key_encipherment",
        "data_encipherment",
        "key_agreement",
        "key_cert_sign",
        "crl_sign",
        "encipher_only",
        "decipher_only",
    ];

    /// Whether `digitalSignature` is set.
    #[must_use]
    pub const fn digital_signature(self) -> bool {
        self.bits & 1 != 0
    }

    /// Whether `keyCertSign` is set.
    #[must_use]
    pub const fn key_cert_sign(self) -> bool {
        self.bits & 1 << 5 != 0
    }

    /// Whether `cRLSign` is set.
    #[must_use]
    pub const fn crl_sign(self) -> bool {
        self.bits & 1 << 6 != 0
    }

    /// The words of the bits that are set.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        Self::NAMES
            .into_iter()
            .enumerate()
            .filter(move |(bit, _)| self.bits & 1 << bit != 0)
            .map(|(_, name)| name)
    }
}

/// One purpose (RFC 5280, section 4.2.1.12).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ExtendedKeyUsage {
    /// TLS client authentication.
    ClientAuth,
    /// TLS server authentication.
    ServerAuth,
    /// Any other purpose: its dotted identifier.
    Other(String),
}

impl ExtendedKeyUsage {
    fn read(usage: &x509_parser::extensions::ExtendedKeyUsage<'_>) -> Vec<Self> {
        let named = [
            (usage.any, "2.5.29.37.0"),
            (usage.code_signing, "1.3.6.1.5.5.7.3.3"),
            (usage.email_protection, "1.3.6.1.5.5.7.3.4"),
            (usage.time_stamping, "1.3.6.1.5.5.7.3.8"),
            (usage.ocsp_signing, "1.3.6.1.5.5.7.3.9"),
        ];
        let ours = [(usage.server_auth, Self::ServerAuth), (usage.client_auth, Self::ClientAuth)];
        ours.into_iter()
            .filter_map(|(set, purpose)| set.then_some(purpose))
            .chain(named.into_iter().filter(|(set, _)| *set).map(|(_, oid)| Self::Other(oid.to_owned())))
            .chain(usage.other.iter().map(|oid| Self::Other(oid.to_id_string())))
            .collect()
    }
}

impl fmt::Display for ExtendedKeyUsage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::ClientAuth => "client_auth",
            Self::ServerAuth => "server_auth",
            Self::Other(oid) => oid,
        })
    }
}

impl Serialize for ExtendedKeyUsage {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Basic constraints (RFC 5280, section 4.2.1.9).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct BasicConstraints {
    /// Whether the extension is marked critical.
    pub critical: bool,
    /// Whether the subject is a certificate authority.
    pub ca: bool,
    /// How many more authorities may follow below it.
    pub path_length: Option<u32>,
}

/// Authority key identifier (RFC 5280, section 4.2.1.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthorityKeyIdentifier {
    /// The identifier of the issuer's key.
    pub key_identifier: Option<KeyIdentifier>,
    /// Whether it also names the issuer's certificate, which this project never does.
    pub names_issuer: bool,
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
