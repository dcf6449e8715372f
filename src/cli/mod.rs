//! Command line of `cluster-ca`: commands and their shared options.
//!
//! | file | contents |
//! |---|---|
//! | `actor` | Operator recorded in the audit chain: local account and host name |
//! | `commands` | The commands of `cluster-ca`, a file or a directory each |
//! | `environment` | Environment variables, those of the command lines of OpenBao and Vault among them |
//! | `group` | Groups of commands |
//! | `input` | Certificates, keys and CSRs that arguments refer to, parsed from text and files |
//! | `key_protection` | Home opened to change the protection of its keys |
//! | `password` | Password of a key store or backup, read from a file, a file descriptor or the terminal |
//! | `program` | Command tree of `cluster-ca`, and entry points of the program |
//! | `secrets` | Secrets supplied by the user |
//! | `server_args` | Options that name a server, and the choice between a home and a server |
//! | `session` | Global options, and the session of a command |
//! | `unlock` | Passphrases, PINs and service credentials supplied on the command line |

mod actor;
mod commands;
mod environment;
mod group;
mod input;
mod key_protection;
mod password;
mod program;
mod secrets;
mod server_args;
mod session;
mod unlock;

pub use program::{Cli, main, run};
