//! The commands of `cluster-ca`, a file or a directory each.

pub(crate) mod audit;
pub(crate) mod backup;
pub(crate) mod bundle;
pub(crate) mod ca_cert;
pub(crate) mod create;
pub(crate) mod crl;
pub(crate) mod distribute;
pub(crate) mod doctor;
pub(crate) mod explain_failure;
pub(crate) mod forecast;
pub(crate) mod gateways;
pub(crate) mod hosts;
pub(crate) mod initialize;
pub(crate) mod inspect;
pub(crate) mod key;
pub(crate) mod kms;
pub(crate) mod list;
pub(crate) mod login;
pub(crate) mod node_list;
pub(crate) mod org;
pub(crate) mod profiles;
pub(crate) mod renew;
pub(crate) mod revoke;
pub(crate) mod security;
pub(crate) mod serve;
mod served;
pub(crate) mod user;
