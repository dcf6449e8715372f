//! Certificate profiles from `ca-templates/`, and plans of certificates made from them (RFC 5280, section 4).
//!
//! - A [`LeafRequest`] gives an identity, hosts, a key type and a validity.
//! - The profile adds the rest or refuses. The resulting [`LeafPlan`] lists every field to be signed.
//! - [`LeafPlan::verify`] compares the signed certificate with the plan before it is released.
//!
//! A CSR contributes its public key only. Profiles are validated when they are read, so that an invalid one
//! can't exist. Signing happens elsewhere; of the issuer, only its `notAfter` is known here.

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
