//! Destination of a delivery: `[USER@]HOST[:PORT]:/DIRECTORY`.
//!
//! Every part becomes an argument of `ssh` or a word of a shell script. Only letters, digits and a few
//! signs without meaning to either are accepted; nothing is quoted.

use std::fmt;
use std::num::NonZeroU16;
use std::str::FromStr;

use serde::Serialize;

use crate::error::{Code, Coded};

/// Directory on a machine reached by `ssh`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SshDestination {
    user: Option<String>,
    host: String,
    port: Option<NonZeroU16>,
    directory: String,
}

impl SshDestination {
    /// Remote account; `None` leaves it to the `ssh` configuration.
    #[must_use]
    pub fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }

    /// Host: a DNS name, an alias of the `ssh` configuration, or an IP address without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Port; `None` leaves it to the `ssh` configuration.
    #[must_use]
    pub fn port(&self) -> Option<NonZeroU16> {
        self.port
    }

    /// Absolute path of the directory.
    #[must_use]
    pub fn directory(&self) -> &str {
        &self.directory
    }
}

impl FromStr for SshDestination {
    type Err = SshDestinationError;

    fn from_str(text: &str) -> Result<Self, SshDestinationError> {
        let refused =
            |part, why| SshDestinationError { given: text.escape_default().take(200).collect(), part, why };
        let (machine, directory) = text
            .split_once(":/")
            .map(|(machine, below)| (machine, format!("/{below}")))
            .ok_or_else(|| refused("form", "[USER@]HOST[:PORT]:/DIRECTORY is expected"))?;
        check_directory(&directory).map_err(|why| refused("directory", why))?;
        let (user, machine) = match machine.rsplit_once('@') {
            Some((user, machine)) => (Some(user), machine),
            None => (None, machine),
        };
        if let Some(user) = user {
            check_word(user).map_err(|why| refused("user", why))?;
        }
        let (host, port) = split_port(machine).map_err(|why| refused("host", why))?;
        let port = port.map(parse_port).transpose().map_err(|why| refused("port", why))?;
        Ok(Self { user: user.map(str::to_owned), host: host.to_owned(), port, directory })
    }
}

/// Split host and port; the brackets of an IPv6 address are removed.
fn split_port(machine: &str) -> Result<(&str, Option<&str>), &'static str> {
    if let Some(rest) = machine.strip_prefix('[') {
        let (address, port) = rest.split_once(']').ok_or("the bracket is not closed")?;
        address.parse::<std::net::Ipv6Addr>().map_err(|_| "only an IPv6 address may stand in brackets")?;
        return match port.strip_prefix(':') {
            Some(port) => Ok((address, Some(port))),
            None if port.is_empty() => Ok((address, None)),
            None => Err("only a port may follow the brackets"),
        };
    }
    let (host, port) = match machine.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (machine, None),
    };
    check_word(host).map(|()| (host, port))
}

fn parse_port(text: &str) -> Result<NonZeroU16, &'static str> {
    let port: NonZeroU16 = text.parse().map_err(|_| "a number from 1 to 65535 is expected")?;
    if port.to_string() == text {
        Ok(port)
    } else {
        Err("digits without a sign or leading zeros are expected")
    }
}

/// Check a user or host: it must be a single word, and not look like an option.
fn check_word(text: &str) -> Result<(), &'static str> {
    let clean = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    match text.chars().next() {
        None => Err("it is empty"),
        Some(first) if !first.is_ascii_alphanumeric() && first != '_' => {
            Err("it must begin with a letter, a digit or `_`")
        }
        Some(_) if text.len() > 253 => Err("it is too long"),
        Some(_) if !text.chars().all(clean) => Err("it may have letters, digits and ._- only"),
        Some(_) => Ok(()),
    }
}

fn check_directory(path: &str) -> Result<(), &'static str> {
    let clean = |c: char| c.is_ascii_alphanumeric() || "/._-+@,=~".contains(c);
    if path.len() > 1024 {
        return Err("it is too long");
    }
    if !path.chars().all(clean) {
        return Err("it may have letters, digits and /._-+@,=~ only");
    }
    if path.split('/').skip(1).any(|part| matches!(part, "" | "." | "..")) {
        return Err("empty parts, `.` and `..` are not allowed, nor is a slash at the end");
    }
    Ok(())
}

