//! `audit list|verify`: entries of the audit log, and verification of their hash chain.

use std::fmt;

use clap::{Args, Subcommand};
use serde::Serialize;
use serde_json::Value;

use crate::audit::AuditEntry;
use crate::ca::Cluster;
use crate::clock::rfc3339;
use crate::error::Code;
use crate::store::StoreError;

use crate::cli::group::GroupedCommand;
use crate::cli::session::CommandSession;
use crate::terminal::report::{CommandResult, Failure, Shown};

/// Subcommands of `audit`.
#[derive(Debug, Subcommand)]
pub(crate) enum Audit {
    /// List the entries: time, actor, action, target and reason (default)
    List(ListAuditLog),
    /// Verify the hash chain of the entries, and the inventory against them
    Verify(VerifyAuditLog),
}

/// The arguments of `audit list`.
#[derive(Debug, Default, Args)]
pub(crate) struct ListAuditLog {
    /// Only entries after this number
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    after: u64,
}

/// The arguments of `audit verify`.
#[derive(Debug, Args)]
pub(crate) struct VerifyAuditLog {
    /// An earlier head of the chain, NUMBER:HASH; the chain must still contain it
    #[arg(long, value_name = "NUMBER:HASH")]
    head: Option<String>,
}

#[derive(Serialize)]
struct Row {
    seq: u64,
    at: String,
    actor: String,
    action: String,
    target: String,
    outcome: String,
    reason: Option<String>,
    details: Value,
    hash: String,
}

impl Row {
    /// Target of the entry; a certificate by role, name and serial number.
    fn subject(&self) -> String {
        let detail = |key| self.details.get(key).and_then(Value::as_str);
        match (detail("role"), detail("name"), self.target.rsplit_once('/')) {
            (Some(role), Some(name), Some((_, serial_number))) => format!("{role}/{name} ({serial_number})"),
            _ => self.target.clone(),
        }
    }
}

impl From<AuditEntry> for Row {
    fn from(entry: AuditEntry) -> Self {
        let event = entry.event;
        Self {
            seq: entry.seq,
            at: rfc3339(event.provenance.at),
            actor: event.provenance.actor.to_string(),
            action: event.action.to_string(),
            target: event.target,
            outcome: event.outcome.to_string(),
            reason: event.provenance.reason,
            details: event.details,
            hash: entry.hash.to_string(),
        }
    }
}

#[derive(Serialize)]
#[serde(transparent)]
struct Listing(Vec<Row>);

impl fmt::Display for Listing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for row in &self.0 {
            write!(f, "{:>6}  {}  {}  {:20} {}", row.seq, row.at, row.actor, row.action, row.subject())?;
            match &row.reason {
                Some(reason) => writeln!(f, "  ({})", reason.escape_debug())?,
                None => writeln!(f)?,
            }
        }
        Ok(())
    }
}

/// Result of `audit verify`.
#[derive(Serialize)]
struct VerifiedChain {
    entries: u64,
    head: String,
}

impl fmt::Display for VerifiedChain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "The audit chain is intact: {} entries, and the inventory agrees with them",
            self.entries
        )?;
        writeln!(
            f,
            "  head  {}  (record it elsewhere: `audit verify --head` detects a truncated or rewritten chain)",
            self.head
        )
    }
}

impl Default for Audit {
    fn default() -> Self {
        Self::List(ListAuditLog::default())
    }
}

impl GroupedCommand for Audit {
    fn run(self, session: &CommandSession) -> CommandResult {
        let cluster = Cluster::open(&session.home(), &session.context)?;
        match self {
            Self::List(list) => {
                let mut rows = Vec::new();
                cluster.inventory().audit_entries(list.after, |entry| {
                    rows.push(Row::from(entry));
                    Ok::<_, StoreError>(())
                })?;
                Ok(Box::new(Shown(Listing(rows))))
            }
            Self::Verify(verify) => {
                let head = cluster.inventory().check_against_audit()?;
                if let Some(earlier) = &verify.head {
                    contains(&cluster, earlier)?;
                }
                let text = format!("{}:{}", head.seq, head.hash);
                Ok(Box::new(Shown(VerifiedChain { entries: head.seq, head: text })))
            }
        }
    }
}

/// Checks that the chain still contains an earlier head.
fn contains(cluster: &Cluster, earlier: &str) -> Result<(), Failure> {
    let unreadable =
        || Failure::new(Code::usage("usage.head"), "--head takes NUMBER:HASH, as `audit verify` prints it");
    let (seq, hash) = earlier.split_once(':').ok_or_else(unreadable)?;
    let seq: u64 = seq.parse().map_err(|_| unreadable())?;
    let entry = cluster.inventory().audit_entry(seq)?;
    if entry.is_some_and(|entry| entry.hash.to_string() == hash) {
        return Ok(());
    }
    Err(Failure::new(
        Code::refused("audit.rewritten"),
        format!("the chain does not contain the recorded entry {seq}"),
    )
    .with_hint(
        "the inventory was truncated, rewritten, or replaced by an older copy since; compare with a backup",
    ))
}
