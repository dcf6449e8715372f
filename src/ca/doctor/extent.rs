//! Extent of an examination: everything, or a random part of a large home.

use std::hash::{DefaultHasher, Hash, Hasher};

use crate::clock::{Entropy, EntropyError};

/// Certificates whose signatures and files are checked in seconds. A P-256 signature takes some 50 microseconds, and
/// the comparison of a key file with its certificate as long.
const CHECKED_IN_FULL: u64 = 50_000;

/// Number of certificates whose signatures and files an examination checks. Everything else, such as records,
/// fingerprints, file names and modes, is checked of all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Thoroughness {
    /// All of up to 50,000, and as many of a larger home, chosen at random.
    #[default]
    Standard,
    /// All.
    Full,
}

/// Choice of the certificates and files that are checked in full.
#[derive(Clone, Copy, Debug)]
pub(super) struct Extent {
    /// Random in each run, so that no object is always left out.
    offset: u64,
    /// Part of all hashes that is chosen.
    chosen: u64,
}

impl Extent {
    /// Choice among `count` objects.
    pub(super) fn of(
        thoroughness: Thoroughness,
        count: u64,
        entropy: &dyn Entropy,
    ) -> Result<Self, EntropyError> {
        if thoroughness == Thoroughness::Full || count <= CHECKED_IN_FULL {
            return Ok(Self { offset: 0, chosen: u64::MAX });
        }
        let mut offset = [0; 8];
        entropy.fill(&mut offset)?;
        Ok(Self { offset: u64::from_ne_bytes(offset), chosen: u64::MAX / count * CHECKED_IN_FULL })
    }

    /// True unless some objects are left out.
    pub(super) fn is_everything(self) -> bool {
        self.chosen == u64::MAX
    }

    /// True if the object with this hash is checked in full.
    pub(super) fn includes(self, hash: u64) -> bool {
        hash.wrapping_add(self.offset) <= self.chosen
    }
}

/// Hash of a file name or serial number. A million of them need little memory.
pub(super) fn hash(object: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    object.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemEntropy;

    fn included(extent: Extent, count: u64) -> u64 {
        (0..count).map(|object| u64::from(extent.includes(hash(object)))).sum()
    }

    #[test]
    fn a_small_home_is_checked_in_full_and_a_random_part_of_a_large_one() {
        let of = |thoroughness, count| Extent::of(thoroughness, count, &SystemEntropy).unwrap();
        let small = of(Thoroughness::Standard, CHECKED_IN_FULL);
        assert!(small.is_everything());
        assert_eq!(included(small, 1_000), 1_000);
        let large = of(Thoroughness::Standard, 4 * CHECKED_IN_FULL);
        assert!(!large.is_everything());
        let chosen = included(large, 4 * CHECKED_IN_FULL);
        assert!((48_500..=51_500).contains(&chosen), "{chosen}");
        let again = of(Thoroughness::Standard, 4 * CHECKED_IN_FULL);
        assert!(
            (0..4 * CHECKED_IN_FULL)
                .any(|object| large.includes(hash(object)) != again.includes(hash(object)))
        );
        assert_eq!(included(of(Thoroughness::Full, 4 * CHECKED_IN_FULL), 1_000), 1_000);
    }
}
