//! Connection pools of upstreams, and signed assertions about the client.
//!
//! | file | contents |
//! |---|---|
//! | `assertion` | Signed assertions to upstreams |
//! | `connect` | Connection to one of the addresses of an upstream's name |
//! | `connection` | HTTP/1.1 connection to an upstream |
//! | `error` | Errors of forwarding a request to an upstream |
//! | `interim_reader` | Reader of interim responses |
//! | `limits` | Timeouts and limits of an upstream |
//! | `pool` | Connection pool of an upstream |
//! | `response_check` | Checks of an upstream's response |
//! | `stream` | Stream to an upstream |

pub mod assertion;
pub mod body;
pub mod body_decoder;
mod connect;
pub mod connection;
pub mod error;
mod idle;
pub mod limits;
pub mod pool;
pub mod request_writer;
pub mod response_error;
pub mod response_head;
pub mod upgraded;
