//! Changes to a running gateway: reload, pushed CRLs, file changes, housekeeping, and the status report.

pub mod file_watch;
pub mod housekeeping;
pub mod kms_token_renewal;
pub mod push_queue;
pub mod reload;
pub mod status;
