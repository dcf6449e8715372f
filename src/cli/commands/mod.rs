//! The commands of `cluster-ca`, a file or a directory each.
//!
//! | file | contents |
//! |---|---|
//! | `audit` | `audit list\|verify`: entries of the audit log, and verification of their hash chain |
//! | `backup` | `backup` and `restore`: encrypted backups of a home |
//! | `bundle` | `bundle ROLE/NAME`: one file to hand over |
//! | `ca_cert` | `ca-cert set\|status\|download\|unset`: CA that is trusted for external services |
//! | `create` | `create-control`, `create-node`, `create-api-user` |
//! | `crl` | `crl show\|publish\|push\|verify` |
//! | `distribute` | `distribute`: certificate, key, trust bundle and CRL copied to hosts by ssh |
//! | `doctor` | `doctor`: checks of the whole home, and safe repairs |
//! | `explain_failure` | `explain-failure HOST:PORT`: cause of a refused connection, with the remedy |
//! | `forecast` | `forecast`: upcoming expirations, for people, cron and Prometheus |
//! | `gateways` | `gateways`, and the push and query of gateways for other commands |
//! | `hosts` | `hosts`: deliveries of `distribute`, in `hosts.yaml` of the home |
//! | `initialize` | `initialize NAME`: create a cluster |
//! | `inspect` | `inspect` and `verify`: contents of files, and verification of certificates |
//! | `key` | `key show\|protect\|unprotect\|change-passphrase`: protection of a private key at rest |
//! | `kms` | `kms`: the key management service that wraps private keys |
//! | `ldap` | `ldap setup\|setup-ad\|show\|update\|enable\|disable\|test\|reset`: the directory whose users may log in |
//! | `list` | `list` and `show`: certificates in the inventory |
//! | `login` | `login`, `logout` and `whoami`: a user of the CA's server |
//! | `node_list` | Nodes to issue certificates for, as listed in a file for `create-node --from` |
//! | `org` | `org create\|list\|rename\|delete`: organizations of users |
//! | `profiles` | `profiles list\|show\|check` |
//! | `renew` | `renew` and `rekey`: replace a certificate, with the same key or a new one |
//! | `revoke` | `revoke`, `hold` and `release` |
//! | `security` | `security lockout-config\|login-banner\|token-lifetimes`: settings of logins and tokens |
//! | `serve` | `serve`: the CA as a server |
//! | `served` | Certificates in the answers of a server |
//! | `user` | `user add\|list\|show\|update\|delete\|passwd\|unlock\|revoke-tokens`: users who log in with a password |

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
pub(crate) mod ldap;
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
