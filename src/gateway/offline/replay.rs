//! Replay of an access log against another policy.

use std::collections::HashMap;
use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::Path;

use http::Method;
use serde::{Deserialize, Serialize};

use crate::error::Coded;
use crate::gateway::config::Config;
use crate::gateway::message::path::RequestPath;
use crate::gateway::policy::{DenyReason, Methods, Subject, Verdict};
use crate::gateway::process::RunError;
use crate::gateway::process::load::load_unguarded;
use crate::gateway::telemetry::events::MAX_TEXT_CHARS;
use crate::identity::{AccountIdentity, AccountRole, Identity, Name, Role, TrustDomain};
use crate::terminal::escaped::one_line;

/// Most distinct changes that are listed; further ones are only counted.
const MAX_LISTED: usize = 1_000;

/// Decide every request in the access log `log` (`-` for standard input) by the policy in `config`.
///
/// # Errors
/// [`RunError`] if a file cannot be read, or no line is one of an access log.
pub fn replay(log: &Path, config: &Path) -> Result<ReplayReport, RunError> {
    let config = load_unguarded(config)?;
    let failed = |source| RunError::AccessLog { path: log.to_owned(), source };
    let lines: Box<dyn BufRead> = match log.to_str() {
        Some("-") => Box::new(io::stdin().lock()),
        _ => Box::new(BufReader::new(File::open(log).map_err(failed)?)),
    };
    let replay = compare_all(lines, &config).map_err(failed)?;
    match replay.is_empty() {
        true => Err(RunError::NoAccessLog { path: log.to_owned() }),
        false => Ok(replay),
    }
}

fn compare_all(mut lines: impl BufRead, config: &Config) -> io::Result<ReplayReport> {
    let mut replay = ReplayReport::default();
    let mut index = HashMap::new();
    let mut line = Vec::new();
    for number in 1.. {
        line.clear();
        if lines.read_until(b'\n', &mut line)? == 0 {
            break;
        }
        let line = match LogLine::of(&line) {
            LogLine::Decision(line) => line,
            LogLine::NoDecision => {
                replay.other_lines += 1;
                continue;
            }
            LogLine::Broken => {
                replay.unjudgeable += 1;
                continue;
            }
            LogLine::Foreign => {
                replay.foreign_lines += 1;
                continue;
            }
        };
        match line.compare(config) {
            Comparison::Incomplete => replay.unjudgeable += 1,
            Comparison::DependsOnQuery => replay.depends_on_query += 1,
            Comparison::Same => replay.unchanged += 1,
            Comparison::Changed { now } => {
                replay.changed += 1;
                replay.list(&mut index, *line, now, number);
            }
        }
    }
    Ok(replay)
}

/// Effect of a new policy.
#[derive(Debug, Default, Serialize)]
pub struct ReplayReport {
    /// Requests with the same decision.
    pub unchanged: u64,
    /// Requests with another decision or upstream.
    pub changed: u64,
    /// Requests that the policy decides by their query, which the log does not have.
    pub depends_on_query: u64,
    /// Requests whose path, caller or decision is missing or truncated in the log.
    pub unjudgeable: u64,
    /// Lines without a decision.
    pub other_lines: u64,
    /// Lines that are not of an access log, or were cut by a full disk or a rotation.
    pub foreign_lines: u64,
    /// Distinct changes, in the order of the log.
    pub changes: Vec<ChangedRequest>,
}

/// Distinct request that the new policy decides differently.
#[derive(Debug, Serialize)]
pub struct ChangedRequest {
    /// Role and name of the caller, and its user; `None` without a certificate and a token.
    pub caller: Option<String>,
    /// HTTP method of the request.
    pub method: String,
    /// Path without the query, which the log leaves out.
    pub path: String,
    /// Old decision, with the upstream or the reason.
    pub was: String,
    /// New decision, with the upstream or the reason.
    pub now: String,
    /// Number of the first such line, from 1.
    pub line: u64,
    /// Number of such requests.
    pub requests: u64,
}

impl ReplayReport {
    /// Return true if every request keeps its decision. Unreadable lines may be requests, so they count as changes.
    #[must_use]
    pub const fn is_without_change(&self) -> bool {
        self.changed + self.depends_on_query + self.unjudgeable + self.foreign_lines == 0
    }

    /// Return true if no line is one of an access log.
    const fn is_empty(&self) -> bool {
        self.unchanged + self.changed + self.depends_on_query + self.unjudgeable + self.other_lines == 0
    }

    fn list(&mut self, index: &mut HashMap<String, usize>, line: RequestEntry, now: String, number: u64) {
        let caller = line.caller();
        let was = line.old_decision();
        let key = format!("{caller:?} {} {:?} {was} {now}", line.method, line.path);
        if let Some(change) = index.get(&key).and_then(|position| self.changes.get_mut(*position)) {
            change.requests += 1;
        } else if self.changes.len() < MAX_LISTED {
            index.insert(key, self.changes.len());
            let RequestEntry { method, path, .. } = line;
            let path = path.unwrap_or_default();
            self.changes.push(ChangedRequest { caller, method, path, was, now, line: number, requests: 1 });
        }
    }
}

/// Classified line of an access log.
enum LogLine {
    /// Request with a decision.
    Decision(Box<RequestEntry>),
    /// Event without a decision.
    NoDecision,
    /// Request with missing fields.
    Broken,
    /// Line that is not of an access log.
    Foreign,
}

impl LogLine {
    fn of(bytes: &[u8]) -> Self {
        let Ok(Event { event, decision, .. }) = serde_json::from_slice(bytes) else { return Self::Foreign };
        if event != "request" || decision.as_deref() == Some("none") {
            return Self::NoDecision;
        }
        match serde_json::from_slice::<RequestEntry>(bytes) {
            Ok(line) if matches!(line.decision.as_str(), "permit" | "deny") => Self::Decision(Box::new(line)),
            _ => Self::Broken,
        }
    }
}

