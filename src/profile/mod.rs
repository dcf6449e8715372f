//! What each role's certificates may be: profiles, read from `ca-templates/`, and the plans and
//! judgements that follow from them (RFC 5280, section 4).
//!
//! Power runs in one direction. A request names an identity, hosts, a key type and a validity; the
//! profile fills in the rest or refuses; the [`LeafPlan`] says exactly what is to be signed; and
//! [`LeafPlan::judge`] compares the signed certificate with it, field by field, before it is let
//! out. Nothing that a certification request says gets into a certificate on its own.
//!
//! No profile exists that breaks a rule, and no set of profiles in which one does. Nothing here
//! signs, and nothing knows an issuer beyond its end.

mod built_in;
mod judge;
mod leaf;
mod mismatch;
mod origin;
mod plan;
mod policy;
mod review;
mod root;
mod rules;
mod schema;
mod set;
mod view;

pub use built_in::BUILT_IN;
pub use judge::Asked;
pub use leaf::LeafProfile;
pub use mismatch::Mismatch;
pub use origin::{Origin, Source};
pub use plan::{LeafPlan, LeafRequest, PlannedSubject, RootPlan, RootRequest};
pub use policy::PolicyError;
pub use root::RootProfile;
pub use rules::{CommonName, HostRule, KeyRule, PurposeRule, RenewalKey, RenewalRule, ValidityRule};
pub use set::{ProfileError, ProfileSet};
