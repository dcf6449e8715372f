//! `audit list|verify`: entries of the audit log, and verification of their hash chain.

use std::fmt;
use std::str::FromStr;

use clap::{Args, Subcommand};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use time::OffsetDateTime;

use crate::audit::{Action, AuditEntry, AuditError, Outcome};
use crate::ca::Cluster;
use crate::clock::{parse_time, rfc3339};
use crate::error::Code;
use crate::identity::UserReference;
use crate::store::AuditFilter;
use crate::x509::Sha256;

use crate::api_client::ApiSession;
use crate::cli::group::GroupedCommand;
use crate::cli::server_args::{ServerChoice, failure};
use crate::cli::session::CommandSession;
use crate::terminal::color::Color;
use crate::terminal::report::{CommandResult, Failure, Interruption, Shown};
use crate::terminal::rows::{ListingOutput, RowSource, StreamedListing};
use crate::terminal::table::{Cell, Column, TableOutput, to_the_minute};

/// Subcommands of `audit`.
#[derive(Debug, Subcommand)]
pub(crate) enum Audit {
    /// List the entries: time, actor, action, target and reason (default)
    List(Box<ListAuditLog>),
    /// Verify the hash chain of the entries, and the inventory against them
    Verify(VerifyAuditLog),
}

/// The arguments of `audit list`.
#[derive(Debug, Default, Args)]
pub(crate) struct ListAuditLog {
    /// Only entries after this number
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    after: u64,

    /// Only entries of this time or later, such as 2027-01-31 or 2027-01-31T12:00:00Z
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    since: Option<OffsetDateTime>,

    /// Only entries before this time
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    until: Option<OffsetDateTime>,

    /// Only this actor, with * and ? as in a shell
    #[arg(long, value_name = "GLOB")]
    actor: Option<String>,

    /// Only this action, such as certificate.issue, or all of a kind, such as crl
    #[arg(long, value_name = "ACTION")]
    action: Option<ActionPattern>,

    /// Only this target: ROLE/NAME or a serial number, with * and ? as in a shell
    #[arg(long, value_name = "TARGET")]
    target: Option<String>,

    /// Only what this user of the server did, and what was done to its account; ORG/USER in an organization
    #[arg(long, value_name = "USER")]
    user: Option<UserReference>,

    /// Only the newest NUMBER entries
    #[arg(long, value_name = "NUMBER")]
    limit: Option<u64>,

    /// Print all columns in full, or only the targets
    #[arg(long, value_enum, value_name = "FORM")]
    output: Option<ListingOutput>,

    #[command(flatten)]
    server: ServerChoice,
}

/// Pattern of one action, or of all actions of a kind.
#[derive(Clone, Debug)]
struct ActionPattern(String);

impl FromStr for ActionPattern {
    type Err = AuditError;

    fn from_str(text: &str) -> Result<Self, AuditError> {
        let kind = format!("{text}.");
        match Action::ALL.iter().any(|action| action.as_str().starts_with(&kind)) {
            true => Ok(Self(format!("{kind}*"))),
            false => text.parse().map(|action: Action| Self(action.as_str().to_owned())),
        }
    }
}

/// The arguments of `audit verify`.
#[derive(Debug, Args)]
pub(crate) struct VerifyAuditLog {
    /// An earlier head of the chain, NUMBER:HASH; the chain must still contain it
    #[arg(long, value_name = "NUMBER:HASH")]
    head: Option<String>,
}

