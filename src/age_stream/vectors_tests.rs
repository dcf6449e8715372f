//! The public test vectors of the age format (C2SP/CCTV), in `tests/vectors/age`.
//!
//! Vectors for a passphrase run through [`Decryptor`]. The format has other recipients and an ASCII armor,
//! which this program does not support: there, [`Decryptor`] must refuse the header, and the vector's file
//! key gives access to the MAC and the payload.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, Read};
use std::path::Path;

use zeroize::Zeroizing;

use super::decryptor::Decryptor;
use super::error::AgeError;
use super::header::{parse_mac, verify_mac};
use super::keys::FileKey;
use super::payload::PayloadReader;
use crate::secret::Secret;
use crate::x509::{Sha256, hex};

/// One test vector: `KEY: VALUE` lines, an empty line, the encrypted file.
struct Vector {
    name: String,
    expect: String,
    payload: Option<String>,
    file_key: Option<FileKey>,
    passphrases: Vec<Secret>,
    is_armored: bool,
    file: Vec<u8>,
}

impl Vector {
    fn parse(name: String, text: &[u8]) -> Self {
        let end = text.windows(2).position(|bytes| bytes == b"\n\n").unwrap();
        let head = std::str::from_utf8(&text[..end]).unwrap();
        let mut fields: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for line in head.lines() {
            let (key, value) = line.split_once(": ").unwrap();
            fields.entry(key).or_default().push(value);
        }
        let one = |key: &str| fields.get(key).map(|values| values[0].to_owned());
        let file = match one("compressed").as_deref() {
            None => text[end + 2..].to_vec(),
            Some("zlib") => miniz_oxide::inflate::decompress_to_vec_zlib(&text[end + 2..]).unwrap(),
            Some(other) => panic!("{name}: {other}"),
        };
        let passphrases = fields.get("passphrase").into_iter().flatten();
        Self {
            expect: one("expect").unwrap(),
            payload: one("payload"),
            file_key: one("file key").and_then(|key| unhex(&key).try_into().ok()).map(Zeroizing::new),
            passphrases: passphrases.map(|text| Secret::new(text.as_bytes().to_vec())).collect(),
            is_armored: one("armored").is_some(),
            file,
            name,
        }
    }
}

impl Vector {
    /// True if this program supports the file: a scrypt stanza, no armor.
    fn is_supported(&self) -> bool {
        !self.is_armored && self.file.windows(11).any(|bytes| bytes == b"\n-> scrypt ")
    }
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

fn vectors() -> Vec<Vector> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/age");
    let files = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let vectors: Vec<_> = files
        .filter(|path| path.extension().is_none())
        .map(|path| {
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            Vector::parse(name, &fs::read(path).unwrap())
        })
        .collect();
    assert_eq!(vectors.len(), 143);
    vectors
}

/// Vectors whose defect is a last chunk that is followed by octets, or a chunk at the end that is not the last.
/// The reference reader releases that chunk before it reports the error; [`PayloadReader`] releases nothing of it.
const WRONG_END: [&str; 7] = [
    "stream_no_final_full",
    "stream_no_final_two_chunks_full",
    "stream_trailing_garbage_long",
    "stream_trailing_garbage_short",
    "stream_two_final_chunks",
    "stream_two_final_chunks_full",
    "stream_two_final_chunks_second",
];

/// The outcome in the vectors' terms, and the SHA-256 of all plaintext that was released.
type Outcome = (&'static str, Option<String>);

fn released(mut payload: impl Read) -> Outcome {
    let mut text = Vec::new();
    let outcome = if payload.read_to_end(&mut text).is_ok() { "success" } else { "payload failure" };
    (outcome, Some(hex(&Sha256::of(&text).0)))
}

fn decrypt(file: &[u8], passphrase: &Secret) -> Outcome {
    match Decryptor::new(file, passphrase) {
        Ok(decryptor) => released(decryptor),
        Err(AgeError::Passphrase) => ("no match", None),
        Err(AgeError::Altered) => ("HMAC failure", None),
        Err(AgeError::Foreign | AgeError::TooCostly { .. }) => ("header failure", None),
        Err(error) => panic!("{error}"),
    }
}

/// Decrypt with the file key, passing over the recipients.
fn decrypt_with_file_key(file: &[u8], file_key: &FileKey) -> Outcome {
    let start = 1 + file.windows(4).position(|bytes| bytes == b"\n---").unwrap();
    let mut rest = &file[start..];
    let mut line = Vec::new();
    rest.read_until(b'\n', &mut line).unwrap();
    let line = line.strip_suffix(b"\n").and_then(|line| std::str::from_utf8(line).ok());
    let Some(mac) = line.and_then(parse_mac) else { return ("header failure", None) };
    if verify_mac(file_key, &file[..start + 3], &mac).is_err() {
        return ("HMAC failure", None);
    }
    match PayloadReader::new(rest, file_key) {
        Ok(payload) => released(payload),
        // The vectors count the nonce as a part of the header.
        Err(_) => ("header failure", None),
    }
}

#[test]
fn vectors_with_a_passphrase_decrypt_as_specified() {
    let mut tried = 0;
    for vector in vectors().iter().filter(|vector| vector.is_supported()) {
        for passphrase in &vector.passphrases {
            let (outcome, payload) = decrypt(&vector.file, passphrase);
            assert_eq!((outcome, payload), (&*vector.expect, vector.payload.clone()), "{}", vector.name);
            tried += 1;
        }
    }
    assert!(tried >= 25, "{tried}");
}

#[test]
fn vectors_of_the_mac_and_of_the_payload_decrypt_as_specified() {
    let mut tried = 0;
    for vector in vectors() {
        let is_below_recipients = vector.name.starts_with("hmac_") || vector.name.starts_with("stream_");
        if vector.is_armored || !(is_below_recipients || vector.expect == "success") {
            continue;
        }
        let (outcome, payload) = decrypt_with_file_key(&vector.file, &vector.file_key.unwrap());
        assert_eq!(outcome, &*vector.expect, "{}", vector.name);
        let is_complete = payload == vector.payload;
        assert_eq!(is_complete, !WRONG_END.contains(&&*vector.name), "{}: {payload:?}", vector.name);
        tried += 1;
    }
    assert!(tried >= 40, "{tried}");
}

#[test]
fn vectors_for_other_recipients_are_refused_by_their_header() {
    let passphrase = Secret::new(b"password".to_vec());
    for vector in vectors().iter().filter(|vector| !vector.is_supported()) {
        assert_eq!(decrypt(&vector.file, &passphrase).0, "header failure", "{}", vector.name);
    }
}
