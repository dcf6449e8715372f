//! A cluster's certificates, made afresh for a test with `rcgen` alone: the gateway is held to what the
//! standards say, not to what our own CA happens to issue.

use std::fs;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DistinguishedName,
    DnType, ExtendedKeyUsagePurpose, IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SanType,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use time::{Duration, OffsetDateTime};

/// The moment at which the certificates of every test are issued.
pub(crate) fn now() -> OffsetDateTime {
    let now = cluster_ca::clock::Clock::now(&cluster_ca::clock::SystemClock);
    now.replace_nanosecond(0).expect("a whole second")
}

/// A root and its trust domain.
pub(crate) struct Cluster {
    pub(crate) root: CertifiedIssuer<'static, KeyPair>,
    pub(crate) trust_domain: String,
}

impl Cluster {
    /// A cluster whose root is called `name`, and its trust domain as well.
    pub(crate) fn new(name: &str) -> Self {
        let key = KeyPair::generate().expect("a key");
        let root = CertifiedIssuer::self_signed(authority(name), key).expect("a root");
        Self { root, trust_domain: name.to_owned() }
    }

    /// The trust bundle.
    pub(crate) fn bundle(&self) -> String {
        self.root.pem()
    }

    /// A leaf for this role and name.
    pub(crate) fn leaf(&self, role: &str, name: &str) -> Leaf {
        self.leaf_with(role, name, |_| {})
    }

    /// A leaf for this role and name with something changed.
    pub(crate) fn leaf_with(
        &self,
        role: &str,
        name: &str,
        change: impl FnOnce(&mut CertificateParams),
    ) -> Leaf {
        let mut params = leaf_params(&self.trust_domain, role, name);
        change(&mut params);
        Leaf::signed(&params, &self.root, &[])
    }

    /// An authority below the root.
    pub(crate) fn intermediate(&self, name: &str) -> CertifiedIssuer<'static, KeyPair> {
        let mut params = authority(name);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        CertifiedIssuer::signed_by(params, KeyPair::generate().expect("a key"), &self.root)
            .expect("an intermediate")
    }

    /// The CRL with this number and these serial numbers, valid for ten days.
    pub(crate) fn crl(&self, number: u64, revoked: &[&Leaf]) -> String {
        self.crl_until(number, revoked, now() + Duration::days(10))
    }

    /// The same, valid until `next_update`.
    pub(crate) fn crl_until(&self, number: u64, revoked: &[&Leaf], next_update: OffsetDateTime) -> String {
        self.crl_of(number, revoked.iter().map(|leaf| leaf.serial.clone()), next_update)
    }

    /// The same with bare serial numbers.
    pub(crate) fn crl_of(
        &self,
        number: u64,
        revoked: impl Iterator<Item = Vec<u8>>,
        next_update: OffsetDateTime,
    ) -> String {
        crl_by(&self.root, number, revoked, next_update)
    }
}

/// The CRL of `issuer` with this number and these serial numbers, valid until `next_update`.
pub(crate) fn crl_by(
    issuer: &CertifiedIssuer<'static, KeyPair>,
    number: u64,
    revoked: impl Iterator<Item = Vec<u8>>,
    next_update: OffsetDateTime,
) -> String {
    let revoked = revoked.map(|serial| RevokedCertParams {
        serial_number: serial.into(),
        revocation_time: now() - Duration::minutes(1),
        reason_code: None,
        invalidity_date: None,
    });
    let params = CertificateRevocationListParams {
        this_update: now() - Duration::days(1),
        next_update,
        crl_number: number.into(),
        issuing_distribution_point: None,
        revoked_certs: revoked.collect(),
        key_identifier_method: KeyIdMethod::Sha256,
    };
    params.signed_by(issuer).expect("a CRL").pem().expect("PEM")
}

/// A certificate below an authority, with its key.
#[derive(Clone, Debug)]
pub(crate) struct Leaf {
    pub(crate) serial: Vec<u8>,
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) certificate_pem: String,
    key: Vec<u8>,
    pub(crate) key_pem: String,
}

