//! Round trips and damaged streams.

use std::io::{self, Read, Write};

use super::decryptor::Decryptor;
use super::encryptor::Encryptor;
use super::keys::TAG;
use super::payload::CHUNK;
use crate::clock::SystemEntropy;
use crate::error::Coded;
use crate::secret::Secret;

fn passphrase(text: &str) -> Secret {
    Secret::new(text.as_bytes().to_vec())
}

fn encrypt(text: &[u8]) -> Vec<u8> {
    let mut encryptor =
        Encryptor::with_work(Vec::new(), &passphrase("correct horse"), &SystemEntropy, 4).unwrap();
    encryptor.write_all(text).unwrap();
    encryptor.finish().unwrap()
}

fn decrypt(stream: &[u8]) -> Result<Vec<u8>, &'static str> {
    let mut decryptor = Decryptor::new(stream, &passphrase("correct horse")).map_err(|error| error.code())?;
    let mut text = Vec::new();
    match decryptor.read_to_end(&mut text) {
        Ok(_) => Ok(text),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => Err("sealed.altered"),
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn every_length_survives_a_round_trip() {
    for length in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK] {
        let text: Vec<u8> = (0..=255).cycle().take(length).collect();
        assert_eq!(decrypt(&encrypt(&text)), Ok(text), "{length}");
    }
}

#[test]
fn a_wrong_passphrase_decrypts_nothing_and_a_short_one_encrypts_nothing() {
    let stream = encrypt(b"text");
    let error = Decryptor::new(stream.as_slice(), &passphrase("correct hors")).unwrap_err();
    assert_eq!(error.code(), "sealed.passphrase");
    let error = Encryptor::new(Vec::new(), &passphrase("eleven char"), &SystemEntropy).unwrap_err();
    assert_eq!(error.code(), "sealed.weak_passphrase");
}

#[test]
fn a_modified_removed_or_added_byte_is_detected() {
    let stream = encrypt(&vec![7; CHUNK + 100]);
    let header = stream.windows(4).position(|bytes| bytes == b"\n---").unwrap() + 49;
    // All of the header and of the nonce, and both ends of the chunks.
    let places = (0..header + 17).chain([header + CHUNK, stream.len() - 1]);
    for at in places {
        let mut changed = stream.clone();
        changed[at] ^= 1;
        assert!(decrypt(&changed).is_err(), "{at}");
    }
    assert_eq!(decrypt(&stream[..stream.len() - 1]), Err("sealed.altered"));
    let without_last_chunk = &stream[..stream.len() - 100 - TAG];
    assert_eq!(decrypt(without_last_chunk), Err("sealed.altered"));
    assert_eq!(decrypt(&[stream.as_slice(), &[0]].concat()), Err("sealed.altered"));
    assert_eq!(decrypt(b""), Err("sealed.foreign"));
    assert_eq!(decrypt(b"age-encryption.org/v1\n-> X25519 abc\n"), Err("sealed.foreign"));
}

#[test]
fn a_stream_that_asks_for_too_much_work_is_refused() {
    let text = String::from_utf8_lossy(&encrypt(b"")).into_owned();
    let costly = text.replacen(" 4\n", " 30\n", 1);
    assert_eq!(decrypt(costly.as_bytes()), Err("sealed.too_costly"));
}

#[test]
fn nothing_is_released_after_an_error() {
    let mut stream = encrypt(&vec![7; CHUNK + 100]);
    *stream.last_mut().unwrap() ^= 1;
    let mut decryptor = Decryptor::new(stream.as_slice(), &passphrase("correct horse")).unwrap();
    let mut text = Vec::new();
    decryptor.read_to_end(&mut text).unwrap_err();
    assert_eq!(text, vec![7; CHUNK], "the first chunk is authentic");
    for _ in 0..2 {
        let error = decryptor.read(&mut [0; 200]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }
}
