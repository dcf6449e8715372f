//! Who may make which call: pure, compiled once, and denying whatever no route permits.
//!
//! Of the routes whose path and method fit a request, the most specific one is chosen, whatever their
//! order in the file, and its `allow` alone decides. A caller whom it turns away never falls through
//! to a broader route: what the narrower rule closes, the broader one must not open.
//!
//! Paths are compared segment by segment from the left, and the first difference decides: a literal is
//! more specific than `{variable}` and `*` (which are alike: giving a segment a name changes no
//! decision), these than `**`, and a path that ends than one that goes on in `**`.
//!
//! Several routes may be for the same paths and methods, told apart by what they ask of the query; the
//! strictest that the query fulfils decides. When it fulfils none of them, the call is denied: neither
//! here does it fall through to a broader path.
//!
//! Many a service takes `/a` and `/a/` for one path, and some `/A` too. So what is permitted by a route that
//! does not spell the path out as it was sent is judged without the slash at its end as well, and without
//! regard to case; whatever of these is denied is denied.
//!
//! Nothing here does input or output, or knows the time: the same engine serves a request, a shadow
//! policy and an explanation offline.

mod decision;
mod error;
mod ids;
mod methods;
mod query;
mod route;
mod rules;
mod template;
mod tree;

pub use decision::{Decision, Denial, DenyReason, Terms, Verdict};
pub use error::PolicyError;
pub use ids::{RESERVED, RuleId, UpstreamId};
pub use methods::Methods;
pub use query::{QueryError, QueryRule, Wanted};
pub use route::{Allow, Caller, Group, NameRule, Route};
pub use rules::Policy;
pub use template::{Template, TemplateError, Variable};

pub(in crate::gateway) use ids::is_reserved;

#[cfg(test)]
mod tests;
