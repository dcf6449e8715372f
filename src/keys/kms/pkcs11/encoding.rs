//! Public keys and signatures of a token, converted to DER.

use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, ParsedPublicKey};

use crate::x509::der::{Reader, element, integer, tag};

/// Length of a coordinate, and of each half of a raw signature, in octets.
pub(super) const COORDINATE: usize = 32;

/// SubjectPublicKeyInfo of a P-256 key (RFC 5480), up to its point.
const P256_PREFIX: &[u8] = &[
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86,
    0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];

/// SubjectPublicKeyInfo from CKA_EC_POINT: the point in a DER octet string, as in the standard, or bare, as in
/// some tokens. `None` for anything but an uncompressed point of P-256.
pub(super) fn public_key_info(ec_point: &[u8]) -> Option<Vec<u8>> {
    let is_point = |bytes: &[u8]| bytes.len() == 1 + 2 * COORDINATE && bytes.first() == Some(&4);
    let wrapped = Reader::whole(ec_point, tag::OCTET_STRING).ok();
    let point = wrapped.into_iter().chain([ec_point]).find(|bytes| is_point(bytes))?;
    ParsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point).ok()?;
    Some([P256_PREFIX, point].concat())
}

/// DER (RFC 3279, section 2.2.3) of a raw ECDSA signature, the concatenation of `r` and `s`.
pub(super) fn signature(raw: &[u8]) -> Option<Vec<u8>> {
    let (r, s) = raw.split_at_checked(COORDINATE).filter(|(_, s)| s.len() == COORDINATE)?;
    let mut numbers = Vec::with_capacity(2 * (COORDINATE + 3));
    integer(&mut numbers, r);
    integer(&mut numbers, s);
    Some(element(tag::SEQUENCE, &numbers))
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::rand::SystemRandom;
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, UnparsedPublicKey};

    use super::*;
    use crate::keys::private_key::PrivateKey;
    use crate::x509::KeyAlgorithm;

    #[test]
    fn a_point_is_read_with_and_without_its_octet_string() {
        let key = PrivateKey::generate(KeyAlgorithm::EcdsaP256).unwrap();
        let info = key.public_key_info();
        let point = &info[P256_PREFIX.len()..];
        assert_eq!(public_key_info(point).unwrap(), info);
        assert_eq!(public_key_info(&element(tag::OCTET_STRING, point)).unwrap(), info);

        let mut off_the_curve = point.to_vec();
        off_the_curve[64] ^= 1;
        let compressed = [&[2 + (point[64] & 1)], &point[1..33]].concat();
        for bad in [
            &[][..],
            &[4],
            &[4, 65],
            &point[..64],
            &[point, &[0]].concat(),
            &off_the_curve,
            &[&[4][..], &[0; 64]].concat(),
            &compressed,
            &element(tag::OCTET_STRING, &compressed),
            &element(tag::OCTET_STRING, &element(tag::OCTET_STRING, point)),
            &element(tag::BIT_STRING, point),
            &info,
        ] {
            assert_eq!(public_key_info(bad), None, "{bad:02x?}");
        }
    }

    #[test]
    fn raw_signatures_become_valid_der() {
        let pkcs8 = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        let public = UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, pkcs8.public_key().as_ref().to_vec());
        // Enough that numbers with a leading bit and, likely, a leading zero are among them.
        for message in 0..1000_u16 {
            let message = message.to_be_bytes();
            let raw = pkcs8.sign(&SystemRandom::new(), &message).unwrap();
            public.verify(&message, &signature(raw.as_ref()).unwrap()).unwrap();
        }
        let small = [[0; 31].as_slice(), &[0x80], &[0; 31], &[1]].concat();
        assert_eq!(signature(&small).unwrap(), [0x30, 7, 2, 2, 0, 0x80, 2, 1, 1]);
        for bad in [&[][..], &[0; 63], &[0; 65], &[0; 96]] {
            assert_eq!(signature(bad), None);
        }
    }
}
