//! Paths: RFC 5280 for each certificate, name constraints, policies, and the choice among several paths.

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, CustomExtension, DnType, ExtendedKeyUsagePurpose,
    IsCa, KeyPair, KeyUsagePurpose, SanType,
};
use rustls_pki_types::CertificateDer;

use super::{ChainError, Purpose, TrustBundle, VerifiedChain};
use crate::error::Coded;
use crate::x509::Certificate;
use crate::x509::der::{Reader, tag};
use crate::x509::testing::{Root, authority, client, encode, extension, now};

const KEY_USAGE: u8 = 15;
const SUBJECT_KEY_IDENTIFIER: u8 = 14;
const BASIC_CONSTRAINTS: u8 = 19;
const NAME_CONSTRAINTS: u8 = 30;
const POLICIES: u8 = 32;
const AUTHORITY_KEY_IDENTIFIER: u8 = 35;
const POLICY_CONSTRAINTS: u8 = 36;
const INHIBIT_ANY_POLICY: u8 = 54;

/// Root with room for two CAs below it.
fn roomy() -> Root {
    let mut params = authority("root");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(2));
    Root::with(params)
}

fn code(bundle: &TrustBundle, leaf: &CertificateDer<'_>, presented: &[CertificateDer<'_>]) -> &'static str {
    let verified = bundle.verify(leaf, presented, Purpose::Client, now());
    verified.map_or_else(|error| error.code(), |_| "verified")
}

fn is(element: &[u8], id: u8) -> bool {
    element.windows(5).any(|window| window == [6, 3, 0x55, 0x1d, id])
}

/// The extensions with that of `id` replaced or, with `None`, removed.
fn replaced(extensions: &mut Vec<Vec<u8>>, id: u8, with: Option<Vec<u8>>) {
    extensions.retain(|known| !is(known, id));
    extensions.extend(with);
}

fn made_critical(extensions: &mut Vec<Vec<u8>>, id: u8, critical: bool) {
    let known = extensions.iter().find(|known| is(known, id)).unwrap();
    let mut fields = Reader::new(Reader::whole(known, tag::SEQUENCE).unwrap());
    fields.expect(tag::OBJECT_IDENTIFIER).unwrap();
    fields.optional(&[tag::BOOLEAN]).unwrap();
    let value = fields.expect(tag::OCTET_STRING).unwrap().to_vec();
    replaced(extensions, id, Some(extension(id, critical, &value)));
}

type Change = fn(&mut Vec<Vec<u8>>);

/// `keyUsage` with these bits, the first octet being the number of unused ones.
fn key_usage(unused: u8, bits: u8) -> Option<Vec<u8>> {
    Some(extension(KEY_USAGE, true, &[3, 2, unused, bits]))
}

/// Name constraints with one permitted subtree: a DNS name.
fn permitting_dns(name: &str, critical: bool) -> Option<Vec<u8>> {
    Some(extension(NAME_CONSTRAINTS, critical, &constraints(&[(0x82, name.as_bytes())], &[])))
}

fn constraints(permitted: &[(u8, &[u8])], excluded: &[(u8, &[u8])]) -> Vec<u8> {
    let list = |tag: u8, bases: &[(u8, &[u8])]| match bases {
        [] => Vec::new(),
        bases => {
            let subtrees = bases.iter().map(|(form, base)| encode(0x30, &encode(*form, base)));
            encode(tag, &subtrees.collect::<Vec<_>>().concat())
        }
    };
    encode(0x30, &[list(0xa0, permitted), list(0xa1, excluded)].concat())
}

