//! Description of the objects in a file, PEM or DER, for display.
//!
//! Only the signature of a CSR is verified. Of a private key, only its type is read.

use std::fmt;

use serde::{Serialize, Serializer, ser::SerializeMap};
use x509_parser::prelude::FromDer;
use x509_parser::x509::{AlgorithmIdentifier, SubjectPublicKeyInfo};

use super::certificate::Certificate;
use super::crl::{CrlEntry, CrlFormatError, UnverifiedCrl};
use super::csr::{Csr, CsrError};
use super::der::{DerError, Reader, tag};
use super::error::X509Error;
use super::extensions::{ExtendedKeyUsage, KeyUsage, SubjectAltName};
use super::pem::{ObjectKind, blocks, is_der};
use super::public_key::{algorithm_oid, key_description};
use super::reason::RevocationReason;
use super::sha256::Sha256;
use crate::clock::rfc3339;

/// Number of CRL entries shown.
const ENTRIES_SHOWN: usize = 20;

/// Object found in a file, with its fields in display order. It serializes as one flat map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InspectedObject {
    /// `certificate`, `certificate signing request`, `CRL`, `private key`, or the label of another PEM block.
    pub kind: String,
    fields: Vec<(&'static str, FieldValue)>,
}

/// Flag, number, text or list of texts; a bare value in JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
enum FieldValue {
    Flag(bool),
    Number(u64),
    Text(String),
    List(Vec<String>),
}

/// Describe every object in a file.
///
/// # Errors
/// [`X509Error`] for a file without a known object, or with a damaged PEM block. An intact block with
/// malformed content is described with the reason.
pub fn inspect(bytes: &[u8]) -> Result<Vec<InspectedObject>, X509Error> {
    const NOTHING: X509Error = X509Error::NoBlock { wanted: "certificate, CSR, CRL or key" };
    if is_der(bytes) {
        return bare(bytes).map(|found| vec![found]).ok_or(NOTHING);
    }
    let blocks = blocks(bytes)?;
    if blocks.is_empty() {
        return Err(NOTHING);
    }
    let found = blocks.iter().map(|block| match ObjectKind::of_label(&block.label) {
        Some(ObjectKind::Certificate) => {
            certificate(block.der()).unwrap_or_else(unreadable(ObjectKind::Certificate))
        }
        Some(ObjectKind::Csr) => csr(block.der()).unwrap_or_else(unreadable(ObjectKind::Csr)),
        Some(ObjectKind::Crl) => crl(block.der()).unwrap_or_else(unreadable(ObjectKind::Crl)),
        None if block.is_private_key() => {
            let mut key = private_key(block.der()).unwrap_or_else(|| InspectedObject::new("private key"));
            if block.encrypted {
                key.fields = vec![("encrypted", FieldValue::Flag(true))];
            }
            key
        }
        None => InspectedObject::new(&block.label.escape_debug().to_string()),
    });
    Ok(found.collect())
}

/// Describe DER without a label by trying every type.
fn bare(der: &[u8]) -> Option<InspectedObject> {
    certificate(der).ok().or_else(|| crl(der).ok()).or_else(|| csr(der).ok()).or_else(|| private_key(der))
}

fn unreadable<E: std::error::Error>(kind: ObjectKind) -> impl Fn(E) -> InspectedObject {
    move |error| {
        let why = error.source().map_or_else(|| error.to_string(), |cause| format!("{error}: {cause}"));
        InspectedObject::new(kind.as_str()).text("unreadable", why)
    }
}

fn certificate(der: &[u8]) -> Result<InspectedObject, X509Error> {
    let certificate = Certificate::from_der(der)?;
    let authority = certificate.authority_key_identifier.as_ref().and_then(|id| id.key_identifier.as_ref());
    let mut found = InspectedObject::new(ObjectKind::Certificate.as_str())
        .text("subject", &certificate.subject)
        .text("issuer", &certificate.issuer)
        .text("serial_number", certificate.serial_number)
        .text("not_before", rfc3339(certificate.not_before))
        .text("not_after", rfc3339(certificate.not_after))
        .text("key", public_key(&certificate.public_key_info))
        .names(&certificate.subject_alt_names)
        .usages(certificate.key_usage, certificate.extended_key_usage.as_deref())
        .flag("ca", certificate.is_ca());
    if let Some(length) = certificate.basic_constraints.and_then(|constraints| constraints.path_length) {
        found = found.number("path_length", length.into());
    }
    if let Some(id) = &certificate.subject_key_identifier {
        found = found.text("subject_key_identifier", id);
    }
    if let Some(id) = authority {
        found = found.text("authority_key_identifier", id);
    }
    Ok(found
        .list("unknown_critical_extensions", certificate.unknown_critical_extensions.clone())
        .text("fingerprint_sha256", certificate.fingerprint()))
}

