//! Diagnosis of a home: all files, records and CRLs, and their consistency. [`examine()`] changes
//! nothing; [`repair()`] makes safe repairs and examines the home again.
//!
//! A problem in one part does not stop the other checks, so that one run reports everything. The
//! private key of a valid certificate is never removed.
//!
//! | file | contents |
//! |---|---|
//! | `codes` | Codes of findings that no error has, in one table |
//! | `examine` | Examination of a whole home |
//! | `examiner` | State of an examination, and its findings so far |
//! | `extent` | Extent of an examination: everything, or a random part of a large home |
//! | `finding` | Findings of an examination and their repairs |
//! | `home_files` | Checks of the home's directories: permissions, and temporary files |
//! | `issued_files` | Checks of the files in `issued/` |
//! | `records` | Checks of the inventory against the trust bundle, the CRL and the profiles |
//! | `repair` | Repairs that cannot lose anything |
//! | `served_certificate` | Check of the certificate that a live endpoint serves |

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
