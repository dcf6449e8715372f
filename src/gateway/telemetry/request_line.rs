//! Line of the access log for one request.

use time::OffsetDateTime;

use crate::error::Coded;
use crate::gateway::policy::{RuleId, Verdict};
use crate::gateway::sessions::session::Session;
use crate::gateway::telemetry::events::{ClientFields, truncated};
use crate::gateway::telemetry::json_text::{push_number, push_string, push_time, push_token};
use crate::serving::request_id::RequestId;

/// Fields of the event `request`.
pub(super) struct RequestFields<'a> {
    pub(super) request_id: RequestId,
    /// Members about the user of an access token, each after a comma.
    pub(super) user: Option<&'a str>,
    pub(super) method: &'a str,
    /// Host as it was sent; `None` if the request is refused before its host is verified.
    pub(super) host: Option<&'a str>,
    /// True for `:scheme: http`, which proxies keep from a caller without TLS.
    pub(super) plain_scheme: bool,
    pub(super) path: Option<&'a str>,
    pub(super) decision: &'static str,
    pub(super) rule: Option<RuleId>,
    /// Verdict of the shadow policy, if it differs.
    pub(super) shadow: Option<Verdict>,
    pub(super) upstream: Option<&'a str>,
    pub(super) status: Option<u16>,
    pub(super) reason: Option<&'static str>,
    pub(super) bytes_in: u64,
    pub(super) bytes_out: u64,
    pub(super) duration_us: u64,
}

/// Append the line of a request of `session`, with its line feed.
pub(super) fn write(line: &mut Vec<u8>, time: OffsetDateTime, session: &Session, fields: &RequestFields<'_>) {
    line.extend_from_slice(b"{\"time\":\"");
    push_time(line, time);
    line.extend_from_slice(b"\",\"event\":\"request\",\"request_id\":\"");
    line.extend_from_slice(fields.request_id.as_str().as_bytes());
    line.extend_from_slice(b"\",\"session\":");
    line.extend_from_slice(session.log_fields.get_or_init(|| session_fields(session)).as_bytes());
    if let Some(user) = fields.user {
        line.extend_from_slice(user.as_bytes());
    }
    line.extend_from_slice(b",\"method\":");
    push_string(line, truncated(fields.method));
    if fields.plain_scheme {
        line.extend_from_slice(b",\"scheme\":\"http\"");
    }
    line.extend_from_slice(b",\"host\":");
    push_optional(line, fields.host);
    line.extend_from_slice(b",\"path\":");
    push_optional(line, fields.path.map(truncated));
    line.extend_from_slice(b",\"decision\":");
    push_token(line, fields.decision);
    line.extend_from_slice(b",\"rule\":");
    match fields.rule {
        Some(rule) => push_rule(line, rule),
        None => line.extend_from_slice(b"null"),
    }
    if let Some(shadow) = fields.shadow {
        push_shadow(line, shadow);
    }
    line.extend_from_slice(b",\"upstream\":");
    push_optional(line, fields.upstream);
    line.extend_from_slice(b",\"status\":");
    match fields.status {
        Some(status) => push_number(line, status.into()),
        None => line.extend_from_slice(b"null"),
    }
    if let Some(reason) = fields.reason {
        line.extend_from_slice(b",\"reason\":");
        push_string(line, reason);
    }
    line.extend_from_slice(b",\"bytes_in\":");
    push_number(line, fields.bytes_in);
    line.extend_from_slice(b",\"bytes_out\":");
    push_number(line, fields.bytes_out);
    line.extend_from_slice(b",\"duration_us\":");
    push_number(line, fields.duration_us);
    line.extend_from_slice(b"}\n");
}

/// Number and client of a session, rendered at its first line: they are the same on all of its lines.
fn session_fields(session: &Session) -> Box<str> {
    let client = serde_json::to_string(&ClientFields::of(session)).unwrap_or_default();
    // The braces of the object; an empty object would leave a comma behind, and there is none: `remote` is required.
    let members = client.strip_prefix('{').and_then(|members| members.strip_suffix('}')).unwrap_or_default();
    format!("{},{members}", session.id).into_boxed_str()
}

fn push_optional(line: &mut Vec<u8>, text: Option<&str>) {
    match text {
        Some(text) => push_string(line, text),
        None => line.extend_from_slice(b"null"),
    }
}

/// Append a rule as it is displayed, such as `"routes[0] (line 8)"`.
fn push_rule(line: &mut Vec<u8>, rule: RuleId) {
    line.extend_from_slice(b"\"routes[");
    push_number(line, u64::try_from(rule.index).unwrap_or(u64::MAX));
    line.extend_from_slice(b"] (line ");
    push_number(line, u64::try_from(rule.line).unwrap_or(u64::MAX));
    line.extend_from_slice(b")\"");
}