#[test]
fn each_certificate_of_a_chain_conforms_to_rfc_5280() {
    let of_leaf: &[(&str, Change)] = &[
        ("verified", |_| {}),
        ("chain.authority_key_identifier", |e| replaced(e, AUTHORITY_KEY_IDENTIFIER, None)),
        ("chain.authority_key_identifier", |e| made_critical(e, AUTHORITY_KEY_IDENTIFIER, true)),
        ("chain.authority_key_identifier", |e| {
            replaced(
                e,
                AUTHORITY_KEY_IDENTIFIER,
                Some(extension(AUTHORITY_KEY_IDENTIFIER, false, &[0x30, 0])),
            );
        }),
        ("chain.subject_key_identifier", |e| {
            replaced(e, SUBJECT_KEY_IDENTIFIER, Some(extension(SUBJECT_KEY_IDENTIFIER, true, &[4, 2, 1, 2])));
        }),
        ("chain.cert_sign_without_ca", |e| replaced(e, KEY_USAGE, key_usage(2, 0x84))),
        ("chain.name_constraints", |e| replaced(e, NAME_CONSTRAINTS, permitting_dns("a.example", true))),
        ("chain.name_constraints", |e| replaced(e, NAME_CONSTRAINTS, permitting_dns("a.example", false))),
        ("chain.policy_constraints", |e| {
            e.push(extension(POLICY_CONSTRAINTS, false, &[0x30, 3, 0x80, 1, 9]));
        }),
    ];
    let root = roomy();
    let issuer = root.below("issuer", |_| {});
    for (expected, change) in of_leaf {
        let leaf = issuer.with_extensions(&issuer.issue(&client(7)), change);
        assert_eq!(code(&root.bundle(), &leaf, &[issuer.0.der().clone()]), *expected);
    }
    let of_issuer: &[(&str, Change)] = &[
        ("verified", |_| {}),
        ("chain.authority_key_identifier", |e| replaced(e, AUTHORITY_KEY_IDENTIFIER, None)),
        ("chain.authority_key_identifier", |e| made_critical(e, AUTHORITY_KEY_IDENTIFIER, true)),
        ("chain.subject_key_identifier", |e| made_critical(e, SUBJECT_KEY_IDENTIFIER, true)),
        ("chain.issuer_key_identifier", |e| replaced(e, SUBJECT_KEY_IDENTIFIER, None)),
        ("chain.issuer_key_usage", |e| replaced(e, KEY_USAGE, None)),
        ("chain.issuer_key_usage", |e| replaced(e, KEY_USAGE, key_usage(1, 2))),
        ("chain.issuer_key_usage", |e| replaced(e, KEY_USAGE, key_usage(7, 0x80))),
        ("verified", |e| replaced(e, KEY_USAGE, key_usage(2, 4))),
        ("chain.basic_constraints", |e| made_critical(e, BASIC_CONSTRAINTS, false)),
        ("chain.leaf_as_ca", |e| replaced(e, BASIC_CONSTRAINTS, None)),
        ("chain.name_constraints", |e| replaced(e, NAME_CONSTRAINTS, permitting_dns("a.example", false))),
        ("chain.name_constraints", |e| replaced(e, NAME_CONSTRAINTS, permitting_dns(".a.example", true))),
        ("chain.name_constraints", |e| {
            replaced(e, NAME_CONSTRAINTS, Some(extension(NAME_CONSTRAINTS, true, &[0x30, 0])));
        }),
        ("verified", |e| replaced(e, NAME_CONSTRAINTS, permitting_dns("a.example", true))),
        ("chain.policy_constraints", |e| {
            e.push(extension(POLICY_CONSTRAINTS, false, &[0x30, 3, 0x80, 1, 9]));
        }),
        ("chain.policy_constraints", |e| e.push(extension(INHIBIT_ANY_POLICY, false, &[2, 1, 9]))),
        ("verified", |e| e.push(extension(POLICY_CONSTRAINTS, true, &[0x30, 3, 0x80, 1, 9]))),
        ("chain.unsupported_extension", |e| e.push(extension(99, true, &[5, 0]))),
    ];
    for (expected, change) in of_issuer {
        let changed = root.with_extensions(issuer.0.der(), change);
        let presented = std::slice::from_ref(&changed);
        assert_eq!(code(&root.bundle(), &issuer.issue(&client(7)), presented), *expected);
        // A configured certificate of the same key does not take its place.
        let known = root.bundle().with_intermediates(issuer.der(), now()).unwrap();
        assert_eq!(code(&known, &issuer.issue(&client(7)), presented), *expected);
        // The same certificate, configured: it is refused when it is loaded. Without cRLSign it is unfit as well, since it
        // cannot sign the CRL that is required of it.
        let can_sign_crls = Certificate::from_der(&changed)
            .is_ok_and(|certificate| certificate.key_usage.is_some_and(|usage| usage.crl_sign()));
        let configured = root.bundle().with_intermediates(&changed, now());
        let leaf = issuer.issue(&client(7));
        let verifies = configured.is_ok_and(|bundle| code(&bundle, &leaf, &[]) == "verified");
        assert_eq!(verifies, *expected == "verified" && can_sign_crls, "{expected}");
    }
}

