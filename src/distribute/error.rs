//! Errors of a delivery, and the output of the remote side.

use std::io;
use std::path::PathBuf;

use super::package::FileStem;
use crate::clock::EntropyError;
use crate::error::{Code, Coded};

/// Standard error output of `ssh` and of the commands that it ran on the remote machine.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct RemoteOutput(String);

impl RemoteOutput {
    /// Make output fit for an error text: at most 20 lines of 300 characters, no control characters but
    /// line breaks, and without the frame of `@` that `ssh` draws around warnings.
    pub(super) fn from_bytes(bytes: &[u8]) -> Self {
        let text = String::from_utf8_lossy(bytes);
        let clean = |line: &str| line.chars().filter(|c| !c.is_control()).take(300).collect::<String>();
        let lines = text.lines().map(|line| clean(line.trim_matches(['@', ' ', '\r'])));
        let lines: Vec<String> = lines.filter(|line| !line.is_empty()).take(20).collect();
        if lines.is_empty() { Self::none() } else { Self(lines.join("\n")) }
    }

    /// Stand-in for output that is empty.
    pub(super) fn none() -> Self {
        Self("no output".to_owned())
    }

    /// Stand-in for output that did not end in time, or could not be read.
    pub(super) fn unavailable() -> Self {
        Self("the output could not be read".to_owned())
    }
}

/// Failed step of the remote script. The previous files are still in place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RemoteFailure {
    /// The directory cannot be created, or its mode cannot be set to 0700.
    #[error("the directory cannot be created, or cannot be closed to other users")]
    Directory,
    /// The directory belongs to another account, which could replace the files in it.
    #[error("the directory belongs to another account than the one logged in")]
    Foreign,
    /// A directory, link or device has the name of a file to be delivered.
    #[error("something that is not a regular file has the name of a delivered file")]
    Occupied,
    /// A file could not be renamed; the previous files were restored.
    #[error("the files cannot be put in place")]
    Place,
    /// A file could not be read back.
    #[error("the files cannot be read back")]
    Read,
    /// The account of the files does not exist, or the login cannot act for it.
    #[error("the login cannot write files of this account or group")]
    Account,
    /// The directory is open to other users and holds files that are not part of the delivery.
    #[error("the directory is open to other users and holds other files")]
    Shared,
    /// A file could not be written.
    #[error("the files cannot be written")]
    Write,
}

