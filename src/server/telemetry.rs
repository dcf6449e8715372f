//! Access log and metrics.

use std::fmt::Write;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::Serialize;
use time::OffsetDateTime;

use crate::serving::line_log::LineLog;
use crate::serving::request_id::RequestId;

/// Longest logged text from a client, in characters.
const MAX_TEXT: usize = 1_024;

/// Access log and metrics of a server.
#[derive(Debug)]
pub(super) struct ServerTelemetry {
    log: LineLog,
    accepted: AtomicU64,
    refused_connections: AtomicU64,
    refused_handshakes: AtomicU64,
    /// Requests by the class of their status, from 1xx to 5xx.
    requests: [AtomicU64; 5],
    request_micros: AtomicU64,
    reloads: AtomicU64,
    failed_reloads: AtomicU64,
}

/// Line of one request. It holds no query, body or header: none of them is free of secrets.
#[derive(Debug, Serialize)]
pub(super) struct ApiRequestLine<'a> {
    pub(super) request_id: RequestId,
    pub(super) remote: SocketAddr,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) identity: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) role: Option<&'static str>,
    pub(super) tls_version: &'static str,
    pub(super) protocol: &'static str,
    pub(super) method: &'a str,
    pub(super) path: &'a str,
    pub(super) status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) code: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) bytes_out: Option<u64>,
    pub(super) duration_us: u64,
}

#[derive(Serialize)]
struct HandshakeLine<'a> {
    remote: SocketAddr,
    reason: &'a str,
    detail: &'a str,
}

#[derive(Serialize)]
struct Line<'a, T> {
    time: String,
    event: &'static str,
    #[serde(flatten)]
    fields: &'a T,
}

impl ServerTelemetry {
    /// Access log that is written to `log`.
    pub(super) fn new(log: LineLog) -> Self {
        Self {
            log,
            accepted: AtomicU64::new(0),
            refused_connections: AtomicU64::new(0),
            refused_handshakes: AtomicU64::new(0),
            requests: Default::default(),
            request_micros: AtomicU64::new(0),
            reloads: AtomicU64::new(0),
            failed_reloads: AtomicU64::new(0),
        }
    }

    /// Open the file of the access log again.
    pub(super) fn reopen(&self) {
        self.log.reopen();
    }

    /// Write the pending lines and accept no more.
    pub(super) fn close(&self) {
        self.log.close();
    }

    /// Count a connection after its handshake.
    pub(super) fn handshake_accepted(&self) {
        self.accepted.fetch_add(1, Ordering::Relaxed);
    }

    /// Count a connection that a limit refused.
    pub(super) fn connection_refused(&self) {
        self.refused_connections.fetch_add(1, Ordering::Relaxed);
    }

    /// Count and log a refused handshake.
    pub(super) fn handshake_refused(
        &self,
        at: OffsetDateTime,
        remote: SocketAddr,
        reason: &str,
        detail: &str,
    ) {
        self.refused_handshakes.fetch_add(1, Ordering::Relaxed);
        let detail: String = detail.chars().take(MAX_TEXT).collect();
        let fields = HandshakeLine { remote, reason, detail: &detail };
        self.log.append(&Line { time: milliseconds(at), event: "handshake_refused", fields: &fields });
    }

    /// Count and log a request.
    pub(super) fn request(&self, at: OffsetDateTime, line: &ApiRequestLine<'_>) {
        let class = usize::from(line.status / 100).saturating_sub(1);
        if let Some(count) = self.requests.get(class) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        self.request_micros.fetch_add(line.duration_us, Ordering::Relaxed);
        self.log.append(&Line { time: milliseconds(at), event: "request", fields: line });
    }

    /// Count a reload.
    pub(super) fn reloaded(&self, succeeded: bool) {
        let count = if succeeded { &self.reloads } else { &self.failed_reloads };
        count.fetch_add(1, Ordering::Relaxed);
    }

    /// Metrics in the text format of Prometheus.
    pub(super) fn scrape(&self, connections: usize, certificate_not_after: OffsetDateTime) -> String {
        let mut text = String::new();
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let mut metric = |name: &str, kind: &str, help: &str, samples: &[(String, String)]| {
            // Writing to a string does not fail.
            let _ = write!(
                text,
                "# HELP cluster_ca_server_{name} {help}\n# TYPE cluster_ca_server_{name} {kind}\n"
            );
            for (labels, value) in samples {
                let _ = writeln!(text, "cluster_ca_server_{name}{labels} {value}");
            }
        };
        let alone = |value: u64| [(String::new(), value.to_string())];
        let classes: Vec<_> = (1..)
            .zip(&self.requests)
            .map(|(class, count)| (format!("{{status=\"{class}xx\"}}"), of(count).to_string()))
            .collect();
        metric("requests_total", "counter", "Requests by the class of their status.", &classes);
        let seconds = Duration::from_micros(of(&self.request_micros)).as_secs_f64();
        let seconds = [(String::new(), format!("{seconds:.6}"))];
        metric("request_seconds_total", "counter", "Time spent on requests.", &seconds);
        let open = u64::try_from(connections).unwrap_or(u64::MAX);
        metric("connections_open", "gauge", "Open connections, handshakes included.", &alone(open));
        metric(
            "connections_refused_total",
            "counter",
            "Connections over a limit.",
            &alone(of(&self.refused_connections)),
        );
        metric("handshakes_total", "counter", "Completed handshakes.", &alone(of(&self.accepted)));
        metric(
            "handshakes_refused_total",
            "counter",
            "Refused handshakes.",
            &alone(of(&self.refused_handshakes)),
        );
        metric("reloads_total", "counter", "Reloads.", &alone(of(&self.reloads)));
        metric(
            "reloads_failed_total",
            "counter",
            "Reloads that left the state as it was.",
            &alone(of(&self.failed_reloads)),
        );
        metric(
            "log_lines_lost_total",
            "counter",
            "Lines of the access log that were lost.",
            &alone(self.log.lost()),
        );
        let not_after = [(String::new(), certificate_not_after.unix_timestamp().to_string())];
        metric("certificate_not_after_seconds", "gauge", "Expiry of the server certificate.", &not_after);
        text
    }
}

/// RFC 3339 with milliseconds, in UTC.
fn milliseconds(at: OffsetDateTime) -> String {
    let second = crate::clock::rfc3339(at.replace_nanosecond(0).unwrap_or(at));
    match second.strip_suffix('Z') {
        Some(second) => format!("{second}.{:03}Z", at.millisecond()),
        None => second,
    }
}