#[test]
fn an_anchor_conforms_to_rfc_5280() {
    let root = Root::new("root");
    let cases: &[(&str, Change)] = &[
        ("trusted", |_| {}),
        ("trusted", |e| replaced(e, AUTHORITY_KEY_IDENTIFIER, None)),
        ("trust.authority_key_identifier", |e| made_critical(e, AUTHORITY_KEY_IDENTIFIER, true)),
        ("trust.subject_key_identifier", |e| made_critical(e, SUBJECT_KEY_IDENTIFIER, true)),
        ("trust.no_key_identifier", |e| {
            replaced(e, AUTHORITY_KEY_IDENTIFIER, None);
            replaced(e, SUBJECT_KEY_IDENTIFIER, None);
        }),
        ("trust.name_constraints", |e| replaced(e, NAME_CONSTRAINTS, permitting_dns(".a.example", true))),
        ("trust.name_constraints", |e| replaced(e, NAME_CONSTRAINTS, permitting_dns("a.example", false))),
        ("trusted", |e| replaced(e, NAME_CONSTRAINTS, permitting_dns("a.example", true))),
        ("trust.policy_constraints", |e| {
            e.push(extension(POLICY_CONSTRAINTS, false, &[0x30, 3, 0x80, 1, 9]));
        }),
    ];
    for (expected, change) in cases {
        let anchor = root.with_extensions(root.der(), change);
        let read = TrustBundle::from_pem(&anchor, now());
        assert_eq!(read.map_or_else(|error| error.code(), |_| "trusted"), *expected);
    }
}

