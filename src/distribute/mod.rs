//! Delivery of certificates, private keys and trust files to the machines that use them.
//!
//! A [`Package`] is the files of one identity under the names that its service expects. [`Ssh`] installs
//! it on a machine, and [`DeliveryList`] lists the deliveries of a cluster. [`archive()`] and
//! [`key_store()`] write it to a single file instead. Reading the CA's home and writing the audit log are
//! left to the caller.

mod archive;
mod delivery_list;
mod delivery_list_text;
mod error;
mod installation;
mod key_store;
mod package;
mod parallel;
mod script;
mod session;
mod ssh;
mod ssh_destination;

pub use archive::{ArchivedFile, archive, is_archive, read_archive, readme};
pub use delivery_list::{DELIVERY_LIST_FILE, Delivery, DeliveryList, DeliveryListError};
pub use delivery_list_text::{DeliveryListText, DeliveryListTextError};
pub use error::{DeliveryError, RemoteFailure, RemoteOutput};
pub use installation::{AccountName, Installation, InstallationError, KeyMode, PrivilegeProgram};
pub use key_store::{
    KeyStoreContents, KeyStoreEntries, KeyStoreError, KeyStorePassword, StoredObject, is_key_store,
    key_store, open_key_store,
};
pub use package::{FileStem, FileStemError, Package, PackageFile};
pub use parallel::in_parallel;
pub use script::{ReloadCommand, ReloadCommandError};
pub use session::{Delivered, DeliveredFile};
pub use ssh::Ssh;
pub use ssh_destination::{SshDestination, SshDestinationError};
