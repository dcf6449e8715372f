//! `gateways`, and the push and query of gateways for other commands.

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
pub(crate) use target_args::{GatewayTargets, is_listed, listed};
