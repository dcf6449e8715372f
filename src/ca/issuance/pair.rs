//! Certificates and keys under temporary names.

use crate::files::{self, FileError, Placement, Staged};

/// A certificate and, if generated here, its key, under temporary names.
pub(in crate::ca) struct StagedPair {
    pub(in crate::ca) key: Option<Staged>,
    pub(in crate::ca) certificate: Staged,
    pub(in crate::ca) placement: Placement,
}

impl StagedPair {
    pub(in crate::ca) fn sync(&self) -> Result<(), FileError> {
        self.key.iter().chain([&self.certificate]).try_for_each(Staged::sync)
    }

    /// Rename the key first, so that a reader of the certificate finds its key.
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
