//! Requests, from the head to the end of the response.
//!
//! | file | contents |
//! |---|---|
//! | `authorization` | Permission of a request while it is in flight |
//! | `challenge` | Challenges of refused requests (RFC 9110, section 11.6.1; RFC 6750, section 3) |
//! | `context` | Contexts of workers and connections, shared by their requests |
//! | `h2_executor` | Executor of HTTP/2 streams: aborts responses that stall or lose their permission |
//! | `last_token` | Token of the last request of a connection |
//! | `problem` | Problem of a request |
//! | `problem_response` | Problems as responses (RFC 9457) |
//! | `response_body` | Response bodies: counted, and aborted when the client loses its permission |
//! | `service` | Service of one request, from its head to the head of its response |
//! | `stall_watch` | Stalled responses: the client stops reading, or the upstream stops sending |
//! | `token_check` | Check of the access token of a request (RFC 6750) |
//! | `tunnel` | Tunnels: upgraded connections (RFC 9110, section 7.8) |
//! | `well_known` | Resources of the gateway itself |

pub mod authorization;
pub mod challenge;
pub mod context;
pub mod h2_executor;
pub mod last_token;
pub mod problem;
pub mod problem_response;
pub mod response_body;
pub mod service;
pub mod stall_watch;
pub mod token_check;
pub mod tunnel;
pub mod well_known;