/// Fields of every line of an access log; requests have more.
#[derive(Deserialize)]
struct Event {
    #[serde(rename = "time")]
    _time: String,
    event: String,
    decision: Option<String>,
}

/// Fields of a request.
#[derive(Deserialize)]
struct RequestEntry {
    role: Option<Role>,
    name: Option<String>,
    user: Option<String>,
    org: Option<String>,
    user_role: Option<AccountRole>,
    method: String,
    path: Option<String>,
    decision: String,
    reason: Option<String>,
    upstream: Option<String>,
    status: Option<u16>,
    #[serde(default)]
    bytes_in: u64,
}

enum Comparison {
    Changed { now: String },
    DependsOnQuery,
    Same,
    Incomplete,
}

impl RequestEntry {
    fn caller(&self) -> Option<String> {
        let certificate = self.role.zip(self.name.as_deref()).map(|(role, name)| format!("{role}/{name}"));
        let user = self.user.as_deref().zip(self.org.as_deref());
        match (certificate, user.map(|(user, org)| format!("user {org}/{user}"))) {
            (Some(certificate), Some(user)) => Some(format!("{certificate} with {user}")),
            (certificate, user) => certificate.or(user),
        }
    }

    fn old_decision(&self) -> String {
        let detail = if self.decision == "permit" { &self.upstream } else { &self.reason };
        describe(&self.decision, detail.as_deref())
    }

    fn compare(&self, config: &Config) -> Comparison {
        let (Some(caller), Some(user), Ok(method), Some(path)) =
            (self.identity(), self.account(), self.method.parse::<Method>(), self.path())
        else {
            return Comparison::Incomplete;
        };
        if config.policy.depends_on_query(&method, &path) {
            return Comparison::DependsOnQuery;
        }
        // The request was upgraded to a WebSocket.
        let tunnel = self.status == Some(101);
        let content = !tunnel
            && !Methods::define_content(&method)
            && (self.bytes_in > 0 || self.reason.as_deref() == Some(DenyReason::ContentNotAllowed.code()));
        let subject = Subject { certificate: caller.as_ref(), user: user.as_ref() };
        let decision = config.policy.decide(subject, &method, &path);
        let verdict = decision.for_tunnel(tunnel).for_content(content).verdict();
        let new_upstream = match verdict {
            Verdict::Permit { upstream, .. } => {
                config.upstreams.get(upstream.0).map(|upstream| upstream.name.as_str())
            }
            Verdict::Deny(_) => None,
        };
        let rerouted =
            self.upstream.is_some() && new_upstream.is_some() && self.upstream.as_deref() != new_upstream;
        if verdict.as_str() == self.decision && !rerouted {
            return Comparison::Same;
        }
        let detail = new_upstream.or_else(|| verdict.reason().map(|reason| reason.code()));
        let mut now = describe(verdict.as_str(), detail);
        if let Some(rule) = verdict.rule() {
            now.push_str(&format!(" by {rule}"));
        }
        Comparison::Changed { now }
    }

    /// Caller, `Some(None)` without a certificate; `None` if the line has no valid identity.
    fn identity(&self) -> Option<Option<Identity>> {
        let Some(role) = self.role else { return Some(None) };
        let name = Name::parse(role, self.name.as_deref()?).ok()?;
        // No rule depends on it: all callers that reach the policy are of the gateway's trust domain.
        let trust_domain = "replayed".parse::<TrustDomain>().ok()?;
        Some(Some(Identity { trust_domain, role, name }))
    }

    /// User of the access token, `Some(None)` without one; `None` if the line has no valid user.
    fn account(&self) -> Option<Option<AccountIdentity>> {
        let Some(user) = self.user.as_deref() else { return Some(None) };
        let name = Name::of_user(user).ok()?;
        let organization = self.org.as_deref()?.parse().ok()?;
        Some(Some(AccountIdentity { name, organization, role: self.user_role? }))
    }

    /// Path, unless the log truncated it.
    fn path(&self) -> Option<RequestPath> {
        let path = self.path.as_deref().filter(|path| path.len() < MAX_TEXT_CHARS)?;
        RequestPath::parse(path).ok()
    }
}

fn describe(decision: &str, detail: Option<&str>) -> String {
    match detail {
        Some(detail) => format!("{decision} ({detail})"),
        None => decision.to_owned(),
    }
}

impl fmt::Display for ReplayReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for ChangedRequest { caller, method, path, was, now, line, requests } in &self.changes {
            let caller = one_line(caller.as_deref().unwrap_or("anonymous"));
            let [method, path, was, now] = [method, path, was, now].map(|text| one_line(text));
            writeln!(f, "line {line}: {caller} {method} {path}: {was} -> {now}, {requests} request(s)")?;
        }
        let listed: u64 = self.changes.iter().map(|change| change.requests).sum();
        if listed < self.changed {
            writeln!(f, "and {} more", self.changed - listed)?;
        }
        let Self { unchanged, changed, depends_on_query, unjudgeable, other_lines, foreign_lines, .. } = self;
        writeln!(f, "{changed} request(s) decided differently, {unchanged} unchanged")?;
        for (count, what) in [
            (
                depends_on_query,
                "request(s) not decided: the new policy depends on the query, which the log does not have",
            ),
            (unjudgeable, "request(s) not decided: fields are missing or truncated in the log"),
            (other_lines, "other line(s)"),
            (foreign_lines, "line(s) not decided: not of an access log, or truncated"),
        ] {
            if *count > 0 {
                writeln!(f, "{count} {what}")?;
            }
        }
        Ok(())
    }
}
