//! Issuing and renewing leaf certificates.
//!
//! | file | contents |
//! |---|---|
//! | `batch` | Signing and placing of planned certificates, shared by issuing and renewing |
//! | `certificate_builder` | Signing of planned certificates, and the only place that fills rcgen's parameters |
//! | `ended_files` | Files of an identity whose every certificate is revoked or expired |
//! | `issue` | Issuing: checks requests and turns them into jobs for `batch` |
//! | `job` | Planned certificates, ready to be signed |
//! | `pair` | Certificates and keys under temporary names |
//! | `planner` | Plans of requests for leaf certificates |
//! | `renew` | Renewal: a new certificate for the same identity and hosts, checked against the current profile |
//! | `request` | Requests for leaf certificates, their plans, and the issued certificates |
//! | `service_certificate` | Certificate of the server of this CA |
//! | `token_certificate` | Certificate of the key that signs access tokens and the statement about them |
//! | `signing_queue` | Threads that generate keys and sign certificates, one on each core, and the queue of their work |

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
pub(super) mod token_certificate;
