//! Public key infrastructure generated for each test.

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, CustomExtension,
    DnType, ExtendedKeyUsagePurpose, IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams,
    SigningKey,
};
use rustls_pki_types::CertificateDer;
use time::macros::datetime;
use time::{Duration, OffsetDateTime};

use super::certificate::Certificate;
use super::der::{Reader, tag};
use super::pem::pem;
use super::trust::TrustBundle;

/// Time of all tests.
pub(crate) const fn now() -> OffsetDateTime {
    datetime!(2030-06-01 12:00 UTC)
}

/// Parameters of a conforming CA, valid a year each way.
pub(crate) fn authority(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = now() - Duration::days(365);
    params.not_after = now() + Duration::days(365);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(1));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.use_authority_key_identifier_extension = true;
    params
}

/// Parameters of a client certificate with this serial number, valid a month each way.
pub(crate) fn client(serial: u64) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "user-alice");
    params.serial_number = Some(serial.into());
    params.not_before = now() - Duration::days(30);
    params.not_after = now() + Duration::days(30);
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params.use_authority_key_identifier_extension = true;
    params
}

/// Unknown critical extension.
pub(crate) fn unknown_critical() -> CustomExtension {
    let mut extension = CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 99999, 1], vec![5, 0]);
    extension.set_criticality(true);
    extension
}

type Change = fn(&mut CertificateParams);

/// Changes that make a CA unfit, with the resulting code.
pub(crate) const UNFIT_AUTHORITIES: &[(&str, Change)] = &[
    ("trust.expired", |p| p.not_after = now() - Duration::SECOND),
    ("trust.not_yet_valid", |p| p.not_before = now() + Duration::SECOND),
    ("trust.not_an_authority", |p| p.is_ca = IsCa::ExplicitNoCa),
    ("trust.key_usage", |p| p.key_usages = vec![KeyUsagePurpose::KeyCertSign]),
    ("trust.key_usage", |p| p.key_usages = vec![KeyUsagePurpose::CrlSign]),
    ("trust.key_usage", |p| p.key_usages.clear()),
    ("trust.unknown_critical_extension", |p| p.custom_extensions.push(unknown_critical())),
];

/// Self-signed root.
pub(crate) struct Root(pub(crate) CertifiedIssuer<'static, KeyPair>);

impl Root {
    pub(crate) fn new(name: &str) -> Self {
        Self::with(authority(name))
    }

    pub(crate) fn with(params: CertificateParams) -> Self {
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub(crate) fn der(&self) -> &[u8] {
        self.0.der()
    }

    pub(crate) fn pem(&self) -> String {
        pem("CERTIFICATE", self.der())
    }

    pub(crate) fn certificate(&self) -> Certificate {
        Certificate::from_der(self.der()).unwrap()
    }

    pub(crate) fn bundle(&self) -> TrustBundle {
        TrustBundle::from_pem(self.pem().as_bytes(), now()).unwrap()
    }

    pub(crate) fn issue(&self, params: &CertificateParams) -> CertificateDer<'static> {
        params.signed_by(&KeyPair::generate().unwrap(), &self.0).unwrap().der().clone()
    }

    /// CRL of this root; `nextUpdate` is ten days after `this_update`.
    pub(crate) fn crl(&self, number: u64, revoked: &[u64], this_update: OffsetDateTime) -> Vec<u8> {
        let params = CertificateRevocationListParams {
            this_update,
            next_update: this_update + Duration::days(10),
            crl_number: number.into(),
            issuing_distribution_point: None,
            revoked_certs: revoked.iter().map(|serial| revoke(*serial, None)).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        self.sign_crl(&params)
    }

    pub(crate) fn sign_crl(&self, params: &CertificateRevocationListParams) -> Vec<u8> {
        params.signed_by(&self.0).unwrap().der().to_vec()
    }

    /// Change the elements of a body signed by this root, and sign it again.
    pub(crate) fn resign(&self, der: &[u8], change: impl FnOnce(&mut Vec<Vec<u8>>)) -> Vec<u8> {
        let mut outer = Reader::new(Reader::whole(der, tag::SEQUENCE).unwrap());
        let mut body = Reader::new(outer.expect(tag::SEQUENCE).unwrap());
        let algorithm = outer.element().unwrap().raw;
        let mut elements = Vec::new();
        while !body.is_empty() {
            elements.push(body.element().unwrap().raw.to_vec());
        }
        change(&mut elements);
        let body = encode(tag::SEQUENCE, &elements.concat());
        let signature = self.0.key().sign(&body).unwrap();
        let bits = encode(tag::BIT_STRING, &[&[0], signature.as_slice()].concat());
        encode(tag::SEQUENCE, &[body.as_slice(), algorithm, &bits].concat())
    }
}

/// Encode one element.
pub(crate) fn encode(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len().to_be_bytes();
    let digits = &length[length.iter().position(|octet| *octet != 0).unwrap_or(7)..];
    let mut der = vec![tag];
    if let [short @ 0..=0x7f] = digits {
        der.push(*short);
    } else {
        der.push(0x80 | u8::try_from(digits.len()).unwrap());
        der.extend_from_slice(digits);
    }
    der.extend_from_slice(content);
    der
}

pub(crate) fn revoke(serial: u64, reason: Option<rcgen::RevocationReason>) -> RevokedCertParams {
    RevokedCertParams {
        serial_number: serial.into(),
        revocation_time: now() - Duration::days(1),
        reason_code: reason,
        invalidity_date: None,
    }
}

/// Encode an extension below `id-ce` (2.5.29).
pub(crate) fn extension(id: u8, critical: bool, value: &[u8]) -> Vec<u8> {
    let flag: &[u8] = if critical { &[1, 1, 0xff] } else { &[] };
    let id = [6, 3, 0x55, 0x1d, id];
    encode(tag::SEQUENCE, &[&id, flag, &encode(tag::OCTET_STRING, value)].concat())
}

impl Root {
    /// Change the extensions of a certificate signed by this CA, and sign it again.
    pub(crate) fn with_extensions(
        &self,
        der: &[u8],
        change: impl FnOnce(&mut Vec<Vec<u8>>),
    ) -> CertificateDer<'static> {
        let changed = self.resign(der, |fields| {
            let last = fields.last_mut().unwrap();
            let list = Reader::whole(last, 0xa3).and_then(|list| Reader::whole(list, tag::SEQUENCE)).unwrap();
            let (mut list, mut extensions) = (Reader::new(list), Vec::new());
            while !list.is_empty() {
                extensions.push(list.element().unwrap().raw.to_vec());
            }
            change(&mut extensions);
            *last = encode(0xa3, &encode(tag::SEQUENCE, &extensions.concat()));
        });
        CertificateDer::from(changed)
    }

    /// CA below this one.
    pub(crate) fn below(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> Self {
        let mut params = authority(name);
        params.serial_number = Some(99.into());
        change(&mut params);
        Self(CertifiedIssuer::signed_by(params, KeyPair::generate().unwrap(), &self.0).unwrap())
    }
}