#[test]
fn names_are_held_to_the_constraints_of_their_form() {
    let name_of = |name: &str| Root::new(name).certificate().subject.der;
    let (alice, others) = (name_of("user-alice"), name_of("OTHERS"));
    let (alice, others) = (alice.as_slice(), others.as_slice());
    let dns = |name: &'static str| SanType::DnsName(name.try_into().unwrap());
    let email = |name: &'static str| SanType::Rfc822Name(name.try_into().unwrap());
    let uri = |name: &'static str| SanType::URI(name.try_into().unwrap());
    let ip = |text: &str| SanType::IpAddress(text.parse().unwrap());
    type Bases<'a> = &'a [(u8, &'a [u8])];
    let cases: &[(bool, Bases<'_>, Bases<'_>, SanType)] = &[
        // A form that no constraint speaks of passes.
        (true, &[(0x82, b"a.example")], &[], uri("spiffe://prod/api-user/alice")),
        (true, &[(0x81, b"a.example")], &[], dns("b.example")),
        (true, &[(0x82, b"a.example")], &[], dns("a.example")),
        (true, &[(0x82, b"a.example")], &[], dns("x.A.example")),
        (true, &[(0x82, b"b.example"), (0x82, b"a.example")], &[], dns("x.a.example")),
        (true, &[(0x82, b"")], &[], dns("x.a.example")),
        (false, &[(0x82, b"a.example")], &[], dns("xa.example")),
        (false, &[(0x82, b"a.example")], &[], dns("not valid")),
        (false, &[], &[(0x82, b"a.example")], dns("x.a.example")),
        (false, &[], &[(0x82, b"x.a.example")], dns("*.a.example")),
        (true, &[], &[(0x82, b"x.a.example")], dns("y.a.example")),
        (true, &[(0x81, b"alice@a.example")], &[], email("alice@A.example")),
        (false, &[(0x81, b"alice@a.example")], &[], email("Alice@a.example")),
        (false, &[(0x81, b"alice@a.example")], &[], email("bob@a.example")),
        (true, &[(0x81, b"a.example")], &[], email("bob@a.example")),
        (false, &[(0x81, b"a.example")], &[], email("bob@x.a.example")),
        (true, &[(0x81, b".a.example")], &[], email("bob@x.a.example")),
        (false, &[(0x81, b".a.example")], &[], email("bob@a.example")),
        (false, &[(0x81, b"a.example")], &[], email("a.example")),
        (false, &[], &[(0x81, b"a.example")], email("bob@a.example")),
        (true, &[], &[(0x81, b"a.example")], email("bob@b.example")),
        (true, &[(0x86, b"prod")], &[], uri("spiffe://prod/api-user/alice")),
        (true, &[(0x86, b".example")], &[], uri("https://user@a.example:8443/x")),
        (false, &[(0x86, b"prod")], &[], uri("spiffe://other/api-user/alice")),
        (false, &[(0x86, b"prod")], &[], uri("urn:prod")),
        (false, &[], &[(0x86, b"prod")], uri("spiffe://prod/api-user/alice")),
        (true, &[(0x87, &[10, 0, 0, 0, 255, 0, 0, 0])], &[], ip("10.1.2.3")),
        (false, &[(0x87, &[10, 0, 0, 0, 255, 0, 0, 0])], &[], ip("11.1.2.3")),
        (false, &[(0x87, &[10, 0, 0, 0, 255, 0, 0, 0])], &[], ip("::1")),
        (true, &[(0xa4, alice)], &[], dns("a.example")),
        (false, &[(0xa4, others)], &[], dns("a.example")),
        (false, &[], &[(0xa4, alice)], dns("a.example")),
        (true, &[], &[(0xa4, others)], dns("a.example")),
        // Any name is below the empty one.
        (true, &[(0xa4, &[0x30, 0])], &[], dns("a.example")),
    ];
    for (permits, permitted, excluded, name) in cases {
        let mut extension =
            CustomExtension::from_oid_content(&[2, 5, 29, 30], constraints(permitted, excluded));
        extension.set_criticality(true);
        let expected = if *permits { "verified" } else { "chain.name_constraint" };
        let mut params = client(7);
        params.subject_alt_names = vec![name.clone()];
        let constrain = |params: &mut CertificateParams| params.custom_extensions.push(extension.clone());
        // Constraints of an intermediate CA and of an anchor count alike.
        let root = Root::new("root");
        let issuer = root.below("issuer", constrain);
        let leaf = issuer.issue(&params);
        assert_eq!(
            code(&root.bundle(), &leaf, &[issuer.0.der().clone()]),
            expected,
            "{permitted:?} {excluded:?} {name:?}"
        );
        let mut of_root = authority("root");
        constrain(&mut of_root);
        let root = Root::with(of_root);
        assert_eq!(
            code(&root.bundle(), &root.issue(&params), &[]),
            expected,
            "{permitted:?} {excluded:?} {name:?}"
        );
    }
}

#[test]
fn a_directory_name_is_excluded_in_any_encoding_and_case() {
    let name = |tag: u8, value: &[u8]| {
        let attribute = [&[6, 3, 0x55, 4, 10][..], &encode(tag, value)].concat();
        encode(tag::SEQUENCE, &encode(tag::SET, &encode(tag::SEQUENCE, &attribute)))
    };
    let excluded = name(tag::UTF8_STRING, "Stra\u{df}e 1".as_bytes());
    let mut extension =
        CustomExtension::from_oid_content(&[2, 5, 29, 30], constraints(&[], &[(0xa4, &excluded)]));
    extension.set_criticality(true);
    let root = Root::new("root");
    let issuer = root.below("issuer", |params| params.custom_extensions.push(extension));
    let wide = |text: &str| text.chars().flat_map(|char| u32::from(char).to_be_bytes()).collect::<Vec<_>>();
    for (subject, expected) in [
        (name(tag::UTF8_STRING, b"STRASSE  1"), "chain.name_constraint"),
        (name(tag::PRINTABLE_STRING, b"strasse 1"), "chain.name_constraint"),
        (name(tag::VISIBLE_STRING, b"Strasse 1"), "chain.name_constraint"),
        (name(tag::TELETEX_STRING, b"Stra\xdfe 1"), "chain.name_constraint"),
        (name(tag::UNIVERSAL_STRING, &wide("STRA\u{1e9e}E 1")), "chain.name_constraint"),
        (name(tag::UTF8_STRING, b"Strasse 2"), "verified"),
    ] {
        let leaf = issuer.resign(&issuer.issue(&client(7)), |fields| fields[5] = subject.clone());
        let presented = [issuer.0.der().clone()];
        assert_eq!(code(&root.bundle(), &CertificateDer::from(leaf), &presented), expected, "{subject:?}");
    }
}

#[test]
fn an_e_mail_address_in_the_subject_is_held_to_constraints_too() {
    let mut extension =
        CustomExtension::from_oid_content(&[2, 5, 29, 30], constraints(&[(0x81, b"a.example")], &[]));
    extension.set_criticality(true);
    let mut params = authority("root");
    params.custom_extensions.push(extension);
    let root = Root::with(params);
    for (address, expected) in [("alice@a.example", "verified"), ("alice@b.example", "chain.name_constraint")]
    {
        let mut params = client(7);
        let email = DnType::CustomDnType(vec![1, 2, 840, 113549, 1, 9, 1]);
        params.distinguished_name.push(email, rcgen::DnValue::Ia5String(address.try_into().unwrap()));
        assert_eq!(code(&root.bundle(), &root.issue(&params), &[]), expected);
    }
}

/// A CA that certifies its next key with the present one: subject and issuer are the same.
fn next_key(root: &Root) -> Root {
    let mut params = authority("root");
    params.serial_number = Some(50.into());
    Root(CertifiedIssuer::signed_by(params, KeyPair::generate().unwrap(), &root.0).unwrap())
}

#[test]
fn a_change_of_a_cas_key_adds_no_ca_to_the_path() {
    let mut params = authority("root");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    let mut extension = CustomExtension::from_oid_content(
        &[2, 5, 29, 30],
        constraints(&[(0xa4, &Root::new("user-alice").certificate().subject.der)], &[]),
    );
    extension.set_criticality(true);
    params.custom_extensions.push(extension);
    let root = Root::with(params);
    let next = next_key(&root);
    // Neither the path length nor the constraint refuses the certificate of the key, and both hold for the leaf.
    let presented = [next.0.der().clone()];
    assert_eq!(code(&root.bundle(), &next.issue(&client(7)), &presented), "verified");
    let mut params = client(7);
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "user-bob");
    assert_eq!(code(&root.bundle(), &next.issue(&params), &presented), "chain.name_constraint");
    let configured = root.bundle().with_intermediates(next.der(), now()).unwrap();
    assert_eq!(code(&configured, &next.issue(&client(7)), &[]), "verified");
    let below = next.below("below", |_| {});
    let presented = [next.0.der().clone(), below.0.der().clone()];
    assert_eq!(code(&root.bundle(), &below.issue(&client(7)), &presented), "chain.path_too_long");
}

#[test]
fn an_extended_key_usage_restricts_what_an_issuer_vouches_for() {
    use ExtendedKeyUsagePurpose::{Any, ClientAuth, ServerAuth};
    for (usages, expected) in [
        (vec![], "verified"),
        (vec![ClientAuth], "verified"),
        (vec![Any], "verified"),
        (vec![ServerAuth, ClientAuth], "verified"),
        (vec![ServerAuth], "chain.issuer_purpose"),
    ] {
        let restrict = |params: &mut CertificateParams| params.extended_key_usages = usages.clone();
        let root = Root::new("root");
        let issuer = root.below("issuer", restrict);
        let leaf = issuer.issue(&client(7));
        assert_eq!(code(&root.bundle(), &leaf, &[issuer.0.der().clone()]), expected, "issuer {usages:?}");
        let mut params = authority("root");
        restrict(&mut params);
        let root = Root::with(params);
        assert_eq!(code(&root.bundle(), &root.issue(&client(7)), &[]), expected, "anchor {usages:?}");
    }
}

#[test]
fn configured_cas_complete_the_chain_of_a_leaf_alone() {
    let root = roomy();
    let upper = root.below("upper", |_| {});
    let lower = upper.below("lower", |params| params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0)));
    let leaf = lower.issue(&client(7));
    let known = root.bundle().with_intermediates((lower.pem() + &upper.pem()).as_bytes(), now()).unwrap();
    let chain = known.verify(&leaf, &[], Purpose::Client, now()).unwrap();
    assert_eq!(chain.intermediates, [lower.certificate(), upper.certificate()]);
    assert_eq!(code(&root.bundle(), &leaf, &[]), "chain.unknown_issuer");
    // What is presented beside it does not matter, readable or not.
    for beside in [&b"nothing"[..], Root::new("lower").der(), lower.der(), &leaf] {
        let beside = CertificateDer::from(beside.to_vec());
        assert_eq!(code(&known, &leaf, &[beside]), "verified");
    }
}

