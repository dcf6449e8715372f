//! KMIP servers, versions 1.2 to 2.x. The wrapping key never leaves the server, which encrypts and decrypts
//! data keys with it.
//!
//! | module | contents |
//! |---|---|
//! | `settings`, `names` | the server's part of `kms.json` |
//! | `wrapped` | its part of an envelope |
//! | `service`, `client` | the kind of service, and its client |
//! | `connection` | mutual TLS, deadlines, size limits |
//! | `message`, `ttlv` | the few messages in use, and their encoding |
//! | `result_reason` | reasons of a failed request |
//! | `decode` | the decoder as one function of bytes, for tests |

mod client;
mod connection;
mod decode;
mod message;
mod names;
mod result_reason;
mod service;
mod settings;
mod ttlv;
mod wrapped;

pub use decode::is_kmip_response;
pub use names::{KmipAddress, UniqueIdentifier};
pub use settings::KmipService;
pub use wrapped::{KmipCiphertext, KmipMode};
