//! Trace context of a request (W3C Trace Context): a valid one is passed on, an invalid one is replaced.
//!
//! The gateway does not use it. But upstreams parse it, and an attacker must not choose malformed input for
//! their parsers.

use http::HeaderMap;
use http::header::{HeaderName, HeaderValue};

use crate::serving::request_id::RequestId;

/// Trace ID and parent ID.
pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// Vendor-specific data; meaningless without `traceparent`.
pub const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// Maximum length of `tracestate`: the length that every implementation must propagate (section 3.3.1.5).
const MAX_STATE_LENGTH: usize = 512;

/// Maximum length of a `traceparent` of a future version.
const MAX_PARENT_LENGTH: usize = 128;

/// Validate the trace context in the header of request `id`. An invalid one is replaced by a new trace whose
/// ID is the request ID.
fn sanitize(headers: &mut HeaderMap, id: RequestId) {
    let mut parents = headers.get_all(&TRACEPARENT).into_iter();
    match (parents.next(), parents.next()) {
        (None, _) => drop(headers.remove(&TRACESTATE)),
        (Some(parent), None) if is_valid(parent.as_bytes()) => {
            let states = headers.get_all(&TRACESTATE).into_iter();
            if states.map(|state| state.len() + 1).sum::<usize>() > MAX_STATE_LENGTH + 1 {
                headers.remove(&TRACESTATE);
            }
        }
        _ => {
            headers.remove(&TRACESTATE);
            match new_trace(id) {
                Some(parent) => drop(headers.insert(TRACEPARENT, parent)),
                None => drop(headers.remove(&TRACEPARENT)),
            }
        }
    }
}

/// Valid trace context of request `id`, from its header `client`; without the state unless `with_state`.
#[must_use]
pub fn of_request(client: &HeaderMap, with_state: bool, id: RequestId) -> HeaderMap {
    let mut trace = HeaderMap::new();
    for name in [TRACEPARENT].into_iter().chain(with_state.then_some(TRACESTATE)) {
        for value in client.get_all(&name) {
            trace.append(&name, value.clone());
        }
    }
    sanitize(&mut trace, id);
    trace
}

/// Check the form of section 3.2, `00-TRACE-PARENT-FLAGS`. Later versions may append fields.
fn is_valid(parent: &[u8]) -> bool {
    let mut fields = parent.split(|byte| *byte == b'-');
    let mut hex = |length: usize| {
        let lower = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        fields.next().filter(|field| field.len() == length && field.iter().all(lower))
    };
    let not_zero = |field: &[u8]| field.iter().any(|byte| *byte != b'0');
    let (Some(version), Some(trace), Some(parent_id), Some(_)) = (hex(2), hex(32), hex(16), hex(2)) else {
        return false;
    };
    let is_complete = fields.next().is_none();
    version != b"ff"
        && not_zero(trace)
        && not_zero(parent_id)
        && (is_complete || version != b"00")
        && parent.len() <= MAX_PARENT_LENGTH
}

/// `traceparent` of a new trace; `None` if the request ID is all zeros.
fn new_trace(id: RequestId) -> Option<HeaderValue> {
    let trace = id.as_str();
    let parent = trace.get(16..)?;
    let text = format!("00-{trace}-{parent}-00");
    is_valid(text.as_bytes()).then(|| text.try_into().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Entropy, EntropyError, SystemEntropy};
    use crate::serving::request_id::RequestIds;
    use std::sync::Arc;

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn sanitized(lines: &[(&'static str, &str)], ids: &RequestIds) -> (Vec<String>, Vec<String>, String) {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, value.parse().unwrap());
        }
        let id = ids.next();
        sanitize(&mut headers, id);
        let all = |name| headers.get_all(name).iter().map(|v| v.to_str().unwrap().to_owned()).collect();
        (all(TRACEPARENT), all(TRACESTATE), id.as_str().to_owned())
    }

    #[test]
    fn h12_a_valid_trace_context_is_passed_on() {
        let ids = RequestIds::new(Arc::new(SystemEntropy));
        let later = format!("cc{}-what-the-future-brings", &GOOD[2..]);
        for parent in [GOOD, &later] {
            let lines = [("traceparent", parent), ("tracestate", "a=1"), ("tracestate", "b=2")];
            let (parents, states, _) = sanitized(&lines, &ids);
            assert_eq!((parents, states), (vec![parent.to_owned()], vec!["a=1".into(), "b=2".into()]));
        }
        let long = "x".repeat(600);
        let (parents, states, _) = sanitized(&[("traceparent", GOOD), ("tracestate", &long)], &ids);
        assert_eq!((parents, states), (vec![GOOD.to_owned()], vec![]));
        assert_eq!(sanitized(&[("tracestate", "a=1")], &ids).1, [""; 0], "meaningless without traceparent");
        assert_eq!(sanitized(&[], &ids).0, [""; 0], "no trace requested");
    }

    #[test]
    fn h12_a_malformed_oversized_or_repeated_trace_context_is_replaced() {
        let ids = RequestIds::new(Arc::new(SystemEntropy));
        let zero_trace = "00-00000000000000000000000000000000-00f067aa0ba902b7-01";
        let zero_parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01";
        let (oversized, more) = (format!("cc{}-{}", &GOOD[2..], "x".repeat(100)), format!("{GOOD}-x"));
        for parent in [
            "",
            "00-1-2-00",
            &GOOD.to_uppercase(),
            &GOOD[..54],
            &more,
            &format!("ff{}", &GOOD[2..]),
            &oversized,
            zero_trace,
            zero_parent,
            &format!("{GOOD}, {GOOD}"),
            &"0".repeat(9_000),
        ] {
            let (parents, states, id) = sanitized(&[("traceparent", parent), ("tracestate", "a=1")], &ids);
            assert_eq!(parents, [format!("00-{id}-{}-00", &id[16..])], "{parent}");
            assert_eq!(states, [""; 0]);
        }
        let (parents, _, id) = sanitized(&[("traceparent", GOOD), ("traceparent", GOOD)], &ids);
        assert_eq!(parents, [format!("00-{id}-{}-00", &id[16..])]);
    }

    #[derive(Debug)]
    struct NoEntropy;

    impl Entropy for NoEntropy {
        fn fill(&self, _: &mut [u8]) -> Result<(), EntropyError> {
            Err(EntropyError)
        }
    }

    #[test]
    fn a_request_without_an_id_starts_no_trace() {
        let ids = RequestIds::new(Arc::new(NoEntropy));
        assert_eq!(sanitized(&[("traceparent", "x")], &ids).0, [""; 0]);
    }
}
