//! Certificate profiles from `ca-templates/`, and plans of certificates made from them (RFC 5280, section 4).
//!
//! - A [`LeafRequest`] gives an identity, hosts, a key type and a validity.
//! - The profile adds the rest or refuses. The resulting [`LeafPlan`] lists every field to be signed.
//! - [`LeafPlan::verify`] compares the signed certificate with the plan before it is released.
//!
//! A CSR contributes its public key only. Profiles are validated when they are read, so that an invalid one
//! can't exist. Signing happens elsewhere; of the issuer, only its `notAfter` is known here.
//!
//! | file | contents |
//! |---|---|
//! | `built_in` | Built-in profiles |
//! | `leaf` | Profiles of leaf certificates |
//! | `mismatch` | Differences between a plan and a certificate |
//! | `origin` | Origins of profiles |
//! | `plan` | Plans of certificates, made from a profile and a request before anything is signed |
//! | `policy` | Violations of a profile |
//! | `root` | Profile of the root certificate |
//! | `rules` | Rules of a profile, constructed by `validate` only, so that they are consistent |
//! | `schema` | Structure of a profile's file: its keys and their YAML types |
//! | `serialize` | Serialization of profiles in the form of their files |
//! | `set` | Complete set of profiles, built in or from a directory |
//! | `validate` | Validation of a profile's file |
//! | `verify` | Comparison of a signed certificate, or of a CSR, with the plan |

mod built_in;
mod leaf;
mod mismatch;
mod origin;
mod plan;
mod policy;
mod root;
mod rules;
mod schema;
mod serialize;
mod set;
mod validate;
mod verify;

pub use built_in::built_in;
pub use leaf::LeafProfile;
pub use mismatch::Mismatch;
pub use origin::{ProfileOrigin, ProfileSource};
pub use plan::{LeafPlan, LeafRequest, PlannedSubject, RootPlan, RootRequest};
pub use policy::IssuancePolicyError;
pub use root::RootProfile;
pub use rules::{CommonName, HostRule, KeyRule, PurposeRule, RenewalKey, RenewalRule, ValidityRule};
pub use set::{ProfileError, ProfileSet};
pub use verify::CsrFields;