#[test]
fn a_configured_ca_takes_the_place_of_an_expired_one_that_is_presented() {
    let root = Root::new("root");
    let issuer = root.below("issuer", |_| {});
    let mut params = authority("issuer");
    params.serial_number = Some(98.into());
    params.not_after = now() - time::Duration::SECOND;
    let expired = params.signed_by(issuer.0.key(), &root.0).unwrap().der().clone();
    let known = root.bundle().with_intermediates(issuer.der(), now()).unwrap();
    let leaf = issuer.issue(&client(7));
    assert_eq!(code(&root.bundle(), &leaf, std::slice::from_ref(&expired)), "chain.expired");
    assert_eq!(code(&known, &leaf, &[expired]), "verified");
}

#[test]
fn a_configured_ca_takes_the_place_of_an_unfit_one_only_if_it_is_presented_too() {
    let root = Root::new("root");
    let issuer = root.below("issuer", |_| {});
    let mut params = authority("issuer");
    params.serial_number = Some(98.into());
    params.key_usages = vec![KeyUsagePurpose::CrlSign];
    let unfit = params.signed_by(issuer.0.key(), &root.0).unwrap().der().clone();
    let known = root.bundle().with_intermediates(issuer.der(), now()).unwrap();
    let leaf = issuer.issue(&client(7));
    assert_eq!(code(&known, &leaf, std::slice::from_ref(&unfit)), "chain.issuer_key_usage");
    let both = [unfit, issuer.0.der().clone()];
    for bundle in [&known, &root.bundle()] {
        assert_eq!(code(bundle, &leaf, &both), "verified");
    }
}

