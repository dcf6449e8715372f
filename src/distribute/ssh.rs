//! A package put on a machine by the machine's own OpenSSH: one connection, in which the far side
//! stages the files, sends them back to be compared, and only then puts them in their places.
//!
//! Keys, agents, jump hosts and known hosts are `ssh`'s business, as its user set them up; nothing of
//! the package is ever an argument, here or there.

use std::io::{self, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use serde::Serialize;
use zeroize::Zeroizing;

use super::destination::Destination;
use super::package::{FileStem, Package};
use super::script::{ReloadCommand, remote_command, script};
use crate::clock::{Entropy, EntropyError};
use crate::x509::{Sha256, hex, pem};

/// The exit status by which `ssh` says that it was itself what failed.
const SSH_FAILED: i32 = 255;

/// The most that is read of what a login shell says before the script speaks, and of what is said on
/// standard error.
const MOST_CHATTER: usize = 64 << 10;

/// The most that is taken as the certificate which is there already; the script sends no more.
const MOST_BESIDE: usize = 64 << 10;

/// How long to wait for the last words of an `ssh` that was ended.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// How to reach machines.
#[derive(Clone, Debug)]
pub struct Ssh {
    /// The program; `ssh` is looked for in `PATH`.
    pub program: PathBuf,
    /// Whether it may ask on the terminal for a password or an unknown host.
    pub may_ask: bool,
    /// The longest that one delivery may take, the reload command included.
    pub patience: Duration,
}

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

impl Ssh {
    /// The arguments for `destination`; the command to run there comes after them.
    fn arguments(&self, destination: &Destination) -> Vec<String> {
        let mut arguments: Vec<String> = ["-T", "-a", "-x"].map(str::to_owned).into();
        let batch = if self.may_ask { "BatchMode=no" } else { "BatchMode=yes" };
        for option in [
            batch,
            "ClearAllForwardings=yes",
            "ConnectTimeout=15",
            // An existing shared connection is used; becoming one for others would outlive the delivery.
            "ControlMaster=no",
            "LogLevel=ERROR",
            "PermitLocalCommand=no",
            "RemoteCommand=none",
            "ServerAliveCountMax=3",
            "ServerAliveInterval=10",
        ] {
            arguments.extend(["-o".to_owned(), option.to_owned()]);
        }
        if let Some(user) = destination.user() {
            arguments.extend(["-l".to_owned(), user.to_owned()]);
        }
        if let Some(port) = destination.port() {
            arguments.extend(["-p".to_owned(), port.to_string()]);
        }
        arguments.extend(["--".to_owned(), destination.host().to_owned()]);
        arguments
    }

    /// Puts `package` into the directory of `destination` and runs `reload` there.
    ///
    /// The machine has either all of the new files or all of its old ones, whatever goes wrong. A
    /// reload command that fails takes nothing back: see [`Delivered::reload_status`].
    ///
    /// # Errors
    /// [`DeliveryError`]; after [`DeliveryError::ReloadUnknown`] the new files are there, after
    /// [`DeliveryError::Unsure`] they may be, after any other the old ones are.
    pub fn deliver(
        &self,
        package: &Package,
        destination: &Destination,
        reload: Option<&ReloadCommand>,
        entropy: &dyn Entropy,
    ) -> Result<Delivered, DeliveryError> {
        let mut random = [0; 8];
        entropy.fill(&mut random)?;
        let tag = format!("cluster-ca-{}", hex(&random));
        let script = script(package, destination, reload, &tag);
        let mut command = Command::new(&self.program);
        command.args(self.arguments(destination)).arg(remote_command(script.len()));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        if !self.may_ask {
            // So that it can be ended with the proxies that it started. One that asks on the terminal
            // has to stay in the terminal's own group.
            command.process_group(0);
        }
        let mut ssh = command
            .spawn()
            .map_err(|source| DeliveryError::NoSsh { program: self.program.clone(), source })?;
        let (Some(input), Some(output), Some(complaints)) =
            (ssh.stdin.take(), ssh.stdout.take(), ssh.stderr.take())
        else {
            return Err(DeliveryError::Cut { words: Words::default() });
        };
        let complaints = listen(complaints);
        let watchdog = Watchdog::watch(&ssh, !self.may_ask, self.patience);
        let mut talk = Talk { input, output, tag, reached: Reached::Nothing };
        let said = talk.hold(&script, package, reload.is_some());
        let reached = talk.reached;
        // Closes both pipes: an unfinished script notices, tidies up and ends.
        drop(talk);
        // The end of its complaints is its own end; the watchdog still watches.
        let words = complaints.recv_timeout(self.patience + LAST_WORDS).unwrap_or_default();
        let late = watchdog.call_off();
        let status = ssh.wait().ok();
        let said = said.map(|delivered| Delivered { words: words.clone(), ..delivered });
        said.map_err(|ended| {
            ended.explain(package.stem(), words, status, late.then_some(self.patience), reached)
        })
    }
}

/// Reads what `ssh` and the far side complain of, beside the conversation.
fn listen(mut complaints: ChildStderr) -> mpsc::Receiver<Words> {
    let (said, heard) = mpsc::channel();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let limit = u64::try_from(MOST_CHATTER).unwrap_or(u64::MAX);
        // What was read before an error is still worth hearing; what is too much is read and dropped.
        let _ = complaints.by_ref().take(limit).read_to_end(&mut bytes);
        let _ = io::copy(&mut complaints, &mut io::sink());
        let _ = said.send(Words::from_bytes(&bytes));
    });
    heard
}

