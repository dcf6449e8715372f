//! Text validated once, when it is read: names and addresses that become part of a URL, a header or a
//! message.

use super::error::KmsError;

/// Longest accepted text, in bytes.
const MAX_LENGTH: usize = 256;

/// Define a type of validated text.
macro_rules! checked_text {
    ($(#[$doc:meta])* $name:ident, $check:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, ::serde::Serialize, ::serde::Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl ::std::str::FromStr for $name {
            type Err = KmsError;

            fn from_str(text: &str) -> Result<Self, KmsError> {
                $check(text).map(Self)
            }
        }

        impl TryFrom<String> for $name {
            type Error = KmsError;

            fn try_from(text: String) -> Result<Self, KmsError> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0
            }
        }

        impl ::std::fmt::Display for $name {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                f.pad(&self.0)
            }
        }
    };
}

pub(super) use checked_text;

/// Accept `text` if it is `valid` and short enough.
pub(super) fn check(
    what: &'static str,
    text: &str,
    valid: bool,
    rule: &'static str,
) -> Result<String, KmsError> {
    if valid && text.len() <= MAX_LENGTH {
        return Ok(text.to_owned());
    }
    Err(KmsError::Name { what, given: shown(text), rule })
}

/// The given text, shortened and escaped for a message.
pub(super) fn shown(text: &str) -> String {
    text.escape_debug().take(120).collect()
}