#[test]
fn the_second_of_two_cross_certificates_is_tried() {
    let (a, b) = (Root::new("a"), Root::new("b"));
    let issuer = a.below("issuer", |_| {});
    let mut params = authority("issuer");
    params.serial_number = Some(98.into());
    let cross = params.signed_by(issuer.0.key(), &b.0).unwrap().der().clone();
    let bundle = TrustBundle::from_pem((a.pem() + &b.pem()).as_bytes(), now()).unwrap();
    let leaf = issuer.issue(&client(7));
    let anchor = |root: &Root| root.certificate().subject_key_identifier.unwrap();
    for presented in [[issuer.0.der().clone(), cross.clone()], [cross.clone(), issuer.0.der().clone()]] {
        for (refused, accepted) in [(&a, &b), (&b, &a)] {
            let accept = |chain: &VerifiedChain| match chain.anchor == anchor(refused) {
                true => Err(ChainError::WrongName),
                false => Ok(()),
            };
            let chain = bundle.verify_accepted(&leaf, &presented, Purpose::Client, now(), accept).unwrap();
            assert_eq!(chain.anchor, anchor(accepted));
        }
        let refuse = |_: &VerifiedChain| Err(ChainError::WrongName);
        let refused = bundle.verify_accepted(&leaf, &presented, Purpose::Client, now(), refuse);
        assert_eq!(refused.unwrap_err(), ChainError::WrongName, "the reason of the caller is given");
    }
}

#[test]
fn a_search_is_bounded_however_many_cas_of_one_name_are_presented() {
    let root = Root::new("root");
    let issuers: Vec<_> = (0..12).map(|_| Root::new("issuer").below("issuer", |_| {})).collect();
    let presented: Vec<_> = issuers.iter().map(|issuer| issuer.0.der().clone()).collect();
    let leaf = Root::new("issuer").issue(&client(7));
    assert_eq!(code(&root.bundle(), &leaf, &presented), "chain.bad_signature");
    let many = presented.iter().cycle().take(1_200).cloned().collect::<Vec<_>>();
    assert_eq!(code(&root.bundle(), &leaf, &many), "chain.too_complex");
}

#[test]
fn a_serial_number_is_positive_and_has_at_most_20_octets() {
    let root = Root::new("root");
    let plain = root.issue(&client(7));
    for (serial, expected) in [
        (&[2, 1, 7][..], "verified"),
        (&[2, 1, 0], "chain.serial_number"),
        (&[2, 1, 0xff], "chain.serial_number"),
        (&[2, 2, 0xff, 1], "chain.serial_number"),
        // DER has no leading octets without a meaning.
        (&[2, 2, 0, 7], "chain.serial_number"),
        (&[2, 2, 0, 0x87], "verified"),
        (&[&[2, 20][..], &[0x7f; 20]].concat(), "verified"),
        (&[&[2, 21][..], &[0x7f; 21]].concat(), "chain.serial_number"),
    ] {
        let leaf = root.resign(&plain, |fields| fields[1] = serial.to_vec());
        assert_eq!(code(&root.bundle(), &CertificateDer::from(leaf), &[]), expected, "{serial:?}");
    }
}

