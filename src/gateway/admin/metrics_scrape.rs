//! Snapshot of all metrics.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::atomic::Ordering;

use time::OffsetDateTime;

use crate::gateway::admin::metrics_exposition::{Exposition, MetricKind};
use crate::gateway::control::changes::ReloadResults;
use crate::gateway::control::reload::Control;
use crate::gateway::state::State;
use crate::gateway::telemetry::metrics::{DecisionKey, EventCounts, Metrics, RequestCounts};
use crate::identity::Role;

impl Metrics {
    /// All metrics of the gateway, in the text format of Prometheus.
    #[must_use]
    pub fn scrape(control: &Control) -> String {
        let metrics = &control.shared.telemetry.metrics;
        let state = control.shared.state.load_full();
        let now = control.shared.clock.now();
        metrics.retain_rules(|rule| state.settings.policy.route(rule).is_some());
        let mut text = Exposition::default();
        text.begin("info", MetricKind::Gauge, "Version of the program.")
            .sample(&[("version", &env!("CARGO_PKG_VERSION"))], 1);
        text.begin("connections", MetricKind::Gauge, "Open connections, including those in their handshake.")
            .sample(&[], control.shared.connections.load(Ordering::Relaxed));
        write_requests(&mut text, metrics.requests());
        write_events(&mut text, &metrics.events());
        write_state(&mut text, &state, now);
        let shadow = &control.shared.telemetry.shadow;
        text.begin(
            "shadow_differences_total",
            MetricKind::Counter,
            "Requests on which the shadow policy decides differently.",
        )
        .sample(&[("would", &"deny")], shadow.denied.load(Ordering::Relaxed))
        .sample(&[("would", &"permit")], shadow.permitted.load(Ordering::Relaxed));
        text.begin(
            "client_certificate_seconds_left",
            MetricKind::Gauge,
            "Time until the first client certificate expires, among those seen, by role.",
        );
        for (role, expires) in metrics.soonest_expiries(now) {
            text.sample(&[("role", &role)], (expires - now).whole_seconds());
        }
        write_reloads(&mut text, &control.changes.results());
        text.begin(
            "handshake_lines_omitted_total",
            MetricKind::Counter,
            "Refused handshakes that were summarized in the access log instead of logged one by one.",
        )
        .sample(&[], control.shared.telemetry.log_rate_limit.suppressed());
        text.begin(
            "log_lines_lost_total",
            MetricKind::Counter,
            "Lines of the access log that were dropped because their reader is too slow.",
        )
        .sample(&[], control.shared.telemetry.log.lost());
        text.into_text()
    }
}

fn write_requests(text: &mut Exposition, requests: RequestCounts) {
    text.begin("decisions_total", MetricKind::Counter, "Requests, by role of the caller and deciding rule.");
    for (DecisionKey { role, decision, rule }, count) in
        requests.decisions.into_iter().collect::<BTreeMap<_, _>>()
    {
        let rule: &dyn Display = match &rule {
            Some(rule) => rule,
            None => &"none",
        };
        let role = role.map_or("none", Role::as_str);
        text.sample(&[("role", &role), ("decision", &decision), ("rule", rule)], count);
    }
    text.begin("responses_total", MetricKind::Counter, "Requests, by status class of the response.");
    for (class, count) in ["none", "1xx", "2xx", "3xx", "4xx", "5xx"].iter().zip(requests.responses) {
        text.sample(&[("class", class)], count);
    }
    text.begin(
        "request_duration_seconds",
        MetricKind::Histogram,
        "Time from the end of the request header to the end of the response.",
    )
    .histogram(&[], &requests.duration);
    text.begin("user_requests_total", MetricKind::Counter, "Requests of users with a valid access token.")
        .sample(&[], requests.with_user);
    text.begin(
        "tokens_refused_total",
        MetricKind::Counter,
        "Requests that an access token was the reason to refuse, by code.",
    );
    for (reason, count) in &requests.tokens_refused {
        text.sample(&[("reason", reason)], count);
    }
    text.begin(
        "upstream_errors_total",
        MetricKind::Counter,
        "Requests that failed at the upstream, by reason.",
    );
    for ((upstream, reason), count) in requests.upstream_errors.into_iter().collect::<BTreeMap<_, _>>() {
        text.sample(&[("upstream", &upstream), ("reason", &reason)], count);
    }
}

