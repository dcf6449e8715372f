//! The trait of every error that has a code.

use super::class::Class;
use super::code::Code;

/// An error with a stable code and a class.
///
/// Programs compare the code, the hint table is keyed by it, and the class decides on the exit code. An error
/// that passes on another one's words passes on its code as well; an error that adds a judgement of its own
/// has a code of its own, and the other is its `source`.
pub trait Coded: std::error::Error {
    /// The code with its class.
    fn coded(&self) -> Code;

    /// Name of the code, such as `ca.already_revoked`.
    fn code(&self) -> &'static str {
        self.coded().name()
    }

    /// The class, which decides on the exit code.
    fn class(&self) -> Class {
        self.coded().class()
    }
}
