//! Authorization policy: pure, compiled once, and denying each request that no route permits.
//!
//! Among the routes that match the path and method of a request, the most specific one is chosen. Their order
//! in the file has no effect. Only its `allow` decides: a denied caller never falls through to a broader route,
//! because a broad route must not permit what a specific one denies.
//!
//! Paths are compared segment by segment from the left, and the first difference decides. A literal is more
//! specific than `{variable}` and `*`. These two are equal: naming a segment changes no decision. Both are more
//! specific than `**`, and a path that ends is more specific than one that continues in `**`.
//!
//! Several routes may have the same paths and methods and differ in their query conditions. The strictest route
//! whose conditions the query satisfies decides. If the query satisfies none, the call is denied, without a
//! fallback to a broader path.
//!
//! Many upstreams treat `/a` and `/a/` as one path, and some also `/A`. So the policy judges four readings of paths
//! and routes: as they are, without the trailing slash, regardless of case, and both. In each, the most specific
//! routes decide; routes that differ only in what the reading ignores must all permit the call. The call is denied
//! if any of the readings denies it.
//!
//! The policy does no input or output and reads no clock: the same engine serves requests, a shadow policy and
//! offline explanations.
//!
//! | file | contents |
//! |---|---|
//! | `contradictions` | Search for routes that contradict each other without an error |
//! | `decision` | Decisions of the policy and their reasons |
//! | `error` | Errors of compiling routes to a policy |
//! | `ids` | Identifiers of rules and upstreams, and the reserved path |
//! | `methods` | Set of request methods |
//! | `name_rule` | Condition on the name of a caller or user |
//! | `query` | Conditions of a route on the query of a request |
//! | `reading` | Readings of paths: services differ in the paths that they treat as one |
//! | `route` | Routes and the callers that they allow |
//! | `rules` | Compiled policy and its decision on a request |
//! | `template` | Path templates of routes, such as `/v1/nodes/{name}/**` |
//! | `tree` | Tree of routes by path segments |
//! | `user_rule` | Users that a route allows: accounts that a verified access token names |
//! | `warning` | Warnings about routes that are valid, but may not mean what their author wants |

mod contradictions;
mod decision;
mod error;
mod ids;
mod methods;
mod name_rule;
mod query;
mod reading;
mod route;
mod rules;
mod template;
mod tree;
mod user_rule;
mod warning;

pub use decision::{Decision, Denial, DenyReason, Grant, Verdict};
pub use error::PolicyError;
pub use ids::{RESERVED, RuleId, UpstreamId};
pub use methods::Methods;
pub use name_rule::NameRule;
pub use query::{QueryError, QueryRule, Requirement};
pub use route::{Allow, Caller, Group, Route};
pub use rules::Policy;
pub use template::{Template, TemplateError, Variable};
pub use user_rule::{OrganizationRule, Subject, UserRule};
pub use warning::PolicyWarning;

pub(in crate::gateway) use ids::is_reserved;

#[cfg(test)]
mod random_tests;
#[cfg(test)]
mod tests;
