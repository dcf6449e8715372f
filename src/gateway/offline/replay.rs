//! What a new policy would have made of the requests in an access log.

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
use crate::gateway::policy::Verdict;
use crate::gateway::process::RunError;
use crate::gateway::process::load::load_to_ask;
use crate::gateway::telemetry::events::MAX_TEXT_CHARS;
use crate::identity::{Identity, Name, Role, TrustDomain};

/// The most different changes that are listed; further ones are counted.
const LISTED: usize = 1_000;

/// Judges every request in the access log `log` (`-` for standard input) by the policy in `config`.
///
/// # Errors
/// [`RunError`] when either cannot be read, or no line is one of an access log.
pub fn replay(log: &Path, config: &Path) -> Result<Replay, RunError> {
    let config = load_to_ask(config)?;
    let failed = |source| RunError::AccessLog { path: log.to_owned(), source };
    let lines: Box<dyn BufRead> = match log.to_str() {
        Some("-") => Box::new(io::stdin().lock()),
        _ => Box::new(BufReader::new(File::open(log).map_err(failed)?)),
    };
    let replay = judge(lines, &config).map_err(failed)?;
    match replay.read_nothing() {
        true => Err(RunError::NoAccessLog { path: log.to_owned() }),
        false => Ok(replay),
    }
}

fn judge(mut lines: impl BufRead, config: &Config) -> io::Result<Replay> {
    let mut replay = Replay::default();
    let mut known = HashMap::new();
    let mut line = Vec::new();
    for number in 1.. {
        line.clear();
        if lines.read_until(b'\n', &mut line)? == 0 {
            break;
        }
        let line = match Read::of(&line) {
            Read::Decision(line) => line,
            Read::NoDecision => {
                replay.other_lines += 1;
                continue;
            }
            Read::Broken => {
                replay.unjudgeable += 1;
                continue;
            }
            Read::Foreign => {
                replay.foreign_lines += 1;
                continue;
            }
        };
        match line.compare(config) {
            Comparison::Unjudgeable => replay.unjudgeable += 1,
            Comparison::DependsOnQuery => replay.depends_on_query += 1,
            Comparison::Same => replay.unchanged += 1,
            Comparison::Changed { now } => {
                replay.changed += 1;
                replay.list(&mut known, line, now, number);
            }
        }
    }
    Ok(replay)
}

/// What a new policy changes.
#[derive(Debug, Default, Serialize)]
pub struct Replay {
    /// Requests that it would treat as they were treated.
    pub unchanged: u64,
    /// Requests that it would not.
    pub changed: u64,
    /// Requests on which it decides by their query, which the log does not have.
    pub depends_on_query: u64,
    /// Requests whose path, caller or decision the log does not have whole.
    pub unjudgeable: u64,
    /// Lines that tell of no decision.
    pub other_lines: u64,
    /// Lines that are not of an access log: one that a full disk or a rotation has cut through is none.
    pub foreign_lines: u64,
    /// What changes, in the order of the log, each once.
    pub changes: Vec<Change>,
}

/// One kind of request that a new policy would treat otherwise.
#[derive(Debug, Serialize)]
pub struct Change {
    /// Role and name of the caller; none for one without a certificate.
    pub caller: Option<String>,
    /// The method.
    pub method: String,
    /// The path.
    pub path: String,
    /// What was decided, and where it went or why not.
    pub was: String,
    /// What would be.
    pub now: String,
    /// The first line of the log that tells of it.
    pub line: u64,
    /// How many there are.
    pub requests: u64,
}

impl Replay {
    /// Whether every request was judged, and is treated as it was. What cannot be read may have been one.
    #[must_use]
    pub const fn is_without_change(&self) -> bool {
        self.changed + self.depends_on_query + self.unjudgeable + self.foreign_lines == 0
    }

    /// Whether there is no line of an access log.
    const fn read_nothing(&self) -> bool {
        self.unchanged + self.changed + self.depends_on_query + self.unjudgeable + self.other_lines == 0
    }

    fn list(&mut self, known: &mut HashMap<String, usize>, line: Line, now: String, number: u64) {
        let caller = line.caller();
        let was = line.was();
        let key = format!("{caller:?} {} {:?} {was} {now}", line.method, line.path);
        if let Some(change) = known.get(&key).and_then(|index| self.changes.get_mut(*index)) {
            change.requests += 1;
        } else if self.changes.len() < LISTED {
            known.insert(key, self.changes.len());
            let Line { method, path, .. } = line;
            let path = path.unwrap_or_default();
            self.changes.push(Change { caller, method, path, was, now, line: number, requests: 1 });
        }
    }
}

/// A line of the log.
enum Read {
    /// A request on which a policy decided.
    Decision(Line),
    /// Something that no policy was asked about.
    NoDecision,
    /// A request of which something is missing.
    Broken,
    /// Nothing that an access log has.
    Foreign,
}

