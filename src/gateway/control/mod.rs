//! Changes to a running gateway: reload, CRL push, file watch, housekeeping, status report.

pub mod change;
pub mod changes;
pub mod error;
pub mod file_watch;
pub mod housekeeping;
pub mod kms_token_renewal;
pub mod published_keys;
pub mod push;
pub mod push_queue;
pub mod reload;
pub mod status;
