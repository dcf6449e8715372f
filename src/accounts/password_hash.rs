//! Hashing and verification of passwords with Argon2id.

use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{CustomizedPasswordHasher, PasswordVerifier};
use argon2::{Algorithm, Argon2, Params, Version};

use super::error::AccountError;
use crate::clock::Entropy;
use crate::secret::Secret;
use crate::store::PasswordHashText;

/// Memory of one hash in KiB, passes over it, and lanes (RFC 9106; the minimum that OWASP recommends in 2026).
const PARAMETERS: (u32, u32, u32) = (19 * 1024, 2, 1);

/// Most memory in KiB, passes and lanes of a stored hash: a row that another program wrote must not exhaust memory.
const MOST: (u32, u32, u32) = (64 * 1024, 10, 4);

/// Salt in bytes.
const SALT: usize = 16;

/// Result of a verification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PasswordCheck {
    /// The password is right, and its hash has the present parameters.
    Right,
    /// The password is right, and should be hashed again.
    RightButOutdated,
    /// The password is wrong.
    Wrong,
}

/// Hash a new password.
pub(super) fn hash(password: &Secret, entropy: &dyn Entropy) -> Result<PasswordHashText, AccountError> {
    let mut salt = [0; SALT];
    entropy.fill(&mut salt)?;
    hash_with(password, &salt, PARAMETERS)
}

fn hash_with(
    password: &Secret,
    salt: &[u8; SALT],
    (memory, passes, lanes): (u32, u32, u32),
) -> Result<PasswordHashText, AccountError> {
    let failed = |source| AccountError::Hashing { source };
    let parameters = Params::new(memory, passes, lanes, None).map_err(|error| failed(error.into()))?;
    let version = Some(u32::from(Version::V0x13));
    let algorithm = Some(Algorithm::Argon2id.as_str());
    let hash = Argon2::default()
        .hash_password_customized(password.expose(), salt, algorithm, version, parameters)
        .map_err(failed)?;
    Ok(PasswordHashText(hash.to_string()))
}

/// Verify a password. Without a stored hash, takes the same time and answers [`PasswordCheck::Wrong`].
pub(super) fn verify(
    password: &Secret,
    stored: Option<&PasswordHashText>,
    user: &str,
) -> Result<PasswordCheck, AccountError> {
    let Some(stored) = stored else {
        hash_with(password, &[0; SALT], PARAMETERS)?;
        return Ok(PasswordCheck::Wrong);
    };
    let unusable = || AccountError::Hash { user: user.to_owned() };
    let hash = PasswordHash::new(&stored.0).map_err(|_| unusable())?;
    let parameters = Params::try_from(&hash).map_err(|_| unusable())?;
    let (memory, passes, lanes) = (parameters.m_cost(), parameters.t_cost(), parameters.p_cost());
    let is_bounded = memory <= MOST.0 && passes <= MOST.1 && lanes <= MOST.2;
    if !is_bounded || hash.algorithm.as_str() != Algorithm::Argon2id.as_str() {
        return Err(unusable());
    }
    match Argon2::default().verify_password(password.expose(), &hash) {
        Ok(()) if (memory, passes, lanes) == PARAMETERS => Ok(PasswordCheck::Right),
        Ok(()) => Ok(PasswordCheck::RightButOutdated),
        Err(argon2::password_hash::Error::PasswordInvalid) => Ok(PasswordCheck::Wrong),
        Err(_) => Err(unusable()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemEntropy;
    use crate::error::Coded;

    fn secret(text: &str) -> Secret {
        Secret::new(text.as_bytes().to_vec())
    }

    #[test]
    fn a_hash_verifies_its_password_and_no_other() {
        let stored = hash(&secret("Tulip-hedge-9"), &SystemEntropy).unwrap();
        assert!(stored.0.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{}", stored.0);
        let check = |password: &str| verify(&secret(password), Some(&stored), "alice").unwrap();
        assert_eq!(check("Tulip-hedge-9"), PasswordCheck::Right);
        assert_eq!(check("tulip-hedge-9"), PasswordCheck::Wrong);
        assert_eq!(check(""), PasswordCheck::Wrong);
        assert_eq!(verify(&secret("x"), None, "alice").unwrap(), PasswordCheck::Wrong);
        let again = hash(&secret("Tulip-hedge-9"), &SystemEntropy).unwrap();
        assert_ne!(again, stored, "each hash has its own salt");
        assert!(!format!("{stored:?}").contains("argon2"));
    }

    #[test]
    fn a_hash_with_other_parameters_is_due_for_a_new_one() {
        let old = hash_with(&secret("Tulip-hedge-9"), &[7; SALT], (8 * 1024, 1, 1)).unwrap();
        let check = verify(&secret("Tulip-hedge-9"), Some(&old), "alice").unwrap();
        assert_eq!(check, PasswordCheck::RightButOutdated);
    }

    #[test]
    fn a_stored_hash_that_would_exhaust_memory_or_time_is_refused() {
        let tail = "$c29tZXNhbHRzb21lc2FsdA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
        for head in [
            "$argon2id$v=19$m=4194304,t=2,p=1",
            "$argon2id$v=19$m=19456,t=1000000,p=1",
            "$argon2id$v=19$m=19456,t=2,p=64",
            "$argon2i$v=19$m=19456,t=2,p=1",
            "$argon2d$v=19$m=19456,t=2,p=1",
            "$scrypt$ln=15,r=8,p=1",
            "",
        ] {
            let stored = PasswordHashText(format!("{head}{tail}"));
            let refused = verify(&secret("x"), Some(&stored), "alice").unwrap_err();
            assert_eq!(refused.code(), "account.password_hash", "{head}");
        }
    }
}
