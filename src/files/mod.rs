//! Files that appear whole or not at all, are private from their first byte, and are read with limits.
//!
//! | file | contents |
//! |---|---|
//! | `error` | [`FileError`] |
//! | `read` | bounded reads of regular files and of private files |
//! | `permissions` | owner and mode checks |
//! | `write_protection` | refusal of files and directories that any user could write or replace |
//! | `staged` | write beside the destination, sync, rename |
//! | `write` | one file written durably |
//! | `durability` | directory and file system sync |
//! | `paths` | path helpers and directory listings |
//! | `lock` | one writer per directory |
//! | `text` | paths in serialized output |

mod durability;
mod error;
mod lock;
mod paths;
mod permissions;
mod read;
mod staged;
mod text;
mod write;
mod write_protection;

pub use durability::{sync_directory, sync_filesystem};
pub use error::FileError;
pub use lock::DirectoryLock;
pub use paths::{absolute, list, list_if, occupied, parent};
pub use permissions::{check_directory, check_private_directory, owned_by_user_or_root};
pub use read::{CRL_FILE, SMALL_FILE, check_readable, read, read_private};
pub use staged::{Access, Placement, Staged, place_new, replace_both};
pub use text::{all_as_text, as_optional_text, as_text};
pub use write::{create_private, make_private_directory, write, write_with};
pub use write_protection::{
    check_path, check_protected_directory, check_unshared_directory, check_write_protected,
    is_world_writable, read_write_protected,
};