/// Ends a process that takes too long, or all of its group.
struct Watchdog {
    cancel: mpsc::Sender<()>,
    watching: thread::JoinHandle<bool>,
}

impl Watchdog {
    /// Watches `child`, which must not be waited for before the watch is called off: its number could
    /// be another's by then.
    fn watch(child: &Child, group: bool, patience: Duration) -> Self {
        let (cancel, cancelled) = mpsc::channel();
        let pid = Pid::from_child(child);
        let watching = thread::spawn(move || {
            let late = cancelled.recv_timeout(patience) == Err(RecvTimeoutError::Timeout);
            if late {
                let end = if group { kill_process_group } else { kill_process };
                // It may have ended by itself just now.
                let _ = end(pid, Signal::TERM);
            }
            late
        });
        Self { cancel, watching }
    }

    /// Whether it had to act.
    fn call_off(self) -> bool {
        drop(self.cancel);
        self.watching.join().unwrap_or(false)
    }
}

/// The conversation with the script.
struct Talk {
    input: ChildStdin,
    output: ChildStdout,
    tag: String,
    reached: Reached,
}

/// How far a delivery came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reached {
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
enum Ended {
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
    fn hold(&mut self, script: &str, package: &Package, reload: bool) -> Result<Delivered, Ended> {
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
    fn explain(
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
                (Reached::Nothing, None, Some(SSH_FAILED)) => refused_by_ssh(words),
                _ => DeliveryError::Cut { words },
            },
        }
    }
}

/// What `ssh` itself failed at: it says so in words that have been the same for decades.
fn refused_by_ssh(words: Words) -> DeliveryError {
    let says = |text| words.0.contains(text);
    if says("REMOTE HOST IDENTIFICATION HAS CHANGED") {
        DeliveryError::HostKeyChanged { words }
    } else if says("Host key verification failed") {
        DeliveryError::HostKeyUnknown { words }
    } else if says("Permission denied (") || says("Too many authentication failures") {
        DeliveryError::Denied { words }
    } else {
        DeliveryError::Unreachable { words }
    }
}

/// What `ssh` or the far side said on standard error.
#[derive(Clone, Debug, Default, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Words(String);

impl Words {
    /// Made fit for a message: bounded, without control characters but line breaks, and without the
    /// frame that `ssh` draws around its warnings.
    fn from_bytes(bytes: &[u8]) -> Self {
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
    fn from_word(word: &str) -> Option<Self> {
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
