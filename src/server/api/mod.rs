//! REST API below `/api/v1`: endpoints, callers, problems, and the description in OpenAPI.
//!
//! Handlers read a request, call the functions that the commands call, and write the result. They hold no rules of
//! their own. The table of endpoints gives the routes, the roles that may use each, and its description.
//!
//! | file | contents |
//! |---|---|
//! | `access` | Roles that may use an endpoint |
//! | `account_body` | Bodies about accounts |
//! | `account_call` | A request about accounts |
//! | `audit` | `audit`: entries of the audit log |
//! | `caller` | Caller of a request |
//! | `certificate_body` | Certificates in the bodies of responses |
//! | `certificate_changes` | `certificates`: issue, renew, revoke, suspend, and lift a hold |
//! | `certificates` | `certificates`: list, show, download |
//! | `crl` | `crl`: the CRL of the cluster, as facts, PEM and DER |
//! | `endpoint` | Endpoint: its route, the roles that may use it, and all that its description needs |
//! | `extract` | Parts of a request as typed values |
//! | `forecast` | `forecast`: upcoming expirations |
//! | `idempotent` | `Idempotency-Key` on requests that create: a repeated one has the result of the first |
//! | `ldap` | `ldap`: the directory of an organization |
//! | `ldap_body` | Bodies about directories |
//! | `logins` | `login`, `logout` and `tokens` |
//! | `openapi` | Description of the API in OpenAPI 3.1, made from the table of endpoints and the types of its bodies |
//! | `page` | Pages of long lists |
//! | `precondition` | Preconditions (RFC 9110, section 13) |
//! | `problem` | Problems as responses (RFC 9457), with the stable code of the error and the ID of the request |
//! | `routes` | Routes of all endpoints, each behind the check of its roles |
//! | `security` | `security`: lockout, login banner and lifetimes of tokens |
//! | `table` | Table of all endpoints |
//! | `users` | `users` and `organizations` |
//! | `whoami` | `whoami`: the caller, as the server sees it |

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