#[test]
fn a_key_that_no_handshake_can_prove_is_refused() {
    let root = Root::new("root");
    let ec = |curve: &[u8], length: usize| {
        let curve =
            [&[6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1, 6, curve.len().to_le_bytes()[0]], curve].concat();
        let point = [&[0, 4][..], &vec![1; length - 2]].concat();
        encode(tag::SEQUENCE, &[encode(tag::SEQUENCE, &curve), encode(tag::BIT_STRING, &point)].concat())
    };
    let rsa = |octets: usize| {
        let modulus = encode(tag::INTEGER, &vec![0x7f; octets]);
        let key = encode(tag::SEQUENCE, &[modulus, vec![2, 3, 1, 0, 1]].concat());
        let algorithm = [6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1, 5, 0];
        let bits = encode(tag::BIT_STRING, &[&[0][..], &key].concat());
        encode(tag::SEQUENCE, &[encode(tag::SEQUENCE, &algorithm), bits].concat())
    };
    for (key, expected) in [
        (ec(&[0x2b, 0x81, 4, 0, 10], 66), "chain.unsupported_key"),
        (ec(&[0x2b, 0x81, 4, 0, 35], 134), "verified"),
        (rsa(128), "chain.unsupported_key"),
        (rsa(640), "verified"),
        (rsa(2048), "chain.unsupported_key"),
    ] {
        let leaf = root.resign(&root.issue(&client(7)), |fields| fields[6] = key.clone());
        assert_eq!(code(&root.bundle(), &CertificateDer::from(leaf), &[]), expected, "{key:?}");
    }
}

#[test]
fn an_unfit_anchor_is_left_out_by_name_and_the_others_stay() {
    let (good, expired) = (Root::new("good"), {
        let mut params = authority("expired");
        params.not_after = now() - time::Duration::SECOND;
        Root::with(params)
    });
    let mut no_crl_sign = authority("no-crl-sign");
    no_crl_sign.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let text = expired.pem() + &good.pem() + &Root::with(no_crl_sign).pem();
    assert_eq!(TrustBundle::from_pem(text.as_bytes(), now()).unwrap_err().code(), "trust.expired");
    let bundle = TrustBundle::from_pem_excluding(text.as_bytes(), now()).unwrap();
    assert_eq!(code(&bundle, &good.issue(&client(7)), &[]), "verified");
    assert_eq!(code(&bundle, &expired.issue(&client(7)), &[]), "chain.unknown_issuer");
    let excluded: Vec<_> = bundle.excluded().iter().map(|error| (error.code(), error.to_string())).collect();
    assert_eq!((excluded[0].0, excluded[1].0), ("trust.expired", "trust.key_usage"));
    assert!(excluded[0].1.contains("trust anchor 1 (CN=expired"), "{excluded:?}");

    let none = TrustBundle::from_pem_excluding(expired.pem().as_bytes(), now()).unwrap_err();
    assert_eq!(none.code(), "trust.expired", "a bundle without any fit anchor is refused");
    let cut = &good.pem()[..good.pem().len() / 2];
    assert_eq!(TrustBundle::from_pem_excluding(cut.as_bytes(), now()).unwrap_err().code(), "x509.pem");

    // One that cannot be read at all is told by its place in the file.
    let negative = good.resign(good.der(), |fields| fields[1] = vec![2, 1, 0xff]);
    let text = crate::x509::pem::pem("CERTIFICATE", &negative) + &good.pem();
    let odd = TrustBundle::from_pem_excluding(text.as_bytes(), now()).unwrap();
    assert_eq!(odd.excluded()[0].to_string(), "trust anchor 1 is refused");
    assert_eq!(odd.excluded()[0].code(), "x509.serial_number_range");
    assert_eq!(odd.anchors().len(), 1);

    let (below, orphan) = (good.below("below", |_| {}), Root::new("other").below("orphan", |_| {}));
    let both = bundle.with_intermediates_excluding((orphan.pem() + &below.pem()).as_bytes(), now()).unwrap();
    assert_eq!((both.intermediates().len(), both.excluded().len()), (1, 3));
    assert_eq!(both.excluded()[2].code(), "trust.no_issuer");
    assert_eq!(both.without_exclusions().unwrap_err().code(), "trust.expired");
}