#[derive(Serialize, Deserialize)]
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
        match (self.named(), self.target.rsplit_once('/')) {
            (Some(identity), Some((_, serial_number))) => format!("{identity} ({serial_number})"),
            _ => self.target.clone(),
        }
    }

    /// Target of the entry; a certificate by role and name.
    fn identity(&self) -> String {
        self.named().unwrap_or_else(|| self.target.clone())
    }

    fn named(&self) -> Option<String> {
        let detail = |key| self.details.get(key).and_then(Value::as_str);
        Some(format!("{}/{}", detail("role")?, detail("name")?))
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

/// Entries of the audit log that match a filter.
enum AuditLog {
    /// Those of an inventory.
    Home { cluster: Box<Cluster>, filter: AuditFilter },
    /// Those that a server lists.
    Server { api: ApiSession, conditions: Vec<(&'static str, String)> },
}

/// Entries on a page of a server.
const PAGE: u64 = 500;

impl RowSource for AuditLog {
    type Row = Row;

    const COLUMNS: &'static [Column] = &[
        Column::new("ENTRY").number(),
        Column::new("TIME"),
        Column::new("ACTOR").flexible(),
        Column::new("ACTION"),
        Column::new("TARGET").flexible(),
        Column::new("OUTCOME").wide(),
        Column::new("REASON").wide(),
    ];
    const NONE: &'static str = "No entries.";

    fn read(&self, each: &mut dyn FnMut(Row) -> Result<(), Interruption>) -> Result<(), Interruption> {
        match self {
            Self::Home { cluster, filter } => {
                cluster.inventory().list_audit(filter, |entry| each(Row::from(entry)))
            }
            Self::Server { api, conditions } => {
                let failed = |error| Interruption::Source(failure(error));
                api.get_pages("/audit", conditions, PAGE, failed, each)
            }
        }
    }

    fn cells(row: &Row, output: TableOutput) -> Vec<Cell> {
        let is_wide = output == TableOutput::Wide;
        let time = if is_wide { row.at.clone() } else { to_the_minute(&row.at) };
        let target = if is_wide { row.subject() } else { row.identity() };
        let color = (row.outcome != Outcome::Success.as_str()).then_some(Color::Bad);
        vec![
            row.seq.into(),
            time.into(),
            row.actor.as_str().into(),
            Cell::new(&row.action).colored(color),
            target.into(),
            Cell::new(&row.outcome).colored(color),
            row.reason.as_deref().unwrap_or_default().into(),
        ]
    }

    fn name(row: &Row) -> String {
        row.identity()
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

impl ListAuditLog {
    /// The conditions as a server takes them.
    fn conditions(&self) -> Vec<(&'static str, String)> {
        let text = |key, value: Option<String>| value.map(|value| (key, value));
        [
            text("after", (self.after > 0).then(|| self.after.to_string())),
            text("since", self.since.map(rfc3339)),
            text("until", self.until.map(rfc3339)),
            text("actor", self.actor.clone()),
            text("action", self.action.as_ref().map(|pattern| pattern.0.clone())),
            text("target", self.target.clone()),
            text("user", self.user.as_ref().map(ToString::to_string)),
            text("newest", self.limit.map(|limit| limit.to_string())),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

impl Default for Audit {
    fn default() -> Self {
        Self::List(Box::default())
    }
}

impl GroupedCommand for Audit {
    fn run(self, session: &CommandSession) -> CommandResult {
        match self {
            Self::List(list) => {
                let list = *list;
                if let Some(api) = list.server.open(session)? {
                    let source = AuditLog::Server { api, conditions: list.conditions() };
                    return Ok(Box::new(StreamedListing { source, output: list.output, limit: None }));
                }
                let cluster = Box::new(Cluster::open(&session.home(), &session.context)?);
                let filter = AuditFilter {
                    after: list.after,
                    since: list.since,
                    until: list.until,
                    actor: list.actor,
                    action: list.action.map(|pattern| pattern.0),
                    target: list.target,
                    user: list.user,
                    newest: list.limit,
                };
                let source = AuditLog::Home { cluster, filter };
                Ok(Box::new(StreamedListing { source, output: list.output, limit: None }))
            }
            Self::Verify(verify) => {
                let cluster = Cluster::open(&session.home(), &session.context)?;
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

/// Check that the chain still contains an earlier head.
fn contains(cluster: &Cluster, earlier: &str) -> Result<(), Failure> {
    let unreadable =
        || Failure::new(Code::usage("usage.head"), "--head takes NUMBER:HASH, as `audit verify` prints it");
    let (seq, hash) = earlier.split_once(':').ok_or_else(unreadable)?;
    let seq: u64 = seq.parse().map_err(|_| unreadable())?;
    let hash: Sha256 = hash.parse().map_err(|_| unreadable())?;
    let entry = cluster.inventory().audit_entry(seq)?;
    if entry.is_some_and(|entry| entry.hash == hash) {
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
