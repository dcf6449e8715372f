//! Where files go: `[USER@]HOST[:PORT]:/DIRECTORY`.
//!
//! Every part becomes an argument of `ssh` or a word of a script, so it has letters, digits and a
//! few signs that mean nothing to either; whatever else is refused rather than quoted.

use std::fmt;
use std::num::NonZeroU16;
use std::str::FromStr;

use serde::Serialize;

/// A directory on a machine that `ssh` reaches.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Destination {
    user: Option<String>,
    host: String,
    port: Option<NonZeroU16>,
    directory: String,
}

impl Destination {
    /// The account there; by default what the `ssh` configuration says.
    #[must_use]
    pub fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }

    /// The machine: a name that DNS or the `ssh` configuration knows, or an address.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port; by default what the `ssh` configuration says.
    #[must_use]
    pub fn port(&self) -> Option<NonZeroU16> {
        self.port
    }

    /// The directory, an absolute path.
    #[must_use]
    pub fn directory(&self) -> &str {
        &self.directory
    }
}

impl FromStr for Destination {
    type Err = DestinationError;

    fn from_str(text: &str) -> Result<Self, DestinationError> {
        let refused =
            |part, why| DestinationError { given: text.escape_default().take(200).collect(), part, why };
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

/// The host and the text of its port; an IPv6 address stands in brackets, which do not belong to it.
fn split_port(machine: &str) -> Result<(&str, Option<&str>), &'static str> {
    if let Some(rest) = machine.strip_prefix('[') {
        let (address, port) = rest.split_once(']').ok_or("the bracket is not closed")?;
        address.parse::<std::net::Ipv6Addr>().map_err(|_| "only an IPv6 address stands in brackets")?;
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
    if port.to_string() == text { Ok(port) } else { Err("it has one spelling: digits alone") }
}

/// A user or host: never an option, never more than one word.
fn check_word(text: &str) -> Result<(), &'static str> {
    let clean = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    match text.chars().next() {
        None => Err("it is empty"),
        Some(first) if !first.is_ascii_alphanumeric() && first != '_' => {
            Err("it begins with a letter, a digit or `_`")
        }
        Some(_) if text.len() > 253 => Err("it is too long"),
        Some(_) if !text.chars().all(clean) => Err("it has letters, digits and ._- only"),
        Some(_) => Ok(()),
    }
}

fn check_directory(path: &str) -> Result<(), &'static str> {
    let clean = |c: char| c.is_ascii_alphanumeric() || "/._-+@,=~".contains(c);
    if path.len() > 1024 {
        return Err("it is too long");
    }
    if !path.chars().all(clean) {
        return Err("it has letters, digits and /._-+@,=~ only");
    }
    if path.split('/').skip(1).any(|part| matches!(part, "" | "." | "..")) {
        return Err("each part between slashes is a name, and the last one is not a slash");
    }
    Ok(())
}

impl fmt::Display for Destination {
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

impl Serialize for Destination {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Why a text is not a destination.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{given}` is not a destination: {part}: {why}")]
pub struct DestinationError {
    /// What was given, escaped.
    pub given: String,
    /// The part that is wrong.
    pub part: &'static str,
    /// The rule that it breaks.
    pub why: &'static str,
}

impl DestinationError {
    /// The stable code of this error.
    #[must_use]
    pub fn code(&self) -> &'static str {
        "input.destination"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_destination_reads_back_as_it_was_written() {
        for text in [
            "node1:/etc/cluster",
            "root@node1.example.com:/etc/cluster",
            "root@10.0.0.1:2222:/etc/cluster",
            "[2001:db8::1]:/srv/cluster",
            "a_b@[::1]:22:/srv/cluster+1/x",
            "my_alias:/c",
        ] {
            assert_eq!(text.parse::<Destination>().unwrap().to_string(), text);
        }
        let parsed: Destination = "ops@[::1]:22:/srv/cluster".parse().unwrap();
        assert_eq!((parsed.user(), parsed.host(), parsed.directory()), (Some("ops"), "::1", "/srv/cluster"));
        assert_eq!(parsed.port().map(NonZeroU16::get), Some(22));
    }

    #[test]
    fn what_could_be_an_option_or_a_command_is_refused() {
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
            let refused = text.parse::<Destination>().unwrap_err();
            assert_eq!(refused.part, part, "{text:?}: {refused}");
            assert!(!refused.to_string().contains('\n'), "{refused}");
        }
    }
}
