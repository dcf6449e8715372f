//! The audit chain: every change with actor, time, reason and outcome, each entry bound to all earlier ones by
//! a hash.
//!
//! This module does no I/O: the inventory keeps each entry in the transaction of its change. The chain reveals
//! a modified, missing, moved or inserted entry. Entries missing at the end, or a chain rewritten as a whole,
//! show against a [`Head`] recorded elsewhere.
//!
//! | file | contents |
//! |---|---|
//! | `provenance` | [`Actor`] and [`Provenance`] |
//! | `action` | [`Action`] and [`Outcome`] |
//! | `chain` | [`AuditEvent`], [`AuditEntry`], [`Head`] and verification |
//! | `error` | words that are not valid in an entry |

mod action;
mod chain;
mod error;
mod provenance;

pub use action::{Action, Outcome};
pub use chain::{AuditEntry, AuditEvent, BrokenChain, ChainDefect, Head, verify};
pub use error::AuditError;
pub use provenance::{Actor, Provenance};
