//! Diagnosis of a home: all files, records and CRLs, and their consistency. [`examine()`] changes
//! nothing; [`repair()`] makes safe repairs and examines the home again.
//!
//! A problem in one part does not stop the other checks, so that one run reports everything. The
//! private key of a valid certificate is never removed.

mod codes;
mod examine;
mod examiner;
mod extent;
mod finding;
mod home_files;
mod issued_files;
mod records;
mod repair;
mod served_certificate;

pub use codes::DoctorCode;
pub use examine::{examination_size, examine};
pub use extent::Thoroughness;
pub use finding::{Examination, Finding, Severity};
pub use repair::repair;
pub use served_certificate::examine_served;
