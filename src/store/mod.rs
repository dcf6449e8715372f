//! The inventory: every issuer, certificate, revocation and account of the cluster, and the audit chain.
//!
//! It is one SQLite file; no SQL leaves this module. Rows are read into the domain's own types, so a row that
//! another program changed is an error.
//!
//! All changes go through a [`Transaction`]; each of its steps appends its audit entry. A certificate is
//! *reserved* before it is signed, *issued* once it is recorded, and *placed* once its files are written.
//! [`Inventory::reserved`] and [`Inventory::unplaced`] find what a crash left unfinished. The lock on the home,
//! not this module, decides which process may write.
//!
//! | file | contents |
//! |---|---|
//! | `inventory` | open and create; begin a transaction |
//! | `transaction` | changes with their audit entries |
//! | `adoption` | records of another copy of the inventory, for a restore |
//! | `query`, `filter`, `expiry` | queries, each answered through an index |
//! | `scan` | all certificates with their DER |
//! | `audit_filter` | conditions on audit entries |
//! | `audit_check` | all rows compared with the audit chain |
//! | `record_check` | single rows compared with their audit entries |
//! | `parallel` | connections for work on all cores |
//! | `snapshot` | an online copy of the inventory |
//! | `account_changes` | changes of accounts, sessions and security settings |
//! | `ldap` | directories of organizations |
//! | `account_rows`, `account_check` | queries of accounts, and their comparison with the audit chain |
//! | `token_events` | audit entries that revoke tokens |
//! | `requests` | requests that were sent twice |
//! | `account`, `cluster`, `issuer`, `record`, `status` | the types of what is recorded |
//! | `row` | columns to types |
//! | `lookup`, `details` | rows by key, and audit entries of rows |
//! | `connection`, `schema` | SQLite settings, tables and versions |
//! | `error` | [`StoreError`] |

mod account;
mod account_changes;
mod account_check;
mod account_rows;
mod adoption;
mod audit_check;
mod audit_filter;
mod cluster;
mod connection;
mod details;
mod error;
mod expiry;
mod filter;
mod inventory;
mod issuer;
mod ldap;
mod lookup;
mod parallel;
mod query;
mod record;
mod record_check;
mod requests;
mod row;
mod scan;
mod schema;
mod snapshot;
mod status;
mod token_events;
mod transaction;

#[cfg(test)]
mod tests;

pub use account::{
    AccountSource, LockoutState, LoginSession, OrganizationRecord, PasswordHashText, SecuritySettings,
    UnknownLogins, UserFacts, UserRecord,
};
pub use account_rows::AccountRows;
pub use audit_filter::AuditFilter;
pub use cluster::ClusterRecord;
pub use error::{SchemaDefect, StoreError};
pub use filter::{Filter, ListOrder};
pub use inventory::Inventory;
pub use issuer::{CurrentCrl, IssuerRecord, IssuerState};
pub use ldap::{LdapRecord, LdapServerType, LdapSettings};
pub use record::{CertificateId, Issuance, Record, Reservation, RevocationRecord, RevokedCertificate};
pub use requests::{EarlierRequest, REQUESTS_KEPT};
pub use scan::ScannedRecord;
pub use status::{RecordCounts, RecordStatus};
pub use transaction::Transaction;
