//! Why a package is not where it should be.

use std::io;
use std::path::PathBuf;

use super::package::FileStem;
use crate::clock::EntropyError;

/// What `ssh` or the far side said on standard error.
#[derive(Clone, Debug, Default, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Words(String);

impl Words {
    /// Made fit for a message: bounded, without control characters but line breaks, and without the
    /// frame that `ssh` draws around its warnings.
    pub(super) fn from_bytes(bytes: &[u8]) -> Self {
        let text = String::from_utf8_lossy(bytes);
        let clean = |line: &str| line.chars().filter(|c| !c.is_control()).take(300).collect::<String>();
        let lines = text.lines().map(|line| clean(line.trim_matches(['@', ' ', '\r'])));
        let lines: Vec<String> = lines.filter(|line| !line.is_empty()).take(20).collect();
        Self(if lines.is_empty() { "nothing was said".to_owned() } else { lines.join("\n") })
    }
}

/// What the far side could not or would not do; it has its old files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RemoteFault {
    /// The directory cannot be made or closed to others.
    #[error("the directory cannot be made, or not be closed to others")]
    Directory,
    /// The directory belongs to another account, which could change what is in it.
    #[error("the directory belongs to another account than the one that was logged in to")]
    Foreign,
    /// Where a file is to be there is something else than a file.
    #[error("something that is not a file has the name of one")]
    Occupied,
    /// The files could not be renamed; the old ones were brought back.
    #[error("the files cannot be put in their places")]
    Place,
    /// The files could not be read back.
    #[error("what arrived cannot be read back")]
    Read,
    /// The directory is open to others and holds more than files.
    #[error("the directory is open to others and holds other directories")]
    Shared,
    /// The files could not be written.
    #[error("the files cannot be written")]
    Write,
}

impl RemoteFault {
    pub(super) fn from_word(word: &str) -> Option<Self> {
        Some(match word {
            "directory" => Self::Directory,
            "foreign" => Self::Foreign,
            "occupied" => Self::Occupied,
            "place" => Self::Place,
            "read" => Self::Read,
            "shared" => Self::Shared,
            "write" => Self::Write,
            _ => return None,
        })
    }
}

/// Why a package is not where it should be.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeliveryError {
    /// The connection ended before everything was there.
    #[error("the connection ended before everything had arrived; nothing was changed there")]
    Cut {
        /// What was said.
        #[source]
        words: Words,
    },
    /// The machine let nobody in.
    #[error("the machine denied access")]
    Denied {
        /// What was said.
        #[source]
        words: Words,
    },
    /// What came back is not what was sent.
    #[error("{file} came back as another file than was sent; nothing was changed there")]
    Differs {
        /// The file.
        file: String,
    },
    /// No randomness.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
    /// The machine has another key than it had before: it may be another machine.
    #[error("the machine has another host key than the known one")]
    HostKeyChanged {
        /// What was said.
        #[source]
        words: Words,
    },
    /// The machine's key is not known, and nobody can be asked.
    #[error("the machine's host key is not known")]
    HostKeyUnknown {
        /// What was said.
        #[source]
        words: Words,
    },
    /// There is no `ssh` here.
    #[error("cannot run {}", program.display())]
    NoSsh {
        /// The program.
        program: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The certificate comes without its key, and the key that is there is another's: together they would
    /// serve nobody.
    #[error(
        "{stem}.key there is not this certificate's: {stem}.crt beside it has another key, or cannot be read; nothing was changed there"
    )]
    OtherKey {
        /// What certificate and key are called there.
        stem: FileStem,
    },
    /// The far side gave up.
    #[error("{fault}; nothing was changed there")]
    Refused {
        /// At what.
        fault: RemoteFault,
        /// What was said.
        #[source]
        words: Words,
    },
    /// The files are in their places; what became of the reload command is not known.
    #[error("the files are in their places, but the reload command had not ended when the connection did")]
    ReloadUnknown {
        /// What was said.
        #[source]
        words: Words,
    },
    /// It took too long.
    #[error("it was not done after {seconds} s; nothing was changed there")]
    Timeout {
        /// How long was waited.
        seconds: u64,
        /// What was said.
        #[source]
        words: Words,
    },
    /// The machine could not be reached, or was lost before it had said anything.
    #[error("the connection to the machine failed; nothing was changed there")]
    Unreachable {
        /// What was said.
        #[source]
        words: Words,
    },
    /// The connection ended after the files were to be put in their places.
    #[error("the connection ended before the machine said whether it has the new files")]
    Unsure {
        /// What was said.
        #[source]
        words: Words,
    },
}

impl DeliveryError {
    /// What `ssh` itself failed at: it says so in words that have been the same for decades.
    pub(super) fn of_ssh(words: Words) -> Self {
        let says = |text| words.0.contains(text);
        if says("REMOTE HOST IDENTIFICATION HAS CHANGED") {
            Self::HostKeyChanged { words }
        } else if says("Host key verification failed") {
            Self::HostKeyUnknown { words }
        } else if says("Permission denied (") || says("Too many authentication failures") {
            Self::Denied { words }
        } else {
            Self::Unreachable { words }
        }
    }

    /// The stable code of this error.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Cut { .. } => "network.cut",
            Self::Denied { .. } => "network.denied",
            Self::Differs { .. } => "remote.differs",
            Self::Entropy(error) => error.code(),
            Self::HostKeyChanged { .. } => "network.host_key_changed",
            Self::HostKeyUnknown { .. } => "network.host_key_unknown",
            Self::NoSsh { .. } => "system.ssh",
            Self::OtherKey { .. } => "remote.other_key",
            Self::Refused { fault, .. } => match fault {
                RemoteFault::Directory => "remote.directory",
                RemoteFault::Foreign => "remote.foreign_owner",
                RemoteFault::Occupied => "remote.occupied",
                RemoteFault::Place => "remote.place",
                RemoteFault::Read => "remote.read",
                RemoteFault::Shared => "remote.shared_directory",
                RemoteFault::Write => "remote.write",
            },
            Self::ReloadUnknown { .. } => "remote.reload",
            Self::Timeout { .. } => "network.timeout",
            Self::Unreachable { .. } => "network.unreachable",
            Self::Unsure { .. } => "network.unsure",
        }
    }
}
