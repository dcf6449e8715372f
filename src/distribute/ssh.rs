//! Delivery over OpenSSH: one connection, in which the remote side stages the files, sends them back
//! for comparison, and only then puts them in place.
//!
//! Keys, agents, jump hosts and known hosts come from the user's own `ssh` configuration. No content of
//! the package is ever a command argument, neither here nor on the remote machine.

use std::io::{self, Read};
use std::os::unix::process::CommandExt;
use std::panic::resume_unwind;
use std::path::PathBuf;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use super::error::{DeliveryError, RemoteOutput};
use super::installation::Installation;
use super::package::Package;
use super::script::{ReloadCommand, remote_command, script};
use super::session::{Delivered, DeliverySession, DeliveryStage, MAX_CHATTER};
use super::ssh_destination::SshDestination;
use crate::clock::Entropy;
use crate::keys::kms::secret_variables;
use crate::x509::hex;

/// Wait for the end of the output of an `ssh` that was terminated.
const OUTPUT_GRACE: Duration = Duration::from_secs(5);

/// OpenSSH client settings.
#[derive(Clone, Debug)]
pub struct Ssh {
    /// Program to run; a bare name is searched in `PATH`.
    pub program: PathBuf,
    /// Allow `ssh` to ask on the terminal for a password or about an unknown host key.
    pub interactive: bool,
    /// Time limit of one delivery, the reload command included.
    pub timeout: Duration,
}

impl Ssh {
    /// Arguments for `destination`, up to and without the remote command.
    fn arguments(&self, destination: &SshDestination) -> Vec<String> {
        let mut arguments: Vec<String> = ["-T", "-a", "-x"].map(str::to_owned).into();
        let batch = if self.interactive { "BatchMode=no" } else { "BatchMode=yes" };
        for option in [
            batch,
            "ClearAllForwardings=yes",
            "ConnectTimeout=15",
            // Use an existing shared connection, but do not become one: it would outlive the delivery.
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

    /// Install `package` in the directory of `destination`, then run `reload` there. If the same files are in place,
    /// with the same modes and owners, nothing is changed and nothing runs.
    ///
    /// The files are replaced together or not at all. A reload command that fails changes nothing
    /// about that: see [`Delivered::reload_status`].
    ///
    /// # Errors
    /// [`DeliveryError`]. The new files are in place after [`DeliveryError::ReloadUnknown`], and may be
    /// after [`DeliveryError::Unsure`]. [`DeliveryError::RollbackFailed`] leaves some of both. Any other
    /// error leaves the previous files in place.
    pub fn deliver(
        &self,
        package: &Package,
        destination: &SshDestination,
        installation: &Installation,
        reload: Option<&ReloadCommand>,
        entropy: &dyn Entropy,
    ) -> Result<Delivered, DeliveryError> {
        let mut random = [0; 8];
        entropy.fill(&mut random)?;
        let tag = format!("cluster-ca-{}", hex(&random));
        let script = script(package, destination, installation, reload, &tag);
        let mut command = Command::new(&self.program);
        // Neither `ssh` nor a ProxyCommand has any use for the CA's secrets.
        for secret in secret_variables() {
            command.env_remove(secret);
        }
        command.args(self.arguments(destination)).arg(remote_command(script.len(), installation.privilege));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        if !self.interactive {
            // A group of its own, so that the watchdog terminates proxies too. An `ssh` that asks on the
            // terminal has to stay in the terminal's foreground group.
            command.process_group(0);
        }
        let mut ssh = command
            .spawn()
            .map_err(|source| DeliveryError::NoSsh { program: self.program.clone(), source })?;
        let (Some(input), Some(output), Some(stderr)) =
            (ssh.stdin.take(), ssh.stdout.take(), ssh.stderr.take())
        else {
            return Err(DeliveryError::Cut { output: RemoteOutput::unavailable() });
        };
        let stderr = collect(stderr);
        let watchdog = Watchdog::start(&ssh, !self.interactive, self.timeout);
        let mut session = DeliverySession { input, output, tag, stage: DeliveryStage::Connecting };
        let result = session.run(&script, package, installation.key_mode, reload.is_some());
        let stage = session.stage;
        // Closes both pipes: an unfinished script notices, cleans up and exits.
        drop(session);
        // Standard error closes when `ssh` exits; until then the watchdog stays armed.
        let output = stderr.recv_timeout(self.timeout + OUTPUT_GRACE);
        let output = output.unwrap_or_else(|_| RemoteOutput::unavailable());
        let expired = watchdog.stop().then_some(self.timeout);
        // The session has the result. The status only distinguishes failures of `ssh` itself.
        let status = ssh.wait().ok();
        match result {
            Ok((files, changed, reload_status)) => Ok(Delivered { files, changed, reload_status, output }),
            Err(abort) => Err(abort.into_error(package.stem(), output, status, expired, stage)),
        }
    }
}

/// Read standard error in a thread, so that neither side blocks on a full pipe.
fn collect(mut stderr: ChildStderr) -> mpsc::Receiver<RemoteOutput> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let limit = u64::try_from(MAX_CHATTER).unwrap_or(u64::MAX);
        // Bytes read before an error are still useful. The excess is read and dropped.
        let _ = stderr.by_ref().take(limit).read_to_end(&mut bytes);
        let _ = io::copy(&mut stderr, &mut io::sink());
        let _ = sender.send(RemoteOutput::from_bytes(&bytes));
    });
    receiver
}

/// Terminate a process, or its process group, at the end of a time limit.
struct Watchdog {
    cancel: mpsc::Sender<()>,
    thread: thread::JoinHandle<bool>,
}

impl Watchdog {
    /// Watch `child`. Call [`Self::stop`] before waiting for it: afterwards the system may give its
    /// process ID to another process.
    fn start(child: &Child, group: bool, limit: Duration) -> Self {
        let (cancel, cancelled) = mpsc::channel();
        let pid = Pid::from_child(child);
        let thread = thread::spawn(move || {
            let expired = cancelled.recv_timeout(limit) == Err(RecvTimeoutError::Timeout);
            if expired {
                let kill = if group { kill_process_group } else { kill_process };
                // The process may have exited just now.
                let _ = kill(pid, Signal::TERM);
            }
            expired
        });
        Self { cancel, thread }
    }

    /// Stop watching; returns whether the time limit expired.
    fn stop(self) -> bool {
        drop(self.cancel);
        self.thread.join().unwrap_or_else(|panic| resume_unwind(panic))
    }
}