fn csr(der: &[u8]) -> Result<InspectedObject, CsrError> {
    let csr = Csr::from_der(der)?;
    Ok(InspectedObject::new(ObjectKind::Csr.as_str())
        .text("subject", &csr.subject)
        .text("key", csr.key_algorithm)
        .names(&csr.subject_alt_names)
        .usages(csr.key_usage, csr.extended_key_usage.as_deref())
        .flag("asks_ca", csr.requests_ca)
        .list("other_extensions", csr.other_extensions)
        .text("fingerprint_sha256", Sha256::of(der)))
}

fn crl(der: &[u8]) -> Result<InspectedObject, CrlFormatError> {
    let list = UnverifiedCrl::from_der(der)?;
    let (mut count, mut shown) = (0_usize, Vec::new());
    for entry in list.entries() {
        let entry = entry?;
        if shown.len() < ENTRIES_SHOWN {
            shown.push(revoked(&entry)?);
        }
        count += 1;
    }
    Ok(InspectedObject::new(ObjectKind::Crl.as_str())
        .text("issuer", &list.issuer)
        .text("crl_number", list.number)
        .text("this_update", rfc3339(list.this_update))
        .text("next_update", rfc3339(list.next_update))
        .text("authority_key_identifier", &list.authority_key_identifier)
        .number("entries", u64::try_from(count).unwrap_or(u64::MAX))
        .list(if count > ENTRIES_SHOWN { "first_entries" } else { "revoked" }, shown)
        .text("fingerprint_sha256", Sha256::of(der)))
}

fn revoked(entry: &CrlEntry<'_>) -> Result<String, CrlFormatError> {
    let reason = entry.reason_code.map_or_else(
        || RevocationReason::Unspecified.to_string(),
        |code| RevocationReason::from_code(code).map_or_else(|| format!("reason {code}"), |r| r.to_string()),
    );
    Ok(format!("{} {} {reason}", entry.serial_number, rfc3339(entry.revoked_at()?)))
}

/// Describe a private key in PKCS#8, plain or encrypted, PKCS#1 or SEC 1, without reading the key itself.
fn private_key(der: &[u8]) -> Option<InspectedObject> {
    let key = InspectedObject::new("private key");
    let (algorithm, encrypted) = private_key_algorithm(der).ok()?;
    Some(match algorithm {
        Some(algorithm) => key.text("algorithm", algorithm).flag("encrypted", encrypted),
        None => key.flag("encrypted", encrypted),
    })
}

fn private_key_algorithm(der: &[u8]) -> Result<(Option<String>, bool), DerError> {
    let mut fields = Reader::new(Reader::whole(der, tag::SEQUENCE)?);
    let first = fields.element()?;
    let second = fields.element()?;
    match (first.tag, second.tag) {
        (tag::SEQUENCE, tag::OCTET_STRING) => Ok((None, true)),
        (tag::INTEGER, tag::INTEGER) => Ok((Some("rsa".to_owned()), false)),
        (tag::INTEGER, tag::OCTET_STRING) => Ok((Some("ecdsa".to_owned()), false)),
        // A PKCS#12 key store begins in the same way; its third field is no OCTET STRING.
        (tag::INTEGER, tag::SEQUENCE) if fields.element()?.tag == tag::OCTET_STRING => {
            Ok((key_kind(second.raw), false))
        }
        _ => Err(DerError::Tag),
    }
}

fn key_kind(algorithm: &[u8]) -> Option<String> {
    let (_, algorithm) = AlgorithmIdentifier::from_der(algorithm).ok()?;
    let oid = algorithm_oid(&algorithm);
    Some(match oid.as_str() {
        "1.2.840.10045.3.1.7" => "ecdsa-p256".to_owned(),
        "1.3.132.0.34" => "ecdsa-p384".to_owned(),
        "1.3.101.112" => "ed25519".to_owned(),
        "1.2.840.113549.1.1.1" => "rsa".to_owned(),
        _ => oid,
    })
}

