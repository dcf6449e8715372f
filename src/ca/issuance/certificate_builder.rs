//! Signing of planned certificates, and the only place that fills rcgen's parameters.
//!
//! rcgen's defaults are unsuitable (a validity of 2,000 years, a serial number derived from the key, no
//! authority key identifier), so every field is set here.

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyIdMethod, KeyUsagePurpose, PublicKeyData, SanType, SigningKey,
};
use time::OffsetDateTime;

use crate::ca::error::CaError;
use crate::ca::signing::signing_failed;
use crate::keys::PrivateKey;
use crate::profile::{LeafPlan, PlannedSubject, RootPlan};
use crate::x509::{Certificate, ExtendedKeyUsage, KeyIdentifier, KeyUsage, SerialNumber, SubjectAltName};

/// Sign the certificate of `plan` for `public_key`, then parse it and verify it against the plan,
/// so that no layer in between can add anything.
pub(in crate::ca) fn sign_leaf(
    plan: &LeafPlan,
    serial_number: SerialNumber,
    public_key: &impl PublicKeyData,
    root: &Certificate,
    issuer: &Issuer<'_, impl SigningKey>,
) -> Result<Certificate, CaError> {
    let mut params = parameters(serial_number, plan.not_before, plan.not_after, public_key)?;
    params.distinguished_name = subject(&plan.subject);
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = key_usages(plan.key_usage);
    params.extended_key_usages =
        plan.extended_key_usage.iter().map(purpose).collect::<Result<_, CaError>>()?;
    params.subject_alt_names = plan.subject_alt_names.iter().map(san).collect::<Result<_, CaError>>()?;
    let signed = params.signed_by(public_key, issuer).map_err(signing_failed)?;
    let certificate = Certificate::from_der(signed.der())?;
    plan.verify(&certificate)?;
    let issued_by_root = certificate.issuer == root.subject
        && certificate.serial_number == serial_number
        && certificate.public_key_info == public_key.subject_public_key_info()
        && certificate.authority_key_identifier.as_ref().and_then(|aki| aki.key_identifier.as_ref())
            == root.subject_key_identifier.as_ref();
    if issued_by_root {
        Ok(certificate)
    } else {
        Err(CaError::Signing { why: "the signed certificate differs from the plan".to_owned() })
    }
}

/// Facts of a certificate for the key that signs tokens.
pub(in crate::ca) struct TokenCertificatePlan<'a> {
    pub(in crate::ca) organizational_unit: String,
    /// Issuer of the tokens, which is the URI in its name.
    pub(in crate::ca) issuer: &'a str,
    pub(in crate::ca) not_before: OffsetDateTime,
    pub(in crate::ca) not_after: OffsetDateTime,
}

/// Sign the certificate of a key for tokens, then parse it and verify it.
pub(in crate::ca) fn sign_token_signer(
    signer: &TokenCertificatePlan<'_>,
    serial_number: SerialNumber,
    public_key: &impl PublicKeyData,
    root: &Certificate,
    issuer: &Issuer<'_, impl SigningKey>,
) -> Result<Certificate, CaError> {
    let uri = SubjectAltName::Uri(signer.issuer.to_owned());
    let mut params = parameters(serial_number, signer.not_before, signer.not_after, public_key)?;
    params.distinguished_name.push(DnType::OrganizationalUnitName, signer.organizational_unit.as_str());
    params.distinguished_name.push(DnType::CommonName, "token-signer");
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![purpose(&ExtendedKeyUsage::TokenSigning)?];
    params.subject_alt_names = vec![san(&uri)?];
    let signed = params.signed_by(public_key, issuer).map_err(signing_failed)?;
    let certificate = Certificate::from_der(signed.der())?;
    let is_as_planned = certificate.issuer == root.subject
        && certificate.serial_number == serial_number
        && certificate.public_key_info == public_key.subject_public_key_info()
        && certificate.extended_key_usage.as_deref() == Some(&[ExtendedKeyUsage::TokenSigning])
        && certificate.subject_alt_names == [uri]
        && !certificate.is_ca();
    if is_as_planned {
        Ok(certificate)
    } else {
        Err(CaError::Signing { why: "the signed certificate differs from the plan".to_owned() })
    }
}

