//! Dialogue with the remote script over the pipes of `ssh`.

use std::io::{self, Read, Write};
use std::process::{ChildStdin, ChildStdout, ExitStatus};
use std::time::Duration;

use serde::Serialize;
use zeroize::Zeroizing;

use super::error::{DeliveryError, RemoteFailure, RemoteOutput};
use super::installation::KeyMode;
use super::package::{FileStem, Package};
use crate::files::Access;
use crate::x509::{Sha256, pem};

/// Exit status of `ssh` for a failure of its own.
const SSH_FAILED: i32 = 255;

/// Bytes read while waiting for a line of the script. A login shell may print a banner first.
pub(super) const MAX_CHATTER: usize = 64 << 10;

/// Largest existing certificate read, in bytes; the script sends no larger one.
const MAX_EXISTING: usize = 64 << 10;

/// Result of a delivery: the files have been compared and are in place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Delivered {
    /// Files in place.
    pub files: Vec<DeliveredFile>,
    /// False if the same files were in place before.
    pub changed: bool,
    /// Exit status of the reload command, if there was one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reload_status: Option<u8>,
    /// Remote output, mostly that of the reload command.
    #[serde(skip)]
    pub output: RemoteOutput,
}

/// File of a completed delivery.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DeliveredFile {
    /// File name.
    pub name: String,
    /// Mode: four octal digits.
    pub mode: String,
    /// SHA-256 digest of the content; none for a private key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256: Option<Sha256>,
}

/// Dialogue with the remote script.
pub(super) struct DeliverySession {
    pub(super) input: ChildStdin,
    pub(super) output: ChildStdout,
    /// Start of every line of the script.
    pub(super) tag: String,
    pub(super) stage: DeliveryStage,
}

/// Stage that a delivery has reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DeliveryStage {
    /// Nothing was received yet.
    Connecting,
    /// The remote script runs.
    Started,
    /// The script was ordered to put the files in place.
    Committing,
    /// The script confirmed that the files are in place. The reload command runs.
    Placed,
}

/// Early end of a session.
pub(super) enum Abort {
    /// The remote side closed the connection or broke the protocol.
    Disconnected,
    /// The script failed and reported this word.
    Failed(String),
    /// This file was read back with different content.
    Differs(String),
    /// The key in place belongs to another certificate.
    OtherKey,
}

impl DeliverySession {
    /// Send the script and the files, compare the files read back, and have them put in place. Returns
    /// the files and the exit status of the reload command.
    pub(super) fn run(
        &mut self,
        script: &str,
        package: &Package,
        key_mode: KeyMode,
        reload: bool,
    ) -> Result<(Vec<DeliveredFile>, bool, Option<u8>), Abort> {
        // A script that fails early leaves the rest unread; its output gives the reason.
        let _ = self.send(script, package);
        self.expect("started")?;
        self.stage = DeliveryStage::Started;
        if !package.has_key() {
            self.check_existing_key(package.certificate())?;
        }
        self.expect("staged")?;
        for file in package.files() {
            if !self.reads_back(file.bytes())? {
                return Err(Abort::Differs(file.name.clone()));
            }
        }
        self.stage = DeliveryStage::Committing;
        let committed = self.input.write_all(b"place\n").and_then(|()| self.input.flush());
        committed.map_err(|_| Abort::Disconnected)?;
        let changed = self.expect_one_of(&["placed", "unchanged"])?.0 == "placed";
        self.stage = DeliveryStage::Placed;
        let reload_status = match reload && changed {
            true => self.expect("reloaded")?.parse().map(Some).map_err(|_| Abort::Disconnected)?,
            false => None,
        };
        let files = package.files().iter().map(|file| DeliveredFile {
            name: file.name.clone(),
            mode: format!("{:04o}", file.mode(key_mode)),
            sha256: (file.access() == Access::Public).then(|| Sha256::of(file.bytes())),
        });
        Ok((files.collect(), changed, reload_status))
    }

    fn send(&mut self, script: &str, package: &Package) -> io::Result<()> {
        self.input.write_all(script.as_bytes())?;
        for file in package.files() {
            self.input.write_all(file.bytes())?;
        }
        self.input.flush()
    }

