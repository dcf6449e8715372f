//! Script that the remote side runs: the variables of one delivery, then a constant part.
//!
//! None of it appears on a command line there. [`remote_command`] contains only the length of the script,
//! and reads the script itself from standard input.

use std::fmt::Write as _;
use std::str::FromStr;

use super::installation::{AccountName, Installation, PrivilegeProgram};
use super::package::Package;
use super::ssh_destination::SshDestination;

use crate::error::{Code, Coded, excerpt};

/// Shell command that runs on the machine once the files are in place.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ReloadCommand(String);

impl ReloadCommand {
    /// Command line for `sh -c`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ReloadCommand {
    type Err = ReloadCommandError;

    /// Accept one line of 1 to 1024 bytes without control characters.
    fn from_str(text: &str) -> Result<Self, ReloadCommandError> {
        if text.trim().is_empty() || text.len() > 1024 || text.chars().any(char::is_control) {
            Err(ReloadCommandError { given: excerpt(text) })
        } else {
            Ok(Self(text.to_owned()))
        }
    }
}

/// Text that is not a [`ReloadCommand`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{given}` is not a reload command: one line of 1 to 1024 bytes is expected")]
pub struct ReloadCommandError {
    given: String,
}

impl Coded for ReloadCommandError {
    fn coded(&self) -> Code {
        Code::usage("input.reload")
    }
}

/// Script for one delivery. `tag` starts each line of its output, and is part of the names of its
/// temporary files.
pub(super) fn script(
    package: &Package,
    destination: &SshDestination,
    installation: &Installation,
    reload: Option<&ReloadCommand>,
    tag: &str,
) -> String {
    let mut files = String::new();
    for file in package.files() {
        // Writing to a String cannot fail.
        let _ = write!(files, "{}:{:o}:{} ", file.name, file.mode(installation.key_mode), file.bytes().len());
    }
    let keyless = if package.has_key() { "" } else { package.stem().as_str() };
    format!(
        "directory={}\nowner={}\ngroup={}\ntag={}\nfiles={}\nkeyless={}\nreload={}\n{}",
        quoted(destination.directory()),
        quoted(installation.owner.as_ref().map(AccountName::as_str).unwrap_or_default()),
        quoted(installation.group.as_ref().map(AccountName::as_str).unwrap_or_default()),
        quoted(tag),
        quoted(files.trim_end()),
        quoted(keyless),
        quoted(reload.map(ReloadCommand::as_str).unwrap_or_default()),
        include_str!("remote.sh"),
    )
}

/// Remote command for `ssh`. It reads a script of exactly `length` bytes, so that the files can follow on
/// standard input. Every login shell, csh and fish included, reads the single-quoted part alike.
///
/// The script stays in a variable, because root may have to run it as another account.
pub(super) fn remote_command(length: usize, privilege: Option<PrivilegeProgram>) -> String {
    let prefix = match privilege {
        Some(PrivilegeProgram::Sudo) => "sudo -n ",
        None => "",
    };
    format!("exec {prefix}sh -c 'script=$(dd bs=1 count={length} 2>/dev/null); eval \"$script\"'")
}

/// Quote `text` as a single word of POSIX sh.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs::Permissions;
    use std::io::Write as _;
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::Path;
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn quoted_text_is_one_word_to_the_shell() {
        for text in ["", "a b", "it's", "$(id) `id` \\ \" !! *", "'; id; '", "é"] {
            let script = format!("printf %s {}", quoted(text));
            let said = Command::new("sh").args(["-c", &script]).output().unwrap();
            assert_eq!(said.stdout, text.as_bytes());
        }
    }

    #[test]
    fn a_reload_command_is_one_line() {
        assert!("systemctl reload agent && echo 'done'".parse::<ReloadCommand>().is_ok());
        let long = "a".repeat(1025);
        for text in ["", " ", "a\nb", "a\0", "a\u{1b}[2J", &long] {
            assert_eq!(text.parse::<ReloadCommand>().unwrap_err().code(), "input.reload");
        }
    }

    #[test]
    fn the_script_contains_no_file_content() {
        let package = super::super::package::testing::package();
        let destination = "node1:/etc/cluster".parse().unwrap();
        let script = script(&package, &destination, &Installation::default(), None, "tag");
        assert!(
            script.contains("files='node.key:600:8 node.crt:644:16 cluster.crt:644:11 cluster.crl:644:0'")
        );
        let variables = script.strip_suffix(include_str!("remote.sh")).unwrap();
        for file in package.files().iter().filter(|file| !file.bytes().is_empty()) {
            assert!(!variables.contains(std::str::from_utf8(file.bytes()).unwrap().trim()));
        }
    }

    /// A directory with files of an earlier delivery.
    fn installed() -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        std::fs::set_permissions(directory.path(), Permissions::from_mode(0o700)).unwrap();
        for (name, text) in [("node.key", "the old key\n"), ("node.crt", "the old certificate\n")] {
            std::fs::write(directory.path().join(name), text).unwrap();
        }
        directory
    }

    /// Output of the script for `package` after all files and then `order`; `prelude` runs before it.
    fn run(directory: &Path, package: &Package, prelude: &str, order: &str) -> String {
        let destination = format!("node1:{}", directory.display()).parse().unwrap();
        let script =
            prelude.to_owned() + &script(package, &destination, &Installation::default(), None, "tag");
        let mut remote = Command::new("sh");
        remote.args(["-c", &script]);
        let mut remote = remote.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut input = remote.stdin.take().unwrap();
        for file in package.files() {
            input.write_all(file.bytes()).unwrap();
        }
        input.write_all(order.as_bytes()).unwrap();
        drop(input);
        String::from_utf8(remote.wait_with_output().unwrap().stdout).unwrap()
    }

    #[test]
    fn an_existing_key_is_never_sent_back() {
        let directory = installed();
        let package = super::super::package::testing::package_with(None);
        assert_eq!(
            run(directory.path(), &package, "", ""),
            "tag started\ntag existing 20\nthe old certificate\n\
             tag staged\nthe certificate\nthe bundle\ntag failed cut\n"
        );
    }

    #[test]
    fn a_failed_rename_restores_the_former_files() {
        let directory = installed();
        let package = super::super::package::testing::package();
        // The key takes its place, the certificate does not.
        let prelude = "mv() { case $2 in *.node.crt.*.tmp) return 1 ;; esac; command mv \"$@\"; }\n";
        let output = run(directory.path(), &package, prelude, "place\n");
        assert!(output.ends_with("tag failed place\n"), "{output}");
        let names = std::fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().file_name());
        assert_eq!(names.collect::<BTreeSet<_>>(), ["node.crt", "node.key"].map(Into::into).into());
        let read = |name: &str| std::fs::read_to_string(directory.path().join(name)).unwrap();
        assert_eq!(
            (read("node.key").as_str(), read("node.crt").as_str()),
            ("the old key\n", "the old certificate\n")
        );
    }

    #[test]
    fn a_failed_rollback_is_reported_and_keeps_the_former_files() {
        let directory = installed();
        let package = super::super::package::testing::package();
        // The key takes its place; nothing else can be renamed.
        let prelude = "mv() { case $2 in *.node.key.*.tmp) command mv \"$@\" ;; *) return 1 ;; esac; }\n";
        let output = run(directory.path(), &package, prelude, "place\n");
        assert!(output.ends_with("tag failed rollback\n"), "{output}");
        let read = |name: &str| std::fs::read_to_string(directory.path().join(name)).unwrap();
        assert_eq!(read("node.key"), "the key\n");
        assert_eq!(read(".node.key.tag.old"), "the old key\n");
    }
}
