//! `gateways`, and the push and query of gateways for other commands.
//!
//! | file | contents |
//! |---|---|
//! | `command` | `gateways`, alone or with its command |
//! | `crl_route` | Way of a new CRL to the gateways, when it was not pushed |
//! | `push` | Push of the newest CRL to every gateway, and its report |
//! | `push_statement` | Push of the statement about tokens to every gateway, and its report |
//! | `query` | Query of all gateways for other commands |
//! | `status` | State of every gateway, compared with the home |
//! | `target_args` | Gateways to call, the operator certificate to call them with, and their trust anchors |

mod command;
mod crl_route;
mod push;
mod push_statement;
mod query;
mod status;
mod target_args;

pub(crate) use command::Gateways;
pub(crate) use push::{FollowUp, Push, PushedBody, Wait};
pub(crate) use push_statement::{StatementPushReport, StatementWait, push_statement};
pub(crate) use target_args::{GatewayTargets, is_listed, listed, missing_operator};
