//! A certificate and its key under temporary names, and their placement.

use crate::files::{self, FileError, Placement, Staged};

/// A certificate and, if it was made here, its key, under temporary names.
pub(in crate::ca) struct StagedPair {
    pub(in crate::ca) key: Option<Staged>,
    pub(in crate::ca) certificate: Staged,
    pub(in crate::ca) placement: Placement,
}

impl StagedPair {
    pub(in crate::ca) fn sync(&self) -> Result<(), FileError> {
        self.key.iter().chain([&self.certificate]).try_for_each(Staged::sync)
    }

    /// The key comes first: whoever sees the certificate finds its key beside it.
    pub(in crate::ca) fn place(self) -> Result<(), FileError> {
        match (self.key, self.placement) {
            (Some(key), Placement::Replace) => files::replace_both(key, self.certificate),
            (Some(key), Placement::New) => {
                key.place(Placement::New)?;
                self.certificate.place(Placement::New)
            }
            (None, placement) => self.certificate.place(placement),
        }
    }
}
