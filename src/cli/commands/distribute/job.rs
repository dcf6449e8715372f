//! Requested delivery, and the same delivery with its files.

use crate::ca::Target;
use crate::distribute::{FileStem, Installation, Package, ReloadCommand, SshDestination};
use crate::store::Record;

/// A requested delivery.
pub(crate) struct DeliveryJob {
    pub(crate) target: Target,
    pub(crate) destination: SshDestination,
    pub(crate) stem: Option<FileStem>,
    pub(crate) reload: Option<ReloadCommand>,
    pub(crate) installation: Installation,
}

/// A delivery with its certificate and files.
pub(crate) struct PreparedDelivery<'a> {
    pub(crate) job: &'a DeliveryJob,
    pub(crate) record: Record,
    pub(crate) package: Package,
}