impl fmt::Display for SshDestination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(user) = &self.user {
            write!(f, "{user}@")?;
        }
        if self.host.contains(':') {
            write!(f, "[{}]", self.host)?
        } else {
            f.write_str(&self.host)?
        }
        if let Some(port) = self.port {
            write!(f, ":{port}")?;
        }
        write!(f, ":{}", self.directory)
    }
}

impl Serialize for SshDestination {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Text that is not an [`SshDestination`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{given}` is not a destination: {part}: {why}")]
pub struct SshDestinationError {
    /// Start of the text, escaped.
    pub given: String,
    /// Invalid part: `form`, `user`, `host`, `port` or `directory`.
    pub part: &'static str,
    /// Rule that the part violates.
    pub why: &'static str,
}

impl Coded for SshDestinationError {
    fn coded(&self) -> Code {
        Code::usage("input.destination")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parsing_and_display_of_a_destination_round_trip() {
        for text in [
            "node1:/etc/cluster",
            "root@node1.example.com:/etc/cluster",
            "root@10.0.0.1:2222:/etc/cluster",
            "[2001:db8::1]:/srv/cluster",
            "a_b@[::1]:22:/srv/cluster+1/x",
            "my_alias:/c",
        ] {
            assert_eq!(text.parse::<SshDestination>().unwrap().to_string(), text);
        }
        let parsed: SshDestination = "ops@[::1]:22:/srv/cluster".parse().unwrap();
        assert_eq!((parsed.user(), parsed.host(), parsed.directory()), (Some("ops"), "::1", "/srv/cluster"));
        assert_eq!(parsed.port().map(NonZeroU16::get), Some(22));
    }

    #[test]
    fn a_destination_that_could_be_an_option_or_a_command_is_refused() {
        for (text, part) in [
            ("", "form"),
            ("node1", "form"),
            ("node1:etc", "form"),
            ("node1:22", "form"),
            (":/etc/cluster", "host"),
            ("-oProxyCommand=id:/etc/cluster", "host"),
            ("root@-oProxyCommand=id:/etc/cluster", "host"),
            ("-l@node1:/etc/cluster", "user"),
            ("@node1:/etc/cluster", "user"),
            ("a b@node1:/etc/cluster", "user"),
            ("a@b@node1:/etc/cluster", "user"),
            ("node1;id:/etc/cluster", "host"),
            ("$(id):/etc/cluster", "host"),
            ("nöde:/etc/cluster", "host"),
            ("[::1:/etc/cluster", "host"),
            ("[node1]:/etc/cluster", "host"),
            ("[::1]22:/etc/cluster", "host"),
            ("[fe80::1%eth0]:/etc/cluster", "host"),
            ("::1:/etc/cluster", "host"),
            ("node1:0:/etc/cluster", "port"),
            ("node1:022:/etc/cluster", "port"),
            ("node1:+22:/etc/cluster", "port"),
            ("node1:65536:/etc/cluster", "port"),
            ("node1:22:22:/etc/cluster", "port"),
            ("node1:/", "directory"),
            ("node1:/etc/", "directory"),
            ("node1://etc", "directory"),
            ("node1:/etc/../root", "directory"),
            ("node1:/etc/./x", "directory"),
            ("node1:/etc/a b", "directory"),
            ("node1:/etc/a'b", "directory"),
            ("node1:/etc/a\"b", "directory"),
            ("node1:/etc/$HOME", "directory"),
            ("node1:/etc/`id`", "directory"),
            ("node1:/etc/a\nb", "directory"),
            ("node1:/etc/a\\b", "directory"),
            ("node1:/etc/*", "directory"),
            ("node1:/etc/é", "directory"),
        ] {
            let refused = text.parse::<SshDestination>().unwrap_err();
            assert_eq!(refused.part, part, "{text:?}: {refused}");
            assert!(!refused.to_string().contains('\n'), "{refused}");
        }
    }
}
