//! The conversation with the script that the far side runs.

use std::io::{self, Read, Write};
use std::process::{ChildStdin, ChildStdout, ExitStatus};
use std::time::Duration;

use serde::Serialize;
use zeroize::Zeroizing;

use super::error::{DeliveryError, RemoteFault, Words};
use super::package::{FileStem, Package};
use crate::x509::{Sha256, pem};

/// The exit status by which `ssh` says that it was itself what failed.
const SSH_FAILED: i32 = 255;

/// The most that is read of what a login shell says before the script speaks, and of what is said on
/// standard error.
pub(super) const MOST_CHATTER: usize = 64 << 10;

/// The most that is taken as the certificate which is there already; the script sends no more.
const MOST_BESIDE: usize = 64 << 10;

/// A package that arrived, was compared and is in its place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Delivered {
    /// What is there now.
    pub files: Vec<DeliveredFile>,
    /// The exit status of the reload command, if there was one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reload_status: Option<u8>,
    /// What was said there, mostly by the reload command.
    #[serde(skip)]
    pub words: Words,
}

/// One file of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DeliveredFile {
    /// Its name.
    pub name: String,
    /// Its mode, in octal.
    pub mode: String,
    /// SHA-256 of what is in it, except for a private key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256: Option<Sha256>,
}

/// The conversation with the script.
pub(super) struct Talk {
    pub(super) input: ChildStdin,
    pub(super) output: ChildStdout,
    pub(super) tag: String,
    pub(super) reached: Reached,
}

/// How far a delivery came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reached {
    /// Nobody has answered.
    Nothing,
    /// The script runs over there.
    Script,
    /// The script was told to put the files in their places.
    Verdict,
    /// The script said that they are there; the reload command runs.
    Placed,
}

/// How a conversation ended early.
pub(super) enum Ended {
    /// The other side fell silent.
    Silent,
    /// The script gave up, with this word.
    Failed(String),
    /// A file came back as another than was sent.
    Differs(String),
    /// The key that is there, and would stay, is another certificate's.
    OtherKey,
}

impl Talk {
    pub(super) fn hold(&mut self, script: &str, package: &Package, reload: bool) -> Result<Delivered, Ended> {
        // When the far side gives up early it says why on its output: that is listened to even when
        // not everything could be sent.
        let _ = self.send(script, package);
        self.expect("begun")?;
        self.reached = Reached::Script;
        if !package.has_key() {
            self.look_beside(package.certificate())?;
        }
        self.expect("staged")?;
        for file in package.files() {
            self.compare(file.bytes()).map_err(|ended| match ended {
                Ended::Differs(_) => Ended::Differs(file.name.clone()),
                other => other,
            })?;
        }
        self.reached = Reached::Verdict;
        self.input.write_all(b"place\n").and_then(|()| self.input.flush()).map_err(|_| Ended::Silent)?;
        self.expect("placed")?;
        self.reached = Reached::Placed;
        let reload_status = match reload {
            true => self.expect("reloaded")?.parse().map(Some).map_err(|_| Ended::Silent)?,
            false => None,
        };
        let files = package.files().iter().map(|file| DeliveredFile {
            name: file.name.clone(),
            mode: format!("{:04o}", file.mode()),
            sha256: (file.access() == crate::files::Access::Public).then(|| Sha256::of(file.bytes())),
        });
        Ok(Delivered { files: files.collect(), reload_status, words: Words::default() })
    }

    fn send(&mut self, script: &str, package: &Package) -> io::Result<()> {
        self.input.write_all(script.as_bytes())?;
        for file in package.files() {
            self.input.write_all(file.bytes())?;
        }
        self.input.flush()
    }

    /// Waits for the script to say `word`; the answer is what follows the word. Lines that are not the
    /// script's are what a login shell says unasked.
    fn expect(&mut self, word: &str) -> Result<String, Ended> {
        let mut left = MOST_CHATTER;
        loop {
            let line = self.line(&mut left)?;
            let Some(said) = line.strip_prefix(&self.tag).and_then(|rest| rest.strip_prefix(' ')) else {
                continue;
            };
            let (first, rest) = said.split_once(' ').unwrap_or((said, ""));
            return match first {
                first if first == word => Ok(rest.to_owned()),
                "failed" => Err(Ended::Failed(rest.to_owned())),
                _ => Err(Ended::Silent),
            };
        }
    }

    /// One line, read byte by byte: what comes after it may be the bytes of a key, which must not stay
    /// behind in a buffer.
    fn line(&mut self, left: &mut usize) -> Result<String, Ended> {
        let mut line = Vec::new();
        loop {
            let mut byte = [0];
            self.output.read_exact(&mut byte).map_err(|_| Ended::Silent)?;
            *left = left.checked_sub(1).ok_or(Ended::Silent)?;
            match byte {
                [b'\n'] => return Ok(String::from_utf8_lossy(&line).into_owned()),
                [other] => line.push(other),
            }
        }
    }

    /// A certificate without its key takes its place beside the key that is there: that has to be its own.
    /// Where there is none, or none that a certificate tells of, it is whoever made the key that puts it there.
    fn look_beside(&mut self, delivered: &[u8]) -> Result<(), Ended> {
        let length = self.expect("beside")?;
        if length == "nothing" {
            return Ok(());
        }
        let length = length.parse().ok().filter(|length| *length <= MOST_BESIDE).ok_or(Ended::Silent)?;
        let mut beside = vec![0; length];
        self.output.read_exact(&mut beside).map_err(|_| Ended::Silent)?;
        match (public_key_info(&beside), public_key_info(delivered)) {
            (Some(there), Some(delivered)) if there == delivered => Ok(()),
            _ => Err(Ended::OtherKey),
        }
    }

    /// Whether the next bytes are those that were sent.
    fn compare(&mut self, sent: &[u8]) -> Result<(), Ended> {
        let mut arrived = Zeroizing::new([0; 16 << 10]);
        for block in sent.chunks(arrived.len()) {
            let (arrived, _) = arrived.split_at_mut(block.len());
            self.output.read_exact(arrived).map_err(|_| Ended::Silent)?;
            if arrived != block {
                return Err(Ended::Differs(String::new()));
            }
        }
        Ok(())
    }
}

/// The public key of the certificate that a file begins with.
fn public_key_info(pem: &[u8]) -> Option<Vec<u8>> {
    pem::certificates(pem).ok()?.into_iter().next().map(|certificate| certificate.public_key_info)
}

impl Ended {
    /// The error that it comes to, with what was said about it and how `ssh` ended.
    pub(super) fn explain(
        self,
        stem: &FileStem,
        words: Words,
        status: Option<ExitStatus>,
        late: Option<Duration>,
        reached: Reached,
    ) -> DeliveryError {
        match self {
            Self::Differs(file) => DeliveryError::Differs { file },
            Self::OtherKey => DeliveryError::OtherKey { stem: stem.clone() },
            Self::Failed(word) => match RemoteFault::from_word(&word) {
                Some(fault) => DeliveryError::Refused { fault, words },
                None => DeliveryError::Cut { words },
            },
            Self::Silent => match (reached, late, status.and_then(|status| status.code())) {
                (Reached::Placed, _, _) => DeliveryError::ReloadUnknown { words },
                (Reached::Verdict, _, _) => DeliveryError::Unsure { words },
                (_, Some(patience), _) => DeliveryError::Timeout { seconds: patience.as_secs(), words },
                (Reached::Nothing, None, Some(SSH_FAILED)) => DeliveryError::of_ssh(words),
                _ => DeliveryError::Cut { words },
            },
        }
    }
}