fn public_key(info: &[u8]) -> String {
    SubjectPublicKeyInfo::from_der(info)
        .map_or_else(|_| "unreadable".to_owned(), |(_, key)| key_description(&key))
}

impl InspectedObject {
    /// Private key with a protection that this module does not know.
    #[must_use]
    pub fn protected_key(protection: String, key_id: String) -> Self {
        Self::new("private key").text("protection", protection).text("public_key_sha256", key_id)
    }

    /// Object of another kind, without fields.
    #[must_use]
    pub fn new(kind: &str) -> Self {
        Self { kind: kind.to_owned(), fields: Vec::new() }
    }

    fn with(mut self, name: &'static str, value: FieldValue) -> Self {
        self.fields.push((name, value));
        self
    }

    /// Add a field.
    #[must_use]
    pub fn text(self, name: &'static str, value: impl fmt::Display) -> Self {
        self.with(name, FieldValue::Text(value.to_string()))
    }

    /// Add a field that is true or false.
    #[must_use]
    pub fn flag(self, name: &'static str, value: bool) -> Self {
        self.with(name, FieldValue::Flag(value))
    }

    /// Add a field with a number.
    #[must_use]
    pub fn number(self, name: &'static str, value: u64) -> Self {
        self.with(name, FieldValue::Number(value))
    }

    /// Put a field before the others, such as the file that contains the object.
    #[must_use]
    pub fn preceded_by(mut self, name: &'static str, value: impl fmt::Display) -> Self {
        self.fields.insert(0, (name, FieldValue::Text(value.to_string())));
        self
    }

    /// States that a private key is encrypted by what contains it.
    #[must_use]
    pub fn encrypted(mut self) -> Self {
        for (name, value) in &mut self.fields {
            if *name == "encrypted" {
                *value = FieldValue::Flag(true);
            }
        }
        self
    }

    fn list(self, name: &'static str, values: Vec<String>) -> Self {
        if values.is_empty() { self } else { self.with(name, FieldValue::List(values)) }
    }

    fn names(self, names: &[SubjectAltName]) -> Self {
        self.list("subject_alt_names", names.iter().map(ToString::to_string).collect())
    }

    fn usages(self, usage: Option<KeyUsage>, extended: Option<&[ExtendedKeyUsage]>) -> Self {
        let usage = usage.map(|usage| usage.names().map(str::to_owned).collect());
        let extended = extended.map(|purposes| purposes.iter().map(ToString::to_string).collect());
        self.list("key_usage", usage.unwrap_or_default())
            .list("extended_key_usage", extended.unwrap_or_default())
    }
}

