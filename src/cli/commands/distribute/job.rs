//! A delivery as it is asked for, and with all that it takes.

use crate::ca::Target;
use crate::distribute::{FileStem, Package, ReloadCommand, SshDestination};
use crate::store::Record;

/// One delivery that somebody asks for.
pub(crate) struct Job {
    pub(crate) target: Target,
    pub(crate) destination: SshDestination,
    pub(crate) stem: Option<FileStem>,
    pub(crate) reload: Option<ReloadCommand>,
}

/// A delivery with all that it takes.
pub(crate) struct Ready<'a> {
    pub(crate) job: &'a Job,
    pub(crate) record: Record,
    pub(crate) package: Package,
}