/// Sign the root of `plan` with its own key, then parse it and verify it against the plan.
pub(in crate::ca) fn sign_root(
    plan: &RootPlan,
    serial_number: SerialNumber,
    key: &PrivateKey,
) -> Result<Certificate, CaError> {
    let mut params = parameters(serial_number, plan.not_before, plan.not_after, key)?;
    params.distinguished_name = subject(&plan.subject);
    let path_length = u8::try_from(plan.path_length).map_err(|_| CaError::Signing {
        why: format!("a path length of {} cannot be encoded", plan.path_length),
    })?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(path_length));
    params.key_usages = key_usages(plan.key_usage);
    let signed = params.self_signed(key).map_err(signing_failed)?;
    let certificate = Certificate::from_der(signed.der())?;
    plan.verify(&certificate)?;
    Ok(certificate)
}

fn parameters(
    serial_number: SerialNumber,
    not_before: OffsetDateTime,
    not_after: OffsetDateTime,
    public_key: &impl PublicKeyData,
) -> Result<CertificateParams, CaError> {
    let mut params = CertificateParams::default();
    params.serial_number = Some(rcgen::SerialNumber::from_slice(serial_number.as_be_bytes()));
    params.not_before = not_before;
    params.not_after = not_after;
    params.distinguished_name = DistinguishedName::new();
    params.subject_alt_names = Vec::new();
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = Vec::new();
    params.extended_key_usages = Vec::new();
    params.name_constraints = None;
    params.crl_distribution_points = Vec::new();
    params.custom_extensions = Vec::new();
    params.use_authority_key_identifier_extension = true;
    // rcgen would hash the algorithm with the key, by no method of a standard.
    let identifier = KeyIdentifier::of_public_key(&public_key.subject_public_key_info())?;
    params.key_identifier_method = KeyIdMethod::PreSpecified(identifier.0);
    Ok(params)
}

fn subject(planned: &PlannedSubject) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::OrganizationalUnitName, planned.organizational_unit.as_str());
    name.push(DnType::CommonName, planned.common_name.as_str());
    name
}

/// Map the key usages that plans can contain. Verification against the plan detects any other.
fn key_usages(usage: KeyUsage) -> Vec<KeyUsagePurpose> {
    [
        (usage.digital_signature(), KeyUsagePurpose::DigitalSignature),
        (usage.key_encipherment(), KeyUsagePurpose::KeyEncipherment),
        (usage.key_cert_sign(), KeyUsagePurpose::KeyCertSign),
        (usage.crl_sign(), KeyUsagePurpose::CrlSign),
    ]
    .into_iter()
    .filter_map(|(set, purpose)| set.then_some(purpose))
    .collect()
}

fn purpose(purpose: &ExtendedKeyUsage) -> Result<ExtendedKeyUsagePurpose, CaError> {
    match purpose {
        ExtendedKeyUsage::ClientAuth => Ok(ExtendedKeyUsagePurpose::ClientAuth),
        ExtendedKeyUsage::ServerAuth => Ok(ExtendedKeyUsagePurpose::ServerAuth),
        ExtendedKeyUsage::TokenSigning => {
            Ok(ExtendedKeyUsagePurpose::Other(ExtendedKeyUsage::TOKEN_SIGNING.to_vec()))
        }
        ExtendedKeyUsage::Other(oid) => {
            Err(CaError::Signing { why: format!("unsupported extended key usage {oid}") })
        }
    }
}

fn san(name: &SubjectAltName) -> Result<SanType, CaError> {
    let ascii = |text: &str| text.try_into().map_err(signing_failed);
    match name {
        SubjectAltName::Dns(name) => Ok(SanType::DnsName(ascii(name)?)),
        SubjectAltName::Uri(uri) => Ok(SanType::URI(ascii(uri)?)),
        SubjectAltName::Ip(ip) => Ok(SanType::IpAddress(*ip)),
        SubjectAltName::Other(text) => {
            Err(CaError::Signing { why: format!("unsupported subject alternative name {text}") })
        }
    }
}

/// Public key of a CSR or an existing certificate.
pub(in crate::ca) fn public_key(public_key_info: &[u8]) -> Result<rcgen::SubjectPublicKeyInfo, CaError> {
    rcgen::SubjectPublicKeyInfo::from_der(public_key_info).map_err(signing_failed)
}