impl Read {
    fn of(bytes: &[u8]) -> Self {
        let Ok(Event { event, decision, .. }) = serde_json::from_slice(bytes) else { return Self::Foreign };
        if event != "request" || decision.as_deref() == Some("none") {
            return Self::NoDecision;
        }
        match serde_json::from_slice::<Line>(bytes) {
            Ok(line) if matches!(line.decision.as_str(), "permit" | "deny") => Self::Decision(line),
            _ => Self::Broken,
        }
    }
}

/// What every line of an access log has, and the lines of requests more.
#[derive(Deserialize)]
struct Event {
    #[serde(rename = "time")]
    _time: String,
    event: String,
    decision: Option<String>,
}

/// What is read of a request's line.
#[derive(Deserialize)]
struct Line {
    role: Option<Role>,
    name: Option<String>,
    method: String,
    path: Option<String>,
    decision: String,
    reason: Option<String>,
    upstream: Option<String>,
    status: Option<u16>,
}

enum Comparison {
    Changed { now: String },
    DependsOnQuery,
    Same,
    Unjudgeable,
}

impl Line {
    fn caller(&self) -> Option<String> {
        Some(format!("{}/{}", self.role?, self.name.as_deref()?))
    }

    fn was(&self) -> String {
        let detail = if self.decision == "permit" { &self.upstream } else { &self.reason };
        told(&self.decision, detail.as_deref())
    }

    fn compare(&self, config: &Config) -> Comparison {
        let (Some(caller), Ok(method), Some(path)) =
            (self.identity(), self.method.parse::<Method>(), self.path())
        else {
            return Comparison::Unjudgeable;
        };
        if config.policy.depends_on_query(&method, &path) {
            return Comparison::DependsOnQuery;
        }
        // It became a WebSocket.
        let tunnel = self.status == Some(101);
        let verdict = config.policy.decide(caller.as_ref(), &method, &path).for_tunnel(tunnel).verdict();
        let goes_to = match verdict {
            Verdict::Permit { upstream, .. } => {
                config.upstreams.get(upstream.0).map(|upstream| upstream.name.as_str())
            }
            Verdict::Deny(_) => None,
        };
        let moved = self.upstream.is_some() && goes_to.is_some() && self.upstream.as_deref() != goes_to;
        if verdict.as_str() == self.decision && !moved {
            return Comparison::Same;
        }
        let detail = goes_to.or_else(|| verdict.reason().map(|reason| reason.code()));
        let mut now = told(verdict.as_str(), detail);
        if let Some(rule) = verdict.rule() {
            now.push_str(&format!(" by {rule}"));
        }
        Comparison::Changed { now }
    }

    /// The caller, nobody for one without a certificate; `None` for one who cannot be.
    fn identity(&self) -> Option<Option<Identity>> {
        let Some(role) = self.role else { return Some(None) };
        let name = Name::parse(role, self.name.as_deref()?).ok()?;
        // No rule asks for it: all callers that got as far as a decision are of the gateway's own.
        let trust_domain = "replayed".parse::<TrustDomain>().ok()?;
        Some(Some(Identity { trust_domain, role, name }))
    }

    /// The path, if the log has all of it.
    fn path(&self) -> Option<RequestPath> {
        let path = self.path.as_deref().filter(|path| path.len() < MAX_TEXT_CHARS)?;
        RequestPath::parse(path).ok()
    }
}

fn told(decision: &str, detail: Option<&str>) -> String {
    match detail {
        Some(detail) => format!("{decision} ({detail})"),
        None => decision.to_owned(),
    }
}

impl fmt::Display for Replay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Change { caller, method, path, was, now, line, requests } in &self.changes {
            let caller = caller.as_deref().unwrap_or("nobody");
            writeln!(f, "line {line}: {caller} {method} {path}: {was} -> {now}, {requests} request(s)")?;
        }
        let listed: u64 = self.changes.iter().map(|change| change.requests).sum();
        if listed < self.changed {
            writeln!(f, "and {} more", self.changed - listed)?;
        }
        let Self { unchanged, changed, depends_on_query, unjudgeable, other_lines, foreign_lines, .. } = self;
        writeln!(f, "{changed} request(s) would be treated otherwise, {unchanged} as they were")?;
        for (count, what) in [
            (
                depends_on_query,
                "request(s) not judged: the new policy decides by the query, which the log does not have",
            ),
            (unjudgeable, "request(s) not judged: the log does not have all of them"),
            (other_lines, "other line(s)"),
            (foreign_lines, "line(s) not judged: they are not of an access log, or not whole"),
        ] {
            if *count > 0 {
                writeln!(f, "{count} {what}")?;
            }
        }
        Ok(())
    }
}
