//! A package put on a machine by the machine's own OpenSSH: one connection, in which the far side
//! stages the files, sends them back to be compared, and only then puts them in their places.
//!
//! Keys, agents, jump hosts and known hosts are `ssh`'s business, as its user set them up; nothing of
//! the package is ever an argument, here or there.

use std::io::{self, Read};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use super::destination::Destination;
use super::error::{DeliveryError, Words};
use super::package::Package;
use super::script::{ReloadCommand, remote_command, script};
use super::session::{Delivered, MOST_CHATTER, Reached, Talk};
use crate::clock::Entropy;
use crate::x509::hex;

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
