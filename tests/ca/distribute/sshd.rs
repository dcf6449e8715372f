//! sshd on loopback, and an `ssh` configuration with several aliases for it.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::eventually::eventually;
use crate::home::{Finished, Home};

const SSHD: &str = "/usr/sbin/sshd";

/// Behaviour of the login shell before the requested command.
#[derive(Clone, Copy)]
pub(crate) enum Login {
    /// No output.
    Plain,
    /// Output as of a careless `.bashrc`; the command is logged in `commands`.
    Chatty,
}

/// Target machine `node1`. Its other aliases fail in different ways.
pub(crate) struct Machine {
    directory: TempDir,
    sshd: Child,
    port: u16,
}

impl Machine {
    pub(crate) fn start() -> Self {
        Self::with_login(Login::Plain)
    }

    pub(crate) fn with_login(login: Login) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = |name: &str| directory.path().join(name);
        for key in ["host_key", "other_host_key", "user_key"] {
            must(Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(path(key)));
        }
        fs::copy(path("user_key.pub"), path("authorized_keys")).expect("a copy");
        if rustix::process::geteuid().is_root() {
            // Directory for privilege separation; the sshd package creates it at boot.
            fs::create_dir_all("/run/sshd").expect("/run/sshd");
        }
        let forced = match login {
            Login::Plain => String::new(),
            Login::Chatty => format!("ForceCommand sh {}\n", path("login").display()),
        };
        let login = "echo Welcome.; echo cluster-ca- staged\n\
                     printf '%s\\n' \"$SSH_ORIGINAL_COMMAND\" >>DIR/commands\n\
                     exec sh -c \"$SSH_ORIGINAL_COMMAND\"\n";
        write(&path("login"), &login.replace("DIR", &directory.path().display().to_string()));
        let (sshd, port) = serve(directory.path(), &forced);
        let machine = Self { directory, sshd, port };
        machine.configure_client("");
        machine
    }

    /// Path of a file on the machine.
    pub(crate) fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Argument of `--to` for the alias `name` and `directory` below the machine's root.
    pub(crate) fn destination(&self, name: &str, directory: &str) -> String {
        format!("{name}:{}", self.path(directory).display())
    }

    /// Write the `ssh` configuration: the aliases, and lines of a test.
    pub(crate) fn configure_client(&self, more: &str) {
        let read = |name: &str| fs::read_to_string(self.path(name)).expect("a public key");
        let known = format!("known {}changed {}", read("host_key.pub"), read("other_host_key.pub"));
        write(&self.path("known_hosts"), &known);
        let at = self.directory.path().display();
        let config = format!(
            "Host changed\n HostKeyAlias changed\nHost unknown\n HostKeyAlias unknown\nHost down\n Port 1\n{more}\
             Host *\n HostName 127.0.0.1\n Port {}\n HostKeyAlias known\n IdentityFile {at}/user_key\n \
             IdentitiesOnly yes\n UserKnownHostsFile {at}/known_hosts\n GlobalKnownHostsFile /dev/null\n \
             StrictHostKeyChecking yes\n RemoteCommand echo never\n",
            self.port
        );
        write(&self.path("ssh_config"), &config);
        let program = format!(
            "#!/bin/sh\nprintf '%s\\n' \"$@\" >>{at}/arguments\nenv >{at}/environment\nexec /usr/bin/ssh -F {at}/ssh_config \"$@\"\n"
        );
        fs::create_dir_all(self.path("bin")).expect("a directory");
        write(&self.path("bin/ssh"), &program);
        fs::set_permissions(self.path("bin/ssh"), Permissions::from_mode(0o755)).expect("a mode");
    }

    /// `PATH` on which this machine's `ssh` comes first.
    pub(crate) fn search_path(&self) -> String {
        let path = std::env::var("PATH").expect("PATH");
        format!("{}:{path}", self.path("bin").display())
    }

    /// Run `cluster-ca` in `home` with the `ssh` configuration of this machine.
    pub(crate) fn run(&self, home: &Home, arguments: &[&str]) -> Finished {
        let mut command = home.command(&[&["--json"], arguments].concat());
        command.env("PATH", self.search_path());
        Finished::from(command.output().expect("cluster-ca starts"))
    }

    /// Mode and content by name of the files in a directory; empty if it does not exist.
    pub(crate) fn files(&self, directory: &str) -> BTreeMap<String, (u32, Vec<u8>)> {
        let Ok(entries) = fs::read_dir(self.path(directory)) else { return BTreeMap::new() };
        // A temporary file may disappear between two reads.
        let look = |entry: fs::DirEntry| {
            let mode = entry.metadata().ok()?.mode() & 0o7777;
            let name = entry.file_name().into_string().expect("a name");
            Some((name, (mode, fs::read(entry.path()).unwrap_or_default())))
        };
        entries.filter_map(|entry| look(entry.expect("an entry"))).collect()
    }

    pub(crate) fn mode(&self, directory: &str) -> u32 {
        fs::metadata(self.path(directory)).expect("metadata").mode() & 0o7777
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.sshd.kill();
        let _ = self.sshd.wait();
    }
}

/// Start sshd on a free port. Another program may take the port first, hence the retries.
fn serve(directory: &Path, forced: &str) -> (Child, u16) {
    for _ in 0..5 {
        let port = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a port").port();
        let at = directory.display();
        let config = format!(
            "Port {port}\nListenAddress 127.0.0.1\nHostKey {at}/host_key\nPidFile none\n\
             AuthorizedKeysFile {at}/authorized_keys\nStrictModes no\nUsePAM no\n\
             PasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitRootLogin yes\n\
             MaxStartups 100\nMaxSessions 100\n{forced}"
        );
        write(&directory.join("sshd_config"), &config);
        let mut sshd = Command::new(SSHD)
            .args(["-D", "-f"])
            .arg(directory.join("sshd_config"))
            .arg("-E")
            .arg(directory.join("sshd.log"))
            .stdin(Stdio::null())
            .spawn()
            .expect("sshd is needed (scripts/test)");
        let ready = eventually("sshd listens or ends", || {
            let ended = sshd.try_wait().expect("a child").is_some();
            (ended || TcpStream::connect(("127.0.0.1", port)).is_ok()).then_some(!ended)
        });
        if ready {
            return (sshd, port);
        }
    }
    let log = fs::read_to_string(directory.join("sshd.log")).unwrap_or_default();
    panic!("sshd does not start: {log}");
}

fn write(path: &Path, text: &str) {
    fs::File::create(path).and_then(|mut file| file.write_all(text.as_bytes())).expect("a file");
}

fn must(command: &mut Command) {
    assert!(command.status().expect("a program of OpenSSH").success(), "{command:?}");
}
