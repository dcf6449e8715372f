//! The script that the far side runs: the constant part, and before it the facts of one delivery.
//!
//! Nothing of it stands on a command line there: [`remote_command`] is the same for everybody but for
//! a number, and reads the script itself from standard input.

use std::fmt::Write as _;
use std::str::FromStr;

use super::destination::Destination;
use super::package::Package;

/// What runs on the far side once the files are in their places.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ReloadCommand(String);

impl ReloadCommand {
    /// The command as it was given.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ReloadCommand {
    type Err = ReloadCommandError;

    /// Takes one line of at most 1024 bytes, for the far side's `sh -c`.
    fn from_str(text: &str) -> Result<Self, ReloadCommandError> {
        if text.trim().is_empty() || text.len() > 1024 || text.chars().any(char::is_control) {
            Err(ReloadCommandError { given: text.escape_default().take(80).collect() })
        } else {
            Ok(Self(text.to_owned()))
        }
    }
}

/// A text that is not one command line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{given}` is not a reload command: one line of 1 to 1024 bytes is expected")]
pub struct ReloadCommandError {
    given: String,
}

impl ReloadCommandError {
    /// The stable code of this error.
    #[must_use]
    pub fn code(&self) -> &'static str {
        "input.reload"
    }
}

/// The script for one delivery. `tag` begins each line that the script says, and stands in the names of
/// its temporary files.
pub(super) fn script(
    package: &Package,
    destination: &Destination,
    reload: Option<&ReloadCommand>,
    tag: &str,
) -> String {
    let mut files = String::new();
    for file in package.files() {
        // Writing to a String cannot fail.
        let _ = write!(files, "{}:{:o}:{} ", file.name, file.mode(), file.bytes().len());
    }
    let keyless = if package.has_key() { "" } else { package.stem().as_str() };
    format!(
        "directory={}\ntag={}\nfiles={}\nkeyless={}\nreload={}\n{}",
        quoted(destination.directory()),
        quoted(tag),
        quoted(files.trim_end()),
        quoted(keyless),
        quoted(reload.map(ReloadCommand::as_str).unwrap_or_default()),
        include_str!("remote.sh"),
    )
}

/// What `ssh` is told to run: reads a script of `length` bytes and no byte more, so that the files can
/// follow it. It means the same to every login shell, csh and fish included: nothing in it is special
/// between single quotes.
pub(super) fn remote_command(length: usize) -> String {
    format!("exec sh -c 'eval \"$(dd bs=1 count={length} 2>/dev/null)\"'")
}

/// As one word of POSIX sh, whatever is in it.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::io::Write as _;
    use std::os::unix::fs::PermissionsExt as _;
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn a_quoted_text_is_one_word_to_the_shell() {
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
    fn nothing_of_a_file_is_in_the_script() {
        let package = super::super::package::testing::package();
        let destination = "node1:/etc/cluster".parse().unwrap();
        let script = script(&package, &destination, None, "tag");
        assert!(
            script.contains("files='node.key:600:8 node.crt:644:16 cluster.crt:644:11 cluster.crl:644:0'")
        );
        let facts = script.strip_suffix(include_str!("remote.sh")).unwrap();
        for file in package.files().iter().filter(|file| !file.bytes().is_empty()) {
            assert!(!facts.contains(std::str::from_utf8(file.bytes()).unwrap().trim()));
        }
    }
    #[test]
    fn a_key_that_is_there_is_not_sent_back() {
        let there = tempfile::tempdir().unwrap();
        std::fs::set_permissions(there.path(), Permissions::from_mode(0o700)).unwrap();
        for (name, text) in [("node.key", "the old key\n"), ("node.crt", "the old certificate\n")] {
            std::fs::write(there.path().join(name), text).unwrap();
        }
        let package = super::super::package::testing::package_with(None);
        let destination = format!("node1:{}", there.path().display()).parse().unwrap();
        let mut far_side = Command::new("sh");
        far_side.args(["-c", &script(&package, &destination, None, "tag")]);
        let mut far_side = far_side.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut input = far_side.stdin.take().unwrap();
        for file in package.files() {
            input.write_all(file.bytes()).unwrap();
        }
        drop(input);
        let said = far_side.wait_with_output().unwrap().stdout;
        assert_eq!(
            String::from_utf8(said).unwrap(),
            "tag begun\ntag beside 20\nthe old certificate\n\
             tag staged\nthe certificate\nthe bundle\ntag failed cut\n"
        );
    }
}
