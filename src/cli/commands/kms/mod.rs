//! `kms`: the key management service that wraps private keys.
//!
//! Each kind of service has its options in one file, and one line in `set`.
//!
//! | module | contents |
//! |---|---|
//! | `command` | `kms` with `show`, `unset`, `export` and `rewrap` |
//! | `set`, `set_request` | `kms set`: the kinds of services; arguments of any kind |
//! | `vault`, `kmip` | options of one kind of service |
//! | `service_report`, `login_report` | reports of a service and of its login |
//! | `pem_file` | PEM files among the options |

mod command;
mod kmip;
mod login_report;
mod pem_file;
mod service_report;
mod set;
mod set_request;
mod vault;

pub(crate) use command::Kms;
pub(crate) use pem_file::pem_text;
pub(crate) use vault::{VaultAccess, ca_of_environment, or_address_of_environment};
