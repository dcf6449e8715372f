//! What is done after issuing: a certificate, its key and what the cluster trusts, carried to where
//! they are used.
//!
//! A [`Package`] is the files of one identity under the names that its service expects. [`Ssh`] puts
//! it on a machine, [`Hosts`] says which machines there are, [`archive()`] and [`key_store()`] make one
//! file of it to hand over. Where the files come from and what is noted of them is decided by the
//! caller: nothing here knows the CA's home.

mod archive;
mod destination;
mod error;
mod hosts;
mod key_store;
mod package;
mod parallel;
mod script;
mod session;
mod ssh;

pub use archive::{archive, readme};
pub use destination::{Destination, DestinationError};
pub use error::{DeliveryError, RemoteFault, Words};
pub use hosts::{Delivery, Hosts, HostsError};
pub use key_store::{KeyStoreError, Password, key_store};
pub use package::{FileStem, FileStemError, Package, PackedFile};
pub use parallel::in_parallel;
pub use script::{ReloadCommand, ReloadCommandError};
pub use session::{Delivered, DeliveredFile};
pub use ssh::Ssh;