impl Leaf {
    /// A leaf signed by `issuer`, followed by the certificates `after` it.
    pub(crate) fn signed(
        params: &CertificateParams,
        issuer: &CertifiedIssuer<'static, KeyPair>,
        after: &[CertificateDer<'static>],
    ) -> Self {
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, issuer).expect("a certificate");
        Self {
            serial: params.serial_number.as_ref().expect("a serial number").to_bytes(),
            chain: [&[certificate.der().clone()], after].concat(),
            certificate_pem: certificate.pem(),
            key: key.serialize_der(),
            key_pem: key.serialize_pem(),
        }
    }

    /// A leaf that nobody signed but itself.
    pub(crate) fn self_signed(params: &CertificateParams) -> Self {
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("a certificate");
        Self {
            serial: params.serial_number.as_ref().expect("a serial number").to_bytes(),
            chain: vec![certificate.der().clone()],
            certificate_pem: certificate.pem(),
            key: key.serialize_der(),
            key_pem: key.serialize_pem(),
        }
    }

    /// The same certificate with another key than its own.
    pub(crate) fn with_key_of(&self, other: &Self) -> Self {
        Self { key: other.key.clone(), key_pem: other.key_pem.clone(), ..self.clone() }
    }

    /// The private key.
    pub(crate) fn key(&self) -> PrivateKeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.key.clone()).into()
    }

    /// The serial number as it is written everywhere.
    pub(crate) fn serial_number(&self) -> String {
        cluster_ca::x509::SerialNumber::from_be_bytes(&self.serial).expect("a serial number").to_string()
    }

    /// Writes the pair `STEM.crt` and `STEM.key`.
    pub(crate) fn write(&self, directory: &Path, stem: &str) {
        fs::write(directory.join(format!("{stem}.crt")), &self.certificate_pem).expect("a certificate file");
        let mut options = fs::OpenOptions::new();
        let mut file = options
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(directory.join(format!("{stem}.key")))
            .expect("a key file");
        std::io::Write::write_all(&mut file, self.key_pem.as_bytes()).expect("a key");
    }
}

/// Parameters of an authority as the design wants it.
pub(crate) fn authority(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = named(name);
    params.serial_number = Some(serial().into());
    params.not_before = now() - Duration::days(365);
    params.not_after = now() + Duration::days(365);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(1));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.use_authority_key_identifier_extension = true;
    params
}

/// Parameters of a leaf as the design wants it.
pub(crate) fn leaf_params(trust_domain: &str, role: &str, name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = named(&match role {
        "control-service" => role.to_owned(),
        "node-agent" => format!("node-{name}"),
        _ => format!("user-{name}"),
    });
    params.serial_number = Some(serial().into());
    params.not_before = now() - Duration::days(1);
    params.not_after = now() + Duration::days(30);
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params.use_authority_key_identifier_extension = true;
    params.subject_alt_names = vec![uri(&format!("spiffe://{trust_domain}/{role}/{name}"))];
    if role == "control-service" {
        params.extended_key_usages.push(ExtendedKeyUsagePurpose::ServerAuth);
        params.subject_alt_names.push(SanType::DnsName("control-service".try_into().expect("a name")));
        if let Ok(address) = name.parse() {
            params.subject_alt_names.push(SanType::IpAddress(address));
            // What the tests call a gateway, whatever they dial.
            for host in ["g", "gateway"] {
                params.subject_alt_names.push(SanType::DnsName(host.try_into().expect("a name")));
            }
        }
    }
    params
}

/// A URI as an alternative name.
pub(crate) fn uri(text: &str) -> SanType {
    SanType::URI(text.try_into().expect("an ASCII text"))
}

fn named(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    distinguished
}

fn serial() -> Vec<u8> {
    use cluster_ca::clock::{Entropy, SystemEntropy};
    let mut serial = [0; 16];
    SystemEntropy.fill(&mut serial).expect("randomness");
    // Positive, and always of the same length.
    serial[0] = serial[0] & 0x7f | 0x40;
    serial.to_vec()
}
