//! Issuing and renewing leaf certificates.

pub(super) mod batch;
pub(super) mod certificate_builder;
pub(super) mod ended_files;
pub(super) mod issue;
pub(super) mod job;
pub(super) mod pair;
mod planner;
pub(super) mod renew;
pub(super) mod request;
pub(super) mod service_certificate;
mod signing_queue;
