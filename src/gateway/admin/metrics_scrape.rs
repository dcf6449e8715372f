//! Everything that is measured, at one moment.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::atomic::Ordering;

use time::OffsetDateTime;

use crate::gateway::admin::metrics_exposition::{Exposition, Kind};
use crate::gateway::control::changes::Results;
use crate::gateway::control::reload::Control;
use crate::gateway::state::State;
use crate::gateway::telemetry::metrics::{DecisionKey, EventCounts, Metrics, RequestCounts};
use crate::identity::Role;

impl Metrics {
    /// The metrics of the gateway, as text for Prometheus.
    #[must_use]
    pub fn scrape(control: &Control) -> String {
        let metrics = &control.shared.telemetry.metrics;
        let state = control.shared.state.load_full();
        let now = control.shared.clock.now();
        metrics.retain_rules(|rule| state.settings.policy.routes().any(|route| route.rule == rule));
        let mut text = Exposition::default();
        text.begin("info", Kind::Gauge, "The program that runs.")
            .sample(&[("version", &env!("CARGO_PKG_VERSION"))], 1);
        text.begin("connections", Kind::Gauge, "Open connections, those in their handshake included.")
            .sample(&[], control.shared.connections.load(Ordering::Relaxed));
        of_requests(&mut text, metrics.requests());
        of_events(&mut text, &metrics.events());
        of_state(&mut text, &state, now);
        let shadow = &control.shared.telemetry.shadow;
        text.begin(
            "shadow_differences_total",
            Kind::Counter,
            "Requests that the policy that is tried would have treated otherwise.",
        )
        .sample(&[("would", &"deny")], shadow.denied.load(Ordering::Relaxed))
        .sample(&[("would", &"permit")], shadow.permitted.load(Ordering::Relaxed));
        text.begin(
            "client_certificate_seconds_left",
            Kind::Gauge,
            "Time until the first of the callers seen, by role, has to have renewed its certificate.",
        );
        for (role, expires) in metrics.soonest_expiries(now) {
            text.sample(&[("role", &role)], (expires - now).whole_seconds());
        }
        of_reloads(&mut text, &control.changes.results());
        text.begin(
            "handshake_lines_omitted_total",
            Kind::Counter,
            "Refused handshakes without a line of their own in the access log, since there were so many.",
        )
        .sample(&[], control.shared.telemetry.log_rate_limit.suppressed());
        text.begin(
            "log_lines_lost_total",
            Kind::Counter,
            "Lines of the access log that were dropped, since their reader is too slow.",
        )
        .sample(&[], control.shared.telemetry.log.lost());
        text.into_text()
    }
}

fn of_requests(text: &mut Exposition, requests: RequestCounts) {
    text.begin("decisions_total", Kind::Counter, "Requests, by the caller's role and the rule that decided.");
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
    text.begin(
        "responses_total",
        Kind::Counter,
        "Requests, by the class of the status they were answered with.",
    );
    for (class, count) in ["none", "1xx", "2xx", "3xx", "4xx", "5xx"].iter().zip(requests.responses) {
        text.sample(&[("class", class)], count);
    }
    text.begin(
        "request_duration_seconds",
        Kind::Histogram,
        "Time from the end of a request's header to the end of its response.",
    )
    .histogram(&[], &requests.duration);
    text.begin(
        "upstream_errors_total",
        Kind::Counter,
        "Requests that a service behind failed, by its fault.",
    );
    for ((upstream, reason), count) in requests.upstream_errors.into_iter().collect::<BTreeMap<_, _>>() {
        text.sample(&[("upstream", &upstream), ("reason", &reason)], count);
    }
}

fn of_events(text: &mut Exposition, events: &EventCounts) {
    text.begin(
        "handshakes_total",
        Kind::Counter,
        "Handshakes, by their result: full, resumed, or the code of the refusal.",
    );
    for (result, count) in &events.handshakes {
        text.sample(&[("result", result)], count);
    }
    text.begin(
        "connections_cut_total",
        Kind::Counter,
        "Connections cut while they were open, by the reason.",
    );
    for (reason, count) in &events.connections_cut {
        text.sample(&[("reason", reason)], count);
    }
    text.begin(
        "requests_cut_total",
        Kind::Counter,
        "Requests that a new policy ended while they were under way, by the reason.",
    );
    for (reason, count) in &events.requests_cut {
        text.sample(&[("reason", reason)], count);
    }
    text.begin("requests_malformed_total", Kind::Counter, "Times that what came was no HTTP.")
        .sample(&[], events.malformed);
    text.begin(
        "revocation_delay_seconds",
        Kind::Histogram,
        "Time from the moment it was known that a caller may not go on, by the reason (revoked, expired, not \
         trusted, not permitted any more), to the end of its connection or request.",
    );
    for (reason, delays) in &events.delays {
        text.histogram(&[("reason", reason)], delays);
    }
}

fn of_state(text: &mut Exposition, state: &State, now: OffsetDateTime) {
    text.begin("generation", Kind::Gauge, "Counts what has been in force since the start.")
        .sample(&[], state.generation);
    text.begin("certificate_seconds_left", Kind::Gauge, "Time until the gateway's own certificate ends.")
        .sample(&[], (state.credentials.own.leaf.not_after - now).whole_seconds());
    let crls: Vec<_> = state.verifier.crls().map(|crl| (crl.issuer.to_string(), crl)).collect();
    text.begin(
        "issuer_certificate_seconds_left",
        Kind::Gauge,
        "Time until the certificate of a root, or of an authority known below one, ends.",
    );
    for authority in state.verifier.authorities() {
        let left = (authority.certificate.not_after - now).whole_seconds();
        text.sample(
            &[("issuer", authority.key_identifier), ("serial_number", &authority.certificate.serial_number)],
            left,
        );
    }
    text.begin("crl_number", Kind::Gauge, "Number of the CRL in force.");
    for (issuer, crl) in &crls {
        text.sample(&[("issuer", issuer)], crl.number);
    }
    text.begin("crl_age_seconds", Kind::Gauge, "Time since the CRL in force was made.");
    for (issuer, crl) in &crls {
        text.sample(&[("issuer", issuer)], (now - crl.this_update).whole_seconds());
    }
    text.begin(
        "crl_seconds_left",
        Kind::Gauge,
        "Time until the successor of the CRL in force is due; negative when it is overdue.",
    );
    for (issuer, crl) in &crls {
        text.sample(&[("issuer", issuer)], (crl.next_update - now).whole_seconds());
    }
    text.begin("crl_entries", Kind::Gauge, "Certificates that the CRL in force revokes.");
    for (issuer, crl) in &crls {
        text.sample(&[("issuer", issuer)], crl.len());
    }
}

fn of_reloads(text: &mut Exposition, results: &Results) {
    text.begin("reloads_total", Kind::Counter, "Changes of what is in force, by what asked for them.");
    for (trigger, counts) in &results.counts {
        let trigger = trigger.as_str();
        text.sample(&[("trigger", &trigger), ("result", &"succeeded")], counts.succeeded);
        text.sample(&[("trigger", &trigger), ("result", &"failed")], counts.failed);
    }
    text.begin(
        "reload_failing",
        Kind::Gauge,
        "1 while what was loaded last is not in force, since it failed.",
    )
    .sample(&[], u8::from(results.last_error.is_some()));
}
