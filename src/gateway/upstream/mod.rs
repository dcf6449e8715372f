//! Connection pools of upstreams, and signed assertions about the client.
//!
//! | file | contents |
//! |---|---|
//! | `assertion` | Signed assertions to upstreams |
//! | `body` | Body of an upstream's response, with the connection that it arrives on |
//! | `body_decoder` | Decoder of a response's body (RFC 9112, section 7.1) |
//! | `connect` | Connection to one of the addresses of an upstream's name |
//! | `connection` | HTTP/1.1 connection to an upstream, and one exchange of a request and the head of its response on it |
//! | `error` | Errors of forwarding a request to an upstream |
//! | `idle` | Idle connections of an upstream, one queue per worker, longest idle first |
//! | `pool` | Connection pool of an upstream |
//! | `request_writer` | Writer of requests |
//! | `response_error` | Errors of reading an upstream's response |
//! | `response_head` | Head of an upstream's response |
//! | `upgraded` | Upgraded connection to an upstream |

pub mod assertion;
pub mod body;
pub mod body_decoder;
mod connect;
pub mod connection;
pub mod error;
mod idle;
pub mod pool;
pub mod request_writer;
pub mod response_error;
pub mod response_head;
pub mod upgraded;