impl RemoteFailure {
    /// Parse the word after `failed` in the script's output.
    pub(super) fn from_word(word: &str) -> Option<Self> {
        Some(match word {
            "account" => Self::Account,
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

/// Failure of a delivery.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeliveryError {
    /// The connection ended before all files had arrived.
    #[error("the connection ended before all files had arrived; nothing was changed there")]
    Cut {
        /// Remote output.
        #[source]
        output: RemoteOutput,
    },
    /// The machine refused the login.
    #[error("the machine denied access")]
    Denied {
        /// Remote output.
        #[source]
        output: RemoteOutput,
    },
    /// A file read back differs from the file sent.
    #[error("{file} differs from the file that was sent; nothing was changed there")]
    Differs {
        /// Name of the file.
        file: String,
    },
    /// The operating system provides no random bytes.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
    /// The host key differs from the known one: it may be another machine.
    #[error("the machine's host key differs from the known one")]
    HostKeyChanged {
        /// Remote output.
        #[source]
        output: RemoteOutput,
    },
    /// The host key is unknown, and `ssh` may not ask the user.
    #[error("the machine's host key is not known")]
    HostKeyUnknown {
        /// Remote output.
        #[source]
        output: RemoteOutput,
    },
    /// `ssh` cannot be started.
    #[error("cannot run {}", program.display())]
    NoSsh {
        /// Program that was to be run.
        program: PathBuf,
        /// Error of the operating system.
        source: io::Error,
    },
    /// The certificate comes without its key, and the key in place belongs to another certificate.
    #[error(
        "{stem}.key there does not belong to this certificate: {stem}.crt beside it has another key, or cannot be read; nothing was changed there"
    )]
    OtherKey {
        /// File name of certificate and key.
        stem: FileStem,
    },
    /// A step of the remote script failed.
    #[error("{failure}; nothing was changed there")]
    Refused {
        /// Step that failed.
        failure: RemoteFailure,
        /// Remote output.
        #[source]
        output: RemoteOutput,
    },
    /// The files are in place; the result of the reload command is unknown.
    #[error("the files are in place, but the connection ended before the reload command did")]
    ReloadUnknown {
        /// Remote output.
        #[source]
        output: RemoteOutput,
    },
    /// The files could not be put in place, and the previous ones could not all be restored.
    #[error(
        "the files cannot be put in place, and not every previous file could be restored: what is missing is there as .NAME.cluster-ca-*.old"
    )]
    RollbackFailed {
        /// Remote output.
        #[source]
        output: RemoteOutput,
    },
    /// The time limit expired.
    #[error("the delivery took longer than {seconds} s; nothing was changed there")]
    Timeout {
        /// Time limit.
        seconds: u64,
        /// Remote output.
        #[source]
        output: RemoteOutput,
    },
    /// The connection failed before the remote script started.
    #[error("the connection to the machine failed; nothing was changed there")]
    Unreachable {
        /// Remote output.
        #[source]
        output: RemoteOutput,
    },
    /// The connection ended after the order to put the files in place, and before its confirmation.
    #[error("the connection ended before the machine confirmed the new files; they may be in place or not")]
    Unsure {
        /// Remote output.
        #[source]
        output: RemoteOutput,
    },
}

impl DeliveryError {
    /// The error behind a failure of `ssh` itself. OpenSSH has not changed these texts for decades.
    pub(super) fn of_ssh(output: RemoteOutput) -> Self {
        let contains = |text| output.0.contains(text);
        if contains("REMOTE HOST IDENTIFICATION HAS CHANGED") {
            Self::HostKeyChanged { output }
        } else if contains("Host key verification failed") {
            Self::HostKeyUnknown { output }
        } else if contains("Permission denied (") || contains("Too many authentication failures") {
            Self::Denied { output }
        } else {
            Self::Unreachable { output }
        }
    }
}

impl Coded for DeliveryError {
    fn coded(&self) -> Code {
        match self {
            Self::Cut { .. } => Code::unavailable("network.closed"),
            Self::Denied { .. } => Code::unavailable("network.denied"),
            Self::Differs { .. } => Code::unavailable("remote.differs"),
            Self::Entropy(error) => error.coded(),
            Self::HostKeyChanged { .. } => Code::unavailable("network.host_key_changed"),
            Self::HostKeyUnknown { .. } => Code::unavailable("network.host_key_unknown"),
            Self::NoSsh { .. } => Code::environment("system.ssh"),
            Self::OtherKey { .. } => Code::unavailable("remote.other_key"),
            Self::Refused { failure, .. } => match failure {
                RemoteFailure::Directory => Code::unavailable("remote.directory"),
                RemoteFailure::Account => Code::unavailable("remote.account"),
                RemoteFailure::Foreign => Code::unavailable("remote.foreign_owner"),
                RemoteFailure::Occupied => Code::unavailable("remote.occupied"),
                RemoteFailure::Place => Code::unavailable("remote.place"),
                RemoteFailure::Read => Code::unavailable("remote.read"),
                RemoteFailure::Shared => Code::unavailable("remote.shared_directory"),
                RemoteFailure::Write => Code::unavailable("remote.write"),
            },
            Self::ReloadUnknown { .. } => Code::unavailable("remote.reload"),
            Self::RollbackFailed { .. } => Code::unavailable("remote.rollback"),
            Self::Timeout { .. } => Code::unavailable("network.timeout"),
            Self::Unreachable { .. } => Code::unavailable("network.unreachable"),
            Self::Unsure { .. } => Code::unavailable("network.unsure"),
        }
    }
}