impl Serialize for InspectedObject {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.fields.len() + 1))?;
        map.serialize_entry("kind", &self.kind)?;
        for (name, value) in &self.fields {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

impl fmt::Display for InspectedObject {
    /// The kind, then one field a line with aligned values; list items are below each other.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.fields.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
        f.write_str(&self.kind)?;
        for (name, value) in &self.fields {
            let name = name.replace('_', " ");
            match value {
                FieldValue::Flag(flag) => {
                    write!(f, "\n  {name:width$}  {}", if *flag { "yes" } else { "no" })?
                }
                FieldValue::Number(number) => write!(f, "\n  {name:width$}  {number}")?,
                FieldValue::Text(text) => write!(f, "\n  {name:width$}  {text}")?,
                FieldValue::List(values) => {
                    for (index, value) in values.iter().enumerate() {
                        let name = if index == 0 { name.as_str() } else { "" };
                        write!(f, "\n  {name:width$}  {value}")?;
                    }
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Coded;
    use crate::x509::pem::pem;
    use crate::x509::testing::{Root, client, now};
    use rcgen::{CertificateParams, KeyPair, SanType};

    fn one(bytes: &[u8]) -> InspectedObject {
        inspect(bytes).unwrap().remove(0)
    }

    #[test]
    fn a_certificate_is_described_line_by_line() {
        let root = Root::new("root");
        let mut params = client(7);
        params.subject_alt_names = vec![
            SanType::URI("spiffe://prod/api-user/alice".try_into().unwrap()),
            SanType::DnsName("a.example".try_into().unwrap()),
        ];
        let found = one(&root.issue(&params));
        let text = found.to_string();
        for line in [
            "certificate",
            "  subject                   CN=user-alice",
            "  issuer                    CN=root",
            "  serial number             00000000000000000000000000000007",
            "  not after                 2030-07-01T12:00:00Z",
            "  key                       ecdsa-p256",
            "  subject alt names         URI:spiffe://prod/api-user/alice",
            "                            DNS:a.example",
            "  key usage                 digital_signature",
            "  ca                        no",
        ] {
            assert!(text.lines().any(|found| found == line), "{line:?} in\n{text}");
        }
        let json = serde_json::to_value(&found).unwrap();
        assert_eq!(json["kind"], "certificate");
        assert_eq!(json["ca"], false);
        assert_eq!(json["subject_alt_names"][1], "DNS:a.example");
    }

    #[test]
    fn a_crl_is_described_with_its_first_entries_and_their_number() {
        let root = Root::new("root");
        let serials: Vec<u64> = (1..=30).collect();
        let json = serde_json::to_value(one(&root.crl(3, &serials, now()))).unwrap();
        assert_eq!((&json["crl_number"], &json["entries"]), (&"3".into(), &30.into()));
        assert_eq!(json["first_entries"].as_array().unwrap().len(), 20);
        assert_eq!(
            json["first_entries"][0],
            "00000000000000000000000000000001 2030-05-31T12:00:00Z unspecified"
        );
    }

    #[test]
    fn a_key_store_is_no_private_key() {
        // Version 3, data without contents, and an empty MAC: PFX of RFC 7292, section 4.
        let store = [0x30, 18, 2, 1, 3, 0x30, 11, 6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7, 1, 0x30, 0];
        assert_eq!(inspect(&store).unwrap_err().code(), "x509.no_block");
        let without_mac = [&[0x30, 16][..], &store[2..18]].concat();
        assert_eq!(inspect(&without_mac).unwrap_err().code(), "x509.no_block");
    }

    #[test]
    fn of_a_private_key_only_the_type_is_shown() {
        let (key, rsa) =
            (KeyPair::generate().unwrap(), KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).unwrap());
        let ed25519 = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
        for (bytes, algorithm) in [
            (key.serialize_pem().into_bytes(), "ecdsa-p256"),
            (key.serialize_der(), "ecdsa-p256"),
            (ed25519.serialize_der(), "ed25519"),
            (rsa.serialize_der(), "rsa"),
        ] {
            let text = one(&bytes).to_string();
            assert_eq!(text, format!("private key\n  algorithm  {algorithm}\n  encrypted  no"));
        }
        let encrypted = pem("ENCRYPTED PRIVATE KEY", &[0x30, 6, 0x30, 1, 5, 4, 1, 9]);
        assert_eq!(one(encrypted.as_bytes()).to_string(), "private key\n  encrypted  yes");
        let legacy =
            "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\nAAAA\n-----END RSA PRIVATE KEY-----";
        assert_eq!(one(legacy.as_bytes()).to_string(), "private key\n  encrypted  yes");
    }

    #[test]
    fn every_object_in_a_file_is_described() {
        let root = Root::new("root");
        let key = KeyPair::generate().unwrap();
        let request = CertificateParams::default().serialize_request(&key).unwrap();
        let file = [
            root.pem(),
            pem("X509 CRL", &root.crl(1, &[], now())),
            request.pem().unwrap(),
            key.serialize_pem(),
            pem("SOMETHING ELSE", b"x"),
            pem("CERTIFICATE", b"x"),
        ]
        .concat();
        let found = inspect(file.as_bytes()).unwrap();
        let kinds: Vec<_> = found.iter().map(|found| found.kind.as_str()).collect();
        let wanted = [
            "certificate",
            "CRL",
            "certificate signing request",
            "private key",
            "SOMETHING ELSE",
            "certificate",
        ];
        assert_eq!(kinds, wanted);
        assert!(found[5].to_string().contains("unreadable"));
        for nothing in [&b""[..], b"hello", &[0x30, 0]] {
            assert_eq!(inspect(nothing).unwrap_err().code(), "x509.no_block");
        }
        assert_eq!(one(request.der()).kind, "certificate signing request");
    }

    #[test]
    fn damaged_files_never_panic() {
        let root = Root::new("root");
        let key = KeyPair::generate().unwrap().serialize_der();
        for whole in [root.der().to_vec(), root.pem().into_bytes(), root.crl(1, &[7], now()), key] {
            for at in 0..whole.len() {
                let mut flipped = whole.clone();
                flipped[at] ^= 0x21;
                let _ = inspect(&flipped).map(|found| found.len());
                let _ = inspect(&whole[..at]).map(|found| found.len());
            }
        }
    }
}
