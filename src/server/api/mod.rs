//! REST API below `/api/v1`: endpoints, callers, problems, and the description in OpenAPI.
//!
//! Handlers read a request, call the functions that the commands call, and write the result. They hold no rules of
//! their own. The table of endpoints gives the routes, the roles that may use each, and its description.

mod access;
mod account_body;
mod account_call;
mod audit;
mod caller;
mod certificate_body;
mod certificate_changes;
mod certificates;
mod crl;
mod endpoint;
mod extract;
mod forecast;
mod idempotent;
mod ldap;
mod ldap_body;
mod logins;
mod openapi;
mod page;
mod precondition;
mod problem;
mod routes;
mod security;
mod table;
mod users;
mod whoami;

pub(super) use caller::{ApiCaller, Client, RequestContext};
pub(super) use problem::Problem;
pub(super) use routes::router;