    /// Wait for the script's line `word`, and return the rest of that line. Lines without the tag are
    /// output of the login shell and are skipped.
    fn expect(&mut self, word: &str) -> Result<String, Abort> {
        self.expect_one_of(&[word]).map(|(_, rest)| rest)
    }

    /// [`Self::expect`] for several words; returns the one that came.
    fn expect_one_of(&mut self, words: &[&str]) -> Result<(String, String), Abort> {
        let mut left = MAX_CHATTER;
        loop {
            let line = self.line(&mut left)?;
            let Some(message) = line.strip_prefix(&self.tag).and_then(|rest| rest.strip_prefix(' ')) else {
                continue;
            };
            let (first, rest) = message.split_once(' ').unwrap_or((message, ""));
            return match first {
                first if words.contains(&first) => Ok((first.to_owned(), rest.to_owned())),
                "failed" => Err(Abort::Failed(rest.to_owned())),
                _ => Err(Abort::Disconnected),
            };
        }
    }

    /// Read one line, byte by byte: bytes of a private key may follow it, and must not stay in a buffer.
    fn line(&mut self, left: &mut usize) -> Result<String, Abort> {
        let mut line = Vec::new();
        loop {
            let mut byte = [0];
            self.output.read_exact(&mut byte).map_err(|_| Abort::Disconnected)?;
            *left = left.checked_sub(1).ok_or(Abort::Disconnected)?;
            match byte {
                [b'\n'] => return Ok(String::from_utf8_lossy(&line).into_owned()),
                [other] => line.push(other),
            }
        }
    }

    /// Check a certificate delivered without its key against the key in place, through the certificate
    /// beside that key. A key without a certificate is not checked; its owner has just generated it.
    fn check_existing_key(&mut self, delivered: &[u8]) -> Result<(), Abort> {
        let length = self.expect("existing")?;
        if length == "none" {
            return Ok(());
        }
        let length = length.parse().ok().filter(|length| *length <= MAX_EXISTING);
        let mut existing = vec![0; length.ok_or(Abort::Disconnected)?];
        self.output.read_exact(&mut existing).map_err(|_| Abort::Disconnected)?;
        match (public_key_info(&existing), public_key_info(delivered)) {
            (Some(existing), Some(delivered)) if existing == delivered => Ok(()),
            _ => Err(Abort::OtherKey),
        }
    }

    /// Compare the next bytes of the output with `sent`; false if they differ.
    fn reads_back(&mut self, sent: &[u8]) -> Result<bool, Abort> {
        let mut buffer = Zeroizing::new([0; 16 << 10]);
        for block in sent.chunks(buffer.len()) {
            let (received, _) = buffer.split_at_mut(block.len());
            self.output.read_exact(received).map_err(|_| Abort::Disconnected)?;
            if received != block {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// Public key of the first certificate in `pem`; `None` if there is none that can be parsed.
fn public_key_info(pem: &[u8]) -> Option<Vec<u8>> {
    pem::certificates(pem).ok()?.into_iter().next().map(|certificate| certificate.public_key_info)
}

impl Abort {
    /// The error to report. `status` is that of `ssh`, `expired` the time limit if it was reached.
    pub(super) fn into_error(
        self,
        stem: &FileStem,
        output: RemoteOutput,
        status: Option<ExitStatus>,
        expired: Option<Duration>,
        stage: DeliveryStage,
    ) -> DeliveryError {
        match self {
            Self::Differs(file) => DeliveryError::Differs { file },
            Self::OtherKey => DeliveryError::OtherKey { stem: stem.clone() },
            Self::Failed(word) if word == "rollback" => DeliveryError::RollbackFailed { output },
            Self::Failed(word) => match RemoteFailure::from_word(&word) {
                Some(failure) => DeliveryError::Refused { failure, output },
                None => DeliveryError::Cut { output },
            },
            Self::Disconnected => match (stage, expired, status.and_then(|status| status.code())) {
                (DeliveryStage::Placed, _, _) => DeliveryError::ReloadUnknown { output },
                (DeliveryStage::Committing, _, _) => DeliveryError::Unsure { output },
                (_, Some(limit), _) => DeliveryError::Timeout { seconds: limit.as_secs(), output },
                (DeliveryStage::Connecting, None, Some(SSH_FAILED)) => DeliveryError::of_ssh(output),
                _ => DeliveryError::Cut { output },
            },
        }
    }
}
