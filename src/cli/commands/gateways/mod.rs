//! `gateways`, and what other commands need to have every gateway enforce a list.

mod command;
mod push;
mod query;
mod status;
mod target_args;

pub(crate) use command::Gateways;
pub(crate) use push::{FollowUp, Push, PushReport, Wait};
pub(crate) use target_args::{Reach, is_listed};
