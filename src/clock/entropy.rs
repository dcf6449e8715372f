//! Random bytes for serial numbers, UUIDs and request IDs.

use std::fmt;

use crate::error::{Code, Coded};

/// Source of random bytes.
pub trait Entropy: Send + Sync + fmt::Debug {
    /// Fill `bytes` with unpredictable ones.
    ///
    /// # Errors
    /// [`EntropyError`] when the generator fails; the content of `bytes` must not be used then.
    fn fill(&self, bytes: &mut [u8]) -> Result<(), EntropyError>;
}

/// The crypto library's generator, seeded by the kernel.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), EntropyError> {
        aws_lc_rs::rand::fill(bytes).map_err(|_| EntropyError)
    }
}

/// The random generator failed.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the system's random generator failed")]
pub struct EntropyError;

impl Coded for EntropyError {
    fn coded(&self) -> Code {
        Code::environment("system.entropy")
    }
}
