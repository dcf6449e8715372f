//! Extensions of certificates (RFC 5280, section 4.2) and CSRs.

use std::fmt;
use std::net::IpAddr;

use serde::Serialize;
use x509_parser::extensions::{GeneralName, ParsedExtension, SubjectAlternativeName, X509Extension};

use super::hex::hex;
use super::key_identifier::KeyIdentifier;
use super::name::{DistinguishedName, escape};
use super::name_constraints::NameConstraints;

/// Qualifiers of a certificate policy.
const CPS_POINTER: &str = "1.3.6.1.5.5.7.2.1";
const USER_NOTICE: &str = "1.3.6.1.5.5.7.2.2";

/// All extensions of one certificate or CSR; none occurs twice.
#[derive(Debug, Default)]
pub(super) struct Extensions {
    pub(super) subject_alt_names: Vec<SubjectAltName>,
    pub(super) key_usage: Option<KeyUsage>,
    pub(super) extended_key_usage: Option<Vec<ExtendedKeyUsage>>,
    pub(super) basic_constraints: Option<BasicConstraints>,
    pub(super) subject_key_identifier: Option<KeyIdentifier>,
    pub(super) subject_key_identifier_critical: bool,
    pub(super) authority_key_identifier: Option<AuthorityKeyIdentifier>,
    pub(super) name_constraints: Option<NameConstraints>,
    pub(super) policy_constraints: Option<PolicyConstraints>,
    /// Other extensions.
    pub(super) others: Vec<OtherExtension>,
}

/// Extension without a field of its own.
#[derive(Debug)]
pub(super) struct OtherExtension {
    pub(super) oid: String,
    /// Set if the certificate must not be used, since no code processes the extension.
    pub(super) critical: bool,
}

/// Test whether a critical extension is processed. Paths are held to certificate policies; their qualifiers are for
/// people (RFC 5280, section 4.2.1.4).
fn is_processed(extension: &ParsedExtension<'_>) -> bool {
    let ParsedExtension::CertificatePolicies(policies) = extension else { return false };
    let qualifiers = policies.iter().filter_map(|policy| policy.policy_qualifiers.as_ref()).flatten();
    let mut ids = qualifiers.map(|qualifier| qualifier.policy_qualifier_id.to_id_string());
    ids.all(|id| matches!(id.as_str(), CPS_POINTER | USER_NOTICE))
}

impl Extensions {
    /// Parse all extensions; the error gives the first invalid one.
    pub(super) fn read(list: &[X509Extension<'_>]) -> Result<Self, String> {
        let mut extensions = Self::default();
        let mut seen = Vec::with_capacity(list.len());
        for extension in list {
            if seen.contains(&&extension.oid) {
                return Err(format!("the extension {} occurs twice", extension.oid));
            }
            seen.push(&extension.oid);
            match extension.parsed_extension() {
                ParsedExtension::ParseError { .. } => {
                    return Err(format!("the extension {} cannot be read", extension.oid));
                }
                ParsedExtension::SubjectAlternativeName(names) => {
                    extensions.subject_alt_names =
                        SubjectAltName::read_all(names).ok_or("a subject alternative name is malformed")?;
                }
                ParsedExtension::KeyUsage(usage) => {
                    extensions.key_usage = Some(KeyUsage { critical: extension.critical, bits: usage.flags });
                }
                ParsedExtension::ExtendedKeyUsage(usage) => {
                    extensions.extended_key_usage = Some(ExtendedKeyUsage::read(usage));
                }
                ParsedExtension::BasicConstraints(constraints) => {
                    extensions.basic_constraints = Some(BasicConstraints {
                        critical: extension.critical,
                        ca: constraints.ca,
                        path_length: constraints.path_len_constraint,
                    });
                }
                ParsedExtension::SubjectKeyIdentifier(id) => {
                    extensions.subject_key_identifier = Some(KeyIdentifier(id.0.to_vec()));
                    extensions.subject_key_identifier_critical = extension.critical;
                }
                ParsedExtension::AuthorityKeyIdentifier(id) => {
                    extensions.authority_key_identifier = Some(AuthorityKeyIdentifier {
                        critical: extension.critical,
                        key_identifier: id.key_identifier.as_ref().map(|id| KeyIdentifier(id.0.to_vec())),
                        names_issuer: id.authority_cert_issuer.is_some()
                            || id.authority_cert_serial.is_some(),
                    });
                }
                ParsedExtension::NameConstraints(_) => {
                    let read = NameConstraints::read(extension.critical, extension.value);
                    extensions.name_constraints = Some(read.map_err(|error| {
                        format!("the extension {} cannot be read: {}", extension.oid, error.as_str())
                    })?);
                }
                ParsedExtension::PolicyConstraints(constraints) => {
                    let policy = extensions.policy_constraints.get_or_insert_default();
                    policy.require_explicit = constraints.require_explicit_policy;
                    policy.not_critical |= !extension.critical;
                }
                ParsedExtension::InhibitAnyPolicy(inhibit) => {
                    let policy = extensions.policy_constraints.get_or_insert_default();
                    policy.inhibit_any = Some(inhibit.skip_certs);
                    policy.not_critical |= !extension.critical;
                }
                other => {
                    let critical = extension.critical && !is_processed(other);
                    extensions.others.push(OtherExtension { oid: extension.oid.to_id_string(), critical });
                }
            }
        }
        Ok(extensions)
    }
}

/// Subject alternative name (RFC 5280, section 4.2.1.6) with the type that it was given.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum SubjectAltName {
    /// `dNSName`.
    Dns(String),
    /// `iPAddress`.
    Ip(IpAddr),
    /// `uniformResourceIdentifier`.
    Uri(String),
    /// Other type, as text for display.
    Other(String),
}