#[cold]
fn push_shadow(line: &mut Vec<u8>, shadow: Verdict) {
    line.extend_from_slice(b",\"shadow_decision\":");
    push_string(line, shadow.as_str());
    if let Some(rule) = shadow.rule() {
        line.extend_from_slice(b",\"shadow_rule\":");
        push_rule(line, rule);
    }
    if let Some(reason) = shadow.reason() {
        line.extend_from_slice(b",\"shadow_reason\":");
        push_string(line, reason.code());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::{Value, json};
    use time::macros::datetime;

    use super::*;
    use crate::clock::ManualClock;
    use crate::gateway::policy::{Denial, DenyReason, UpstreamId};
    use crate::gateway::sessions::registry::Registry;
    use crate::gateway::sessions::session::NewSession;
    use crate::mtls::tls::Protocol;
    use crate::serving::request_id::RequestIds;

    const NOW: OffsetDateTime = datetime!(2026-01-02 03:04:05.678 UTC);

    /// Entropy of the byte 0xab.
    #[derive(Debug)]
    struct Constant;

    impl crate::clock::Entropy for Constant {
        fn fill(&self, bytes: &mut [u8]) -> Result<(), crate::clock::EntropyError> {
            bytes.fill(0xab);
            Ok(())
        }
    }

    fn fields<'a>(method: &'a str, path: Option<&'a str>) -> RequestFields<'a> {
        RequestFields {
            request_id: RequestIds::new(Arc::new(Constant)).next(),
            user: None,
            method,
            host: Some("api.internal:8443"),
            plain_scheme: false,
            path,
            decision: "permit",
            rule: Some(RuleId { index: 3, line: 12 }),
            shadow: None,
            upstream: Some("api"),
            status: Some(200),
            reason: None,
            bytes_in: 1,
            bytes_out: u64::MAX,
            duration_us: 42,
        }
    }

    /// The lines of requests on one connection.
    fn lines(all: &[RequestFields<'_>]) -> String {
        let registry = Arc::new(Registry::new(1, 1, Arc::new(ManualClock::new(NOW))));
        let new = NewSession {
            peer: None,
            remote: "192.0.2.1:4".parse().unwrap(),
            tls_version: "TLSv1.3",
            protocol: Protocol::Http1,
            resumed: false,
            server_name: Some("api.internal".into()),
        };
        let registration = registry.register(0, new).unwrap();
        let mut text = Vec::new();
        for fields in all {
            write(&mut text, NOW, registration.session(), fields);
        }
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn a_line_has_the_documented_fields_in_their_order() {
        assert_eq!(
            lines(&[fields("GET", Some("/v1"))]),
            "{\"time\":\"2026-01-02T03:04:05.678Z\",\"event\":\"request\",\
             \"request_id\":\"abababababababababababababababab\",\"session\":1,\"remote\":\"192.0.2.1:4\",\
             \"tls_version\":\"TLSv1.3\",\"alpn\":\"http/1.1\",\"resumed\":false,\
             \"server_name\":\"api.internal\",\"method\":\"GET\",\"host\":\"api.internal:8443\",\"path\":\"/v1\",\
             \"decision\":\"permit\",\"rule\":\"routes[3] (line 12)\",\"upstream\":\"api\",\"status\":200,\
             \"bytes_in\":1,\"bytes_out\":18446744073709551615,\"duration_us\":42}\n"
        );
    }

    #[test]
    fn an_absent_value_is_null_or_left_out() {
        let absent =
            RequestFields { host: None, rule: None, upstream: None, status: None, ..fields("GET", None) };
        let line: Value = serde_json::from_str(&lines(&[absent])).unwrap();
        for null in ["host", "path", "rule", "upstream", "status"] {
            assert_eq!(line.get(null), Some(&Value::Null), "{line}");
        }
        for left_out in ["scheme", "reason", "shadow_decision", "shadow_rule", "shadow_reason"] {
            assert_eq!(line.get(left_out), None, "{line}");
        }
    }

    #[test]
    fn a_differing_shadow_policy_and_a_reason_are_named() {
        let rule = RuleId { index: 0, line: 1 };
        let denied = Verdict::Deny(Denial { reason: DenyReason::WebSocket, rule: Some(rule) });
        let permitted = Verdict::Permit { rule, upstream: UpstreamId(0) };
        let both = lines(&[
            RequestFields { shadow: Some(denied), reason: Some("downstream.aborted"), ..fields("GET", None) },
            RequestFields { shadow: Some(permitted), ..fields("GET", None) },
        ]);
        let [first, second] = both.lines().collect::<Vec<_>>()[..] else { panic!("{both}") };
        let (first, second): (Value, Value) =
            (serde_json::from_str(first).unwrap(), serde_json::from_str(second).unwrap());
        assert_eq!(first["reason"], "downstream.aborted");
        assert_eq!(first["shadow_decision"], "deny");
        assert_eq!(first["shadow_rule"], "routes[0] (line 1)");
        assert_eq!(first["shadow_reason"], json!(DenyReason::WebSocket.code()));
        assert_eq!((&second["shadow_decision"], second.get("shadow_reason")), (&json!("permit"), None));
    }

    #[test]
    fn a_text_of_the_client_cannot_forge_a_line() {
        let path = "/\r\n{\"event\":\"forged\"}\u{1b}[2J\u{9b}\u{7f}ä";
        let text = lines(&[fields("G\"ET", Some(path))]);
        assert_eq!(text.lines().count(), 1);
        assert!(!text.trim_end().chars().any(char::is_control), "{text:?}");
        let line: Value = serde_json::from_str(&text).unwrap();
        assert_eq!((&line["method"], &line["path"]), (&json!("G\"ET"), &json!(path)));
        let long = "/".repeat(5_000);
        let line: Value = serde_json::from_str(&lines(&[fields("GET", Some(&long))])).unwrap();
        assert_eq!(
            line["path"].as_str().map(str::len),
            Some(crate::gateway::telemetry::events::MAX_TEXT_CHARS)
        );
    }
}
