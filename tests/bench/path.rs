//! Cost of building and checking a path, beside that of webpki, for one leaf below a root and one below an intermediate
//! CA. `cargo bench --bench path` prints the ratio of the fastest rounds; with `MODE CASE` only that one is run, as for
//! callgrind: `path own direct`, `path webpki direct`, `path own intermediate`, `path webpki intermediate`.

#![expect(clippy::disallowed_methods, reason = "a benchmark measures real time")]
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a measurement that cannot go on ends")]

use std::time::Instant;

use cluster_ca::x509::trust::{Purpose, TrustBundle};
use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    SanType,
};
use rustls::pki_types::{CertificateDer, UnixTime};
use time::{Duration, OffsetDateTime};

/// Verifications in a round.
const ROUND: usize = 200;

/// Rounds, of which the fastest counts.
const ROUNDS: usize = 15;

struct Case {
    name: &'static str,
    root: CertificateDer<'static>,
    leaf: CertificateDer<'static>,
    intermediates: Vec<CertificateDer<'static>>,
}

fn params(name: &str, now: OffsetDateTime) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    params.not_before = now - Duration::HOUR;
    params.not_after = now + Duration::DAY;
    params.use_authority_key_identifier_extension = true;
    params
}

fn authority(name: &str, now: OffsetDateTime) -> CertificateParams {
    let mut params = params(name, now);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn cases(now: OffsetDateTime) -> [Case; 2] {
    let root_key = KeyPair::generate().unwrap();
    let root_params = authority("root", now);
    let root = root_params.self_signed(&root_key).unwrap().der().clone();
    let root_issuer = Issuer::from_params(&root_params, &root_key);
    let middle_key = KeyPair::generate().unwrap();
    let middle_params = authority("middle", now);
    let middle = middle_params.signed_by(&middle_key, &root_issuer).unwrap().der().clone();
    let middle_issuer = Issuer::from_params(&middle_params, &middle_key);
    let leaf = |issuer: &Issuer<'_, &KeyPair>| {
        let mut params = params("user-alice", now);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.subject_alt_names = vec![SanType::URI("spiffe://prod/api-user/alice".try_into().unwrap())];
        params.is_ca = IsCa::ExplicitNoCa;
        params.signed_by(&KeyPair::generate().unwrap(), issuer).unwrap().der().clone()
    };
    [
        Case { name: "direct", leaf: leaf(&root_issuer), root: root.clone(), intermediates: Vec::new() },
        Case { name: "intermediate", leaf: leaf(&middle_issuer), root, intermediates: vec![middle] },
    ]
}

/// Our path building, with every rule of RFC 5280 that a gateway holds a client to.
fn own(bundle: &TrustBundle, case: &Case, now: OffsetDateTime) {
    bundle.verify(&case.leaf, &case.intermediates, Purpose::Client, now).expect("valid");
}

/// Path building of webpki, which the gateway used before.
fn webpki_path(case: &Case, now: UnixTime) {
    let anchors = [webpki::anchor_from_trusted_cert(&case.root).unwrap()];
    let leaf = webpki::EndEntityCert::try_from(&case.leaf).unwrap();
    leaf.verify_for_usage(
        webpki::ALL_VERIFICATION_ALGS,
        &anchors,
        &case.intermediates,
        now,
        webpki::KeyUsage::client_auth(),
        None,
        None,
    )
    .expect("valid");
}

/// Nanoseconds of one call, in the fastest round.
fn fastest(mut call: impl FnMut()) -> u128 {
    let round = |call: &mut dyn FnMut()| {
        let begun = Instant::now();
        (0..ROUND).for_each(|_| call());
        begun.elapsed().as_nanos() / u128::try_from(ROUND).unwrap()
    };
    (0..ROUNDS).map(|_| round(&mut call)).min().unwrap()
}

fn main() {
    let now = OffsetDateTime::now_utc();
    let unix =
        UnixTime::since_unix_epoch(std::time::Duration::from_secs(now.unix_timestamp().try_into().unwrap()));
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    for case in &cases(now) {
        let pem = pem::encode(&pem::Pem::new("CERTIFICATE", case.root.to_vec()));
        let bundle = TrustBundle::from_pem(pem.as_bytes(), now).unwrap();
        match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            [mode, wanted] if wanted == case.name => (0..ROUND).for_each(|_| match mode {
                "own" => own(&bundle, case, now),
                _ => webpki_path(case, unix),
            }),
            [] => {
                let own = fastest(|| own(&bundle, case, now));
                let webpki = fastest(|| webpki_path(case, unix));
                println!(
                    "{}: {own} ns, webpki {webpki} ns, {:.3} of it",
                    case.name,
                    f64::from(u32::try_from(own).unwrap()) / f64::from(u32::try_from(webpki).unwrap())
                );
            }
            _ => {}
        }
    }
}