#[test]
fn a_required_policy_is_one_that_all_certificates_have() {
    /// `certificatePolicies` with these last arcs below 1.2.3, or `anyPolicy` for 0.
    fn policies(arcs: &[u8]) -> Vec<u8> {
        let policy = |arc: &u8| match arc {
            0 => encode(0x30, &encode(6, &[0x55, 0x1d, 0x20, 0])),
            arc => encode(0x30, &encode(6, &[0x2a, 3, *arc])),
        };
        extension(POLICIES, false, &encode(0x30, &arcs.iter().flat_map(policy).collect::<Vec<_>>()))
    }
    /// `policyConstraints` that require a policy after `skip` certificates.
    fn required(skip: u8) -> Vec<u8> {
        extension(POLICY_CONSTRAINTS, true, &[0x30, 3, 0x80, 1, skip])
    }
    let no_any = extension(INHIBIT_ANY_POLICY, true, &[2, 1, 0]);
    type Extensions = Vec<Vec<u8>>;
    let cases: &[(&str, Extensions, Extensions)] = &[
        ("verified", vec![required(0), policies(&[1, 2])], vec![policies(&[2])]),
        ("verified", vec![required(0), policies(&[0])], vec![policies(&[2])]),
        ("verified", vec![required(0), policies(&[1])], vec![policies(&[0])]),
        ("verified", vec![required(5)], vec![]),
        ("chain.no_policy", vec![required(0), policies(&[1])], vec![policies(&[2])]),
        ("chain.no_policy", vec![required(0), policies(&[1])], vec![]),
        ("chain.no_policy", vec![required(0)], vec![policies(&[1])]),
        ("chain.no_policy", vec![required(1), policies(&[1])], vec![policies(&[2])]),
        ("chain.no_policy", vec![required(0), no_any.clone(), policies(&[1])], vec![policies(&[0])]),
    ];
    let root = Root::new("root");
    let issuer = root.below("issuer", |_| {});
    for (expected, of_issuer, of_leaf) in cases {
        let changed = root.with_extensions(issuer.0.der(), |e| e.extend_from_slice(of_issuer));
        let leaf = issuer.with_extensions(&issuer.issue(&client(7)), |e| e.extend_from_slice(of_leaf));
        assert_eq!(code(&root.bundle(), &leaf, &[changed]), *expected, "{of_issuer:x?} {of_leaf:x?}");
    }
}

#[test]
fn a_critical_policy_is_processed_unless_its_qualifiers_are_unknown() {
    /// Critical `certificatePolicies` with one policy, which has a qualifier below 1.3.6.1.5.5.7.2.
    fn qualified(arc: u8) -> Vec<u8> {
        let id = encode(6, &[0x2b, 6, 1, 5, 5, 7, 2, arc]);
        let qualifier = encode(0x30, &[id, encode(0x16, b"https://cps.example")].concat());
        let policy = encode(0x30, &[encode(6, &[0x2a, 3, 1]), encode(0x30, &qualifier)].concat());
        extension(POLICIES, true, &encode(0x30, &policy))
    }
    let bare = extension(POLICIES, true, &encode(0x30, &encode(0x30, &encode(6, &[0x2a, 3, 1]))));
    let root = Root::new("root");
    let issuer = root.below("issuer", |_| {});
    for (expected, policies) in [
        ("verified", bare),
        ("verified", qualified(1)),
        ("verified", qualified(2)),
        ("chain.unsupported_extension", qualified(9)),
    ] {
        let with = |extensions: &mut Vec<Vec<u8>>| extensions.push(policies.clone());
        let leaf = issuer.with_extensions(&issuer.issue(&client(7)), with);
        assert_eq!(code(&root.bundle(), &leaf, &[issuer.0.der().clone()]), expected, "leaf");
        let changed = root.with_extensions(issuer.0.der(), with);
        let leaf = issuer.issue(&client(7));
        assert_eq!(code(&root.bundle(), &leaf, std::slice::from_ref(&changed)), expected, "issuer");
    }
}

#[test]
fn constraints_of_no_name_at_all_make_a_ca_unfit() {
    let root = Root::new("root");
    let issuer = root.below("issuer", |_| {});
    for (form, base) in [
        (0x81, "a@b@c.example"),
        (0x81, "@a.example"),
        (0x81, "a b@a.example"),
        (0x81, "a..b@a.example"),
        (0x81, ""),
        (0x82, "*.a.example"),
        (0x86, "spiffe://prod"),
        (0x86, "prod:443"),
        (0x86, "10.0.0.1"),
    ] {
        for value in
            [constraints(&[(form, base.as_bytes())], &[]), constraints(&[], &[(form, base.as_bytes())])]
        {
            let changed = root.with_extensions(issuer.0.der(), |extensions| {
                extensions.push(extension(NAME_CONSTRAINTS, true, &value));
            });
            let leaf = issuer.issue(&client(7));
            assert_eq!(code(&root.bundle(), &leaf, &[changed]), "chain.name_constraints", "{base}");
        }
    }
}
