//! Ownership of installed files, and the privilege of the login that installs them.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

use crate::error::{Code, Coded, excerpt};

/// Ownership of installed files. The default leaves them to the owner of the directory.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Installation {
    /// Account that the directory and the files belong to.
    pub owner: Option<AccountName>,
    /// Group of the directory and the files.
    pub group: Option<AccountName>,
    /// Mode of the private key.
    pub key_mode: KeyMode,
    /// Program that gives the login the rights of root.
    pub privilege: Option<PrivilegeProgram>,
}

/// Name or number of an account or a group.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(transparent)]
pub struct AccountName(String);

impl AccountName {
    /// Name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for AccountName {
    type Err = InstallationError;

    /// Accept 1 to 64 letters, digits and `._-`, a letter, digit or `_` first.
    fn from_str(text: &str) -> Result<Self, InstallationError> {
        let is_clean = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        let begins_well = text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
        if begins_well && text.len() <= 64 && text.chars().all(is_clean) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InstallationError::Account { given: excerpt(text) })
        }
    }
}

/// Mode of an installed private key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum KeyMode {
    /// 0600.
    #[default]
    OwnerWrites,
    /// 0400.
    OwnerReads,
    /// 0640.
    GroupReads,
    /// 0440.
    AllRead,
}

impl KeyMode {
    const ALL: [(&'static str, Self); 4] = [
        ("0600", Self::OwnerWrites),
        ("0400", Self::OwnerReads),
        ("0640", Self::GroupReads),
        ("0440", Self::AllRead),
    ];

    /// Mode bits.
    #[must_use]
    pub const fn bits(self) -> u32 {
        match self {
            Self::OwnerWrites => 0o600,
            Self::OwnerReads => 0o400,
            Self::GroupReads => 0o640,
            Self::AllRead => 0o440,
        }
    }
}

impl fmt::Display for KeyMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04o}", self.bits())
    }
}

impl FromStr for KeyMode {
    type Err = InstallationError;

    fn from_str(text: &str) -> Result<Self, InstallationError> {
        let found =
            Self::ALL.into_iter().find(|(name, _)| text == *name || name.strip_prefix('0') == Some(text));
        found.map(|(_, mode)| mode).ok_or_else(|| InstallationError::Mode { given: excerpt(text) })
    }
}

/// Program that gives a login the rights of root.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PrivilegeProgram {
    /// `sudo`, which must not ask for a password.
    Sudo,
}

impl FromStr for PrivilegeProgram {
    type Err = InstallationError;

    fn from_str(text: &str) -> Result<Self, InstallationError> {
        match text {
            "sudo" => Ok(Self::Sudo),
            _ => Err(InstallationError::Privilege { given: excerpt(text) }),
        }
    }
}

impl fmt::Display for PrivilegeProgram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sudo => f.pad("sudo"),
        }
    }
}

/// Text that is not valid in an [`Installation`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InstallationError {
    /// Not an account or group.
    #[error(
        "`{given}` is not an account or group: a name or number of 1 to 64 letters, digits and ._- is expected"
    )]
    Account {
        /// The rejected text.
        given: String,
    },
    /// Not a mode of a private key.
    #[error("`{given}` is not a mode of a private key: 0600, 0400, 0640 or 0440 is expected")]
    Mode {
        /// The rejected text.
        given: String,
    },
    /// Not a known program.
    #[error("`{given}` does not give a login the rights of root here: `sudo` is supported")]
    Privilege {
        /// The rejected text.
        given: String,
    },
}

impl Coded for InstallationError {
    fn coded(&self) -> Code {
        Code::usage("input.installation")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_that_a_shell_or_a_program_could_misread_are_refused() {
        for text in ["svc", "_svc", "1000", "www-data", "a.b"] {
            assert_eq!(text.parse::<AccountName>().unwrap().as_str(), text);
        }
        for text in ["", "-R", "a b", "a:b", "$(id)", "a\nb", "root;id"] {
            assert_eq!(text.parse::<AccountName>().unwrap_err().code(), "input.installation", "{text}");
        }
        for (text, bits) in
            [("0600", 0o600), ("600", 0o600), ("0640", 0o640), ("0440", 0o440), ("0400", 0o400)]
        {
            assert_eq!(text.parse::<KeyMode>().unwrap().bits(), bits);
        }
        for text in ["0644", "0660", "0700", "u=r", ""] {
            assert_eq!(text.parse::<KeyMode>().unwrap_err().code(), "input.installation", "{text}");
        }
        assert_eq!("sudo".parse::<PrivilegeProgram>().unwrap().to_string(), "sudo");
        assert!("su".parse::<PrivilegeProgram>().is_err());
    }
}
