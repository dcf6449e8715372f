//! Issuing and renewing leaf certificates.

pub(super) mod batch;
pub(super) mod certificate_builder;
pub(super) mod ended_files;
pub(super) mod issue;
pub(super) mod pair;
pub(super) mod renew;
pub(super) mod request;
pub(super) mod service_certificate;