fn write_events(text: &mut Exposition, events: &EventCounts) {
    text.begin(
        "handshakes_total",
        MetricKind::Counter,
        "Handshakes, by result: full, resumed, or the code of the refusal.",
    );
    for (result, count) in &events.handshakes {
        text.sample(&[("result", result)], count);
    }
    text.begin(
        "connections_closed_total",
        MetricKind::Counter,
        "Open connections that were closed, by reason.",
    );
    for (reason, count) in &events.connections_cut {
        text.sample(&[("reason", reason)], count);
    }
    text.begin(
        "requests_interrupted_total",
        MetricKind::Counter,
        "Requests in flight that a new policy denied, by reason.",
    );
    for (reason, count) in &events.requests_cut {
        text.sample(&[("reason", reason)], count);
    }
    text.begin("requests_malformed_total", MetricKind::Counter, "Messages that were not valid HTTP.")
        .sample(&[], events.malformed);
    text.begin(
        "revocation_delay_seconds",
        MetricKind::Histogram,
        "Time from a revocation, expiry, loss of trust or denial to the end of the connection or request, by reason.",
    );
    for (reason, delays) in &events.delays {
        text.histogram(&[("reason", reason)], delays);
    }
}

/// Metrics of the statement about tokens; none without one.
fn write_tokens(text: &mut Exposition, state: &State, now: OffsetDateTime) {
    let Some(tokens) = &state.tokens else { return };
    let facts = &tokens.in_force.facts;
    text.begin("statement_number", MetricKind::Gauge, "Number of the statement about tokens in force.")
        .sample(&[], facts.number);
    text.begin(
        "statement_age_seconds",
        MetricKind::Gauge,
        "Time since the signature of the statement about tokens in force.",
    )
    .sample(&[], (now - facts.issued).whole_seconds());
    text.begin(
        "statement_seconds_left",
        MetricKind::Gauge,
        "Time until the end of the statement about tokens in force; no token is accepted after it.",
    )
    .sample(&[], (facts.expires - now).whole_seconds());
    text.begin(
        "statement_entries",
        MetricKind::Gauge,
        "Users, organizations and sessions whose tokens the statement in force revokes.",
    )
    .sample(&[], facts.revoked);
    text.begin(
        "statement_usable",
        MetricKind::Gauge,
        "1 if tokens are accepted; 0 after the end of the statement, or if its certificate is not accepted.",
    )
    .sample(&[], u8::from(tokens.judge().and_then(|judge| judge.check_end(now)).is_ok()));
}

fn write_state(text: &mut Exposition, state: &State, now: OffsetDateTime) {
    text.begin("generation", MetricKind::Gauge, "Number of the state in force, from 1 at the start.")
        .sample(&[], state.generation);
    text.begin(
        "certificate_seconds_left",
        MetricKind::Gauge,
        "Time until the gateway's certificate expires.",
    )
    .sample(&[], (state.credentials.own.leaf.not_after - now).whole_seconds());
    write_tokens(text, state, now);
    let crls: Vec<_> = state.verifier.crls().map(|crl| (crl.issuer.to_string(), crl)).collect();
    text.begin(
        "issuer_certificate_seconds_left",
        MetricKind::Gauge,
        "Time until the certificate of a trust anchor or intermediate authority expires.",
    );
    for authority in state.verifier.authorities() {
        let left = (authority.certificate.not_after - now).whole_seconds();
        text.sample(
            &[("issuer", authority.key_identifier), ("serial_number", &authority.certificate.serial_number)],
            left,
        );
    }
    text.begin(
        "authorities_excluded",
        MetricKind::Gauge,
        "Trust anchors and intermediate authorities in the files that are not trusted, since they are unfit.",
    )
    .sample(&[], state.verifier.trust().excluded().len());
    text.begin("crl_number", MetricKind::Gauge, "Number of the CRL in force.");
    for (issuer, crl) in &crls {
        text.sample(&[("issuer", issuer)], crl.number);
    }
    text.begin("crl_age_seconds", MetricKind::Gauge, "Time since the thisUpdate of the CRL in force.");
    for (issuer, crl) in &crls {
        text.sample(&[("issuer", issuer)], (now - crl.this_update).whole_seconds());
    }
    text.begin(
        "crl_seconds_left",
        MetricKind::Gauge,
        "Time until the nextUpdate of the CRL in force; negative after it.",
    );
    for (issuer, crl) in &crls {
        text.sample(&[("issuer", issuer)], (crl.next_update - now).whole_seconds());
    }
    text.begin("crl_entries", MetricKind::Gauge, "Certificates revoked by the CRL in force.");
    for (issuer, crl) in &crls {
        text.sample(&[("issuer", issuer)], crl.len());
    }
}

fn write_reloads(text: &mut Exposition, results: &ReloadResults) {
    text.begin("reloads_total", MetricKind::Counter, "Reloads and CRL pushes, by trigger and result.");
    for (trigger, counts) in &results.counts {
        let trigger = trigger.as_str();
        text.sample(&[("trigger", &trigger), ("result", &"succeeded")], counts.succeeded);
        text.sample(&[("trigger", &trigger), ("result", &"failed")], counts.failed);
    }
    text.begin("reload_failing", MetricKind::Gauge, "1 if the last reload failed.")
        .sample(&[], u8::from(results.last_error.is_some()));
}
