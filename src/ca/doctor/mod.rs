//! The state of a home, looked over as a whole: every file, record and list in it, and whether they
//! agree. Looking changes nothing; [`repair`] does what is safe and looks again.
//!
//! What is wrong with one part does not keep the others from being looked at, so that one run names
//! everything there is to mend. The private key of a certificate that holds is never removed.

mod examine;
mod examiner;
mod finding;
mod home_files;
mod records;
mod repair;
mod served_certificate;

pub use examine::examine;
pub use finding::{Examination, Finding, Severity};
pub use repair::repair;
pub use served_certificate::examine_served;
