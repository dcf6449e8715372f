//! The header: version, one scrypt stanza, and a MAC under the file key.

use std::io::{BufRead, Read};

use aws_lc_rs::hmac;
use base64::prelude::{BASE64_STANDARD_NO_PAD, Engine as _};

use super::error::{AgeError, MAX_LOG_N};
use super::keys::{FileKey, TAG, mac_key};

const VERSION: &str = "age-encryption.org/v1";

/// Limit on the length of a header line in octets.
const MAX_LINE: u64 = 128;

/// Parsed header. Its MAC is not verified yet: that takes the file key.
#[derive(Debug)]
pub(super) struct Header {
    pub(super) salt: [u8; 16],
    pub(super) log_n: u8,
    pub(super) wrapped_file_key: Vec<u8>,
    mac: [u8; 32],
    /// The octets under the MAC.
    authenticated: String,
}

impl Header {
    /// Read the header of a stream, up to and including the MAC line.
    pub(super) fn read(inner: &mut impl BufRead) -> Result<Self, AgeError> {
        if line(inner)? != VERSION {
            return Err(AgeError::Foreign);
        }
        let (stanza, body, end) = (line(inner)?, line(inner)?, line(inner)?);
        let (salt, log_n) = parse_stanza(&stanza).ok_or(AgeError::Foreign)?;
        if log_n > MAX_LOG_N {
            return Err(AgeError::TooCostly { log_n });
        }
        Ok(Self {
            salt,
            log_n,
            wrapped_file_key: decode(&body).filter(|key| key.len() == 16 + TAG).ok_or(AgeError::Foreign)?,
            mac: parse_mac(&end).ok_or(AgeError::Foreign)?,
            authenticated: authenticated(&stanza, &body),
        })
    }

    /// Verify the MAC.
    pub(super) fn verify(&self, file_key: &FileKey) -> Result<(), AgeError> {
        verify_mac(file_key, self.authenticated.as_bytes(), &self.mac)
    }

    /// The text of a header with one scrypt stanza.
    pub(super) fn text(
        salt: &[u8; 16],
        log_n: u8,
        wrapped_file_key: &[u8],
        file_key: &FileKey,
    ) -> Result<String, AgeError> {
        let stanza = format!("-> scrypt {} {log_n}", BASE64_STANDARD_NO_PAD.encode(salt));
        let header = authenticated(&stanza, &BASE64_STANDARD_NO_PAD.encode(wrapped_file_key));
        let mac = hmac::sign(&mac_key(file_key)?, header.as_bytes());
        Ok(format!("{header} {}\n", BASE64_STANDARD_NO_PAD.encode(mac)))
    }
}

fn authenticated(stanza: &str, body: &str) -> String {
    format!("{VERSION}\n{stanza}\n{body}\n---")
}

/// Last line of a header: `---`, a space, and unpadded base64 of 32 bytes.
pub(super) fn parse_mac(line: &str) -> Option<[u8; 32]> {
    line.strip_prefix("--- ").and_then(decode)?.try_into().ok()
}

pub(super) fn verify_mac(file_key: &FileKey, authenticated: &[u8], mac: &[u8; 32]) -> Result<(), AgeError> {
    hmac::verify(&mac_key(file_key)?, authenticated, mac).map_err(|_| AgeError::Altered)
}

/// Parse `-> scrypt SALT LOG_N`.
fn parse_stanza(line: &str) -> Option<([u8; 16], u8)> {
    let (salt, log_n) = line.strip_prefix("-> scrypt ")?.split_once(' ')?;
    // `parse` accepts leading zeros and a plus sign; the format allows one spelling of each number.
    let canonical = !log_n.starts_with(['0', '+']);
    Some((decode(salt)?.try_into().ok()?, log_n.parse().ok().filter(|_| canonical)?))
}

/// Decode canonical base64 without padding.
fn decode(text: &str) -> Option<Vec<u8>> {
    BASE64_STANDARD_NO_PAD.decode(text).ok()
}

fn line(inner: &mut impl BufRead) -> Result<String, AgeError> {
    let mut bytes = Vec::new();
    inner.take(MAX_LINE).read_until(b'\n', &mut bytes)?;
    match bytes.pop() {
        Some(b'\n') => String::from_utf8(bytes).map_err(|_| AgeError::Foreign),
        _ => Err(AgeError::Foreign),
    }
}