impl SubjectAltName {
    /// Parse all names; `None` if one is malformed, because other programs might interpret it differently.
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
                    _ => Self::Other(format!("IP:#{}", hex(octets))),
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
    /// Critical flag of the extension.
    pub critical: bool,
    /// Bits in the order of the standard; bit 0 is `digitalSignature`.
    pub bits: u16,
}

impl KeyUsage {
    /// Names of the bits in snake case.
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

    /// Critical key usage of a leaf, whose key signs handshakes.
    pub const DIGITAL_SIGNATURE: Self = Self { critical: true, bits: 1 };

    /// Critical key usage of an RSA server, for verifiers that expect `keyEncipherment` as well.
    pub const DIGITAL_SIGNATURE_AND_KEY_ENCIPHERMENT: Self = Self { critical: true, bits: 1 | 1 << 2 };

    /// Critical key usage of a CA, whose key signs certificates and CRLs.
    pub const KEY_CERT_SIGN_AND_CRL_SIGN: Self = Self { critical: true, bits: 1 << 5 | 1 << 6 };

    /// State of `digitalSignature`.
    #[must_use]
    pub const fn digital_signature(self) -> bool {
        self.bits & 1 != 0
    }

    /// State of `keyEncipherment`.
    #[must_use]
    pub const fn key_encipherment(self) -> bool {
        self.bits & 1 << 2 != 0
    }

    /// State of `keyCertSign`.
    #[must_use]
    pub const fn key_cert_sign(self) -> bool {
        self.bits & 1 << 5 != 0
    }

    /// State of `cRLSign`.
    #[must_use]
    pub const fn crl_sign(self) -> bool {
        self.bits & 1 << 6 != 0
    }

    /// Names of the bits that are set.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        Self::NAMES
            .into_iter()
            .enumerate()
            .filter(move |(bit, _)| self.bits & 1 << bit != 0)
            .map(|(_, name)| name)
    }
}

/// Purpose in the extended key usage (RFC 5280, section 4.2.1.12).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ExtendedKeyUsage {
    /// TLS client authentication.
    ClientAuth,
    /// TLS server authentication.
    ServerAuth,
    /// Signing of OAuth access tokens (RFC 9509, section 3.3).
    TokenSigning,
    /// Dotted identifier of another purpose.
    Other(String),
}

impl ExtendedKeyUsage {
    /// `id-kp-oauthAccessTokenSigning`.
    pub const TOKEN_SIGNING: &'static [u64] = &[1, 3, 6, 1, 5, 5, 7, 3, 39];

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
            .chain(usage.other.iter().map(|oid| {
                let is_token_signing =
                    oid.iter().is_some_and(|arcs| arcs.eq(Self::TOKEN_SIGNING.iter().copied()));
                if is_token_signing { Self::TokenSigning } else { Self::Other(oid.to_id_string()) }
            }))
            .collect()
    }
}

impl fmt::Display for ExtendedKeyUsage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::ClientAuth => "client_auth",
            Self::ServerAuth => "server_auth",
            Self::TokenSigning => "token_signing",
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
    /// Critical flag of the extension.
    pub critical: bool,
    /// CA flag.
    pub ca: bool,
    /// Maximum number of CA certificates below it in a chain.
    pub path_length: Option<u32>,
}

/// Constraints of a CA on certificate policies (RFC 5280, sections 4.2.1.11 and 4.2.1.14). Mappings are not supported,
/// so that there is nothing to inhibit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PolicyConstraints {
    /// Number of certificates below after which a policy is required (`requireExplicitPolicy`).
    pub require_explicit: Option<u32>,
    /// Number of certificates below after which `anyPolicy` counts no more (`inhibitAnyPolicy`).
    pub inhibit_any: Option<u32>,
    /// Set if one of the two extensions is not critical.
    pub not_critical: bool,
}

/// Authority key identifier (RFC 5280, section 4.2.1.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthorityKeyIdentifier {
    /// Critical flag of the extension.
    pub critical: bool,
    /// Identifier of the issuer's key.
    pub key_identifier: Option<KeyIdentifier>,
    /// Presence of the issuer's name and serial number, which this project never writes.
    pub names_issuer: bool,
}
