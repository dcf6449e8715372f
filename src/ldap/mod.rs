//! Client of LDAP directories (RFC 4511): connections with TLS, binds and searches.
//!
//! It is the subset that a login needs. A message is parsed without recursion, and has a length limit: before StartTLS,
//! anyone on the network can answer in the name of the directory.
//!
//! | file | contents |
//! |---|---|
//! | `uri` | [`LdapUri`]: address of a directory |
//! | `connection` | [`LdapEndpoint`] and [`LdapConnection`] |
//! | `message` | requests and responses |
//! | `filter` | [`LdapFilter`]: conditions of a search |
//! | `ber` | encoding |
//! | `error` | [`LdapError`] |

mod ber;
mod connection;
mod error;
mod filter;
mod message;
mod uri;

pub use connection::{LdapConnection, LdapEndpoint};
pub use error::LdapError;
pub use filter::LdapFilter;
pub use message::{LdapEntry, LdapSearch, is_ldap_response};
pub use uri::LdapUri;
