//! Delivery of certificates, private keys and trust files to the machines that use them.
//!
//! A [`Package`] is the files of one identity under the names that its service expects. [`Ssh`] installs
//! it on a machine, and [`DeliveryList`] lists the deliveries of a cluster. [`archive()`] and
//! [`key_store()`] write it to a single file instead. Reading the CA's home and writing the audit log are
//! left to the caller.
//!
//! | file | contents |
//! |---|---|
//! | `archive` | Tar archive of a package, with a README for its recipient |
//! | `delivery_list` | Deliveries of a cluster, as listed in `hosts.yaml` |
//! | `delivery_list_text` | Text of a `hosts.yaml`, changed entry by entry |
//! | `error` | Errors of a delivery, and the output of the remote side |
//! | `installation` | Ownership of installed files, and the privilege of the login that installs them |
//! | `key_store` | PKCS#12 key stores (RFC 7292), for browsers and Java |
//! | `package` | Files of one identity, under the names that its service expects |
//! | `parallel` | Jobs on a bounded number of threads |
//! | `script` | Script that the remote side runs: the variables of one delivery, then a constant part |
//! | `session` | Dialogue with the remote script over the pipes of `ssh` |
//! | `ssh` | Delivery over OpenSSH |
//! | `ssh_destination` | Destination of a delivery: `[USER@]HOST[:PORT]:/DIRECTORY` |

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
