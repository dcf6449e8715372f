//! The trace that a request belongs to, as the caller says (W3C Trace Context): passed on when it can be
//! read in one way only, else replaced by one that begins here.
//!
//! Nothing is decided by it. But the service behind, and all that come after it, take it apart, and an
//! attacker must not choose what they take apart.

use http::HeaderMap;
use http::header::{HeaderName, HeaderValue};

use crate::gateway::message::request_id::RequestId;

/// The caller's place in the trace.
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// What vendors add to it; it means nothing without the other.
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// The longest `tracestate` that is passed on: what everybody must at least take (section 3.3.1.5).
const LONGEST_STATE: usize = 512;

/// The longest `traceparent` of a version that is yet to come.
const LONGEST_PARENT: usize = 128;

/// Makes sure that what the header of the request `id` says of its trace is sound; a trace that begins
/// here has the number of the request.
pub fn settle(headers: &mut HeaderMap, id: RequestId) {
    let mut parents = headers.get_all(&TRACEPARENT).into_iter();
    match (parents.next(), parents.next()) {
        (None, _) => drop(headers.remove(&TRACESTATE)),
        (Some(parent), None) if is_sound(parent.as_bytes()) => {
            let states = headers.get_all(&TRACESTATE).into_iter();
            if states.map(|state| state.len() + 1).sum::<usize>() > LONGEST_STATE + 1 {
                headers.remove(&TRACESTATE);
            }
        }
        _ => {
            headers.remove(&TRACESTATE);
            match begun_here(id) {
                Some(parent) => drop(headers.insert(TRACEPARENT, parent)),
                None => drop(headers.remove(&TRACEPARENT)),
            }
        }
    }
}

/// Section 3.2: `00-TRACE-PARENT-FLAGS`; a later version may have more after that.
fn is_sound(parent: &[u8]) -> bool {
    let mut fields = parent.split(|byte| *byte == b'-');
    let mut hex = |length: usize| {
        let lower = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        fields.next().filter(|field| field.len() == length && field.iter().all(lower))
    };
    let not_zero = |field: &[u8]| field.iter().any(|byte| *byte != b'0');
    let (Some(version), Some(trace), Some(caller), Some(_)) = (hex(2), hex(32), hex(16), hex(2)) else {
        return false;
    };
    let ends = fields.next().is_none();
    version != b"ff"
        && not_zero(trace)
        && not_zero(caller)
        && (ends || version != b"00")
        && parent.len() <= LONGEST_PARENT
}

/// A trace that begins with this request; none where the request has no number.
fn begun_here(id: RequestId) -> Option<HeaderValue> {
    let trace = id.as_str();
    let parent = trace.get(16..)?;
    let text = format!("00-{trace}-{parent}-00");
    is_sound(text.as_bytes()).then(|| text.try_into().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Entropy, EntropyError, SystemEntropy};
    use crate::gateway::message::request_id::RequestIds;
    use std::sync::Arc;

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn settled(lines: &[(&'static str, &str)], ids: &RequestIds) -> (Vec<String>, Vec<String>, String) {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, value.parse().unwrap());
        }
        let id = ids.next();
        settle(&mut headers, id);
        let all = |name| headers.get_all(name).iter().map(|v| v.to_str().unwrap().to_owned()).collect();
        (all(TRACEPARENT), all(TRACESTATE), id.as_str().to_owned())
    }

    #[test]
    fn h12_a_sound_trace_is_passed_on() {
        let ids = RequestIds::new(Arc::new(SystemEntropy));
        let later = format!("cc{}-what-the-future-brings", &GOOD[2..]);
        for parent in [GOOD, &later] {
            let lines = [("traceparent", parent), ("tracestate", "a=1"), ("tracestate", "b=2")];
            let (parents, states, _) = settled(&lines, &ids);
            assert_eq!((parents, states), (vec![parent.to_owned()], vec!["a=1".into(), "b=2".into()]));
        }
        let long = "x".repeat(600);
        let (parents, states, _) = settled(&[("traceparent", GOOD), ("tracestate", &long)], &ids);
        assert_eq!((parents, states), (vec![GOOD.to_owned()], vec![]));
        assert_eq!(settled(&[("tracestate", "a=1")], &ids).1, [""; 0], "it says nothing by itself");
        assert_eq!(settled(&[], &ids).0, [""; 0], "nobody asked for a trace");
    }

    #[test]
    fn h12_a_trace_that_is_malformed_oversized_or_doubled_is_replaced() {
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
            let (parents, states, id) = settled(&[("traceparent", parent), ("tracestate", "a=1")], &ids);
            assert_eq!(parents, [format!("00-{id}-{}-00", &id[16..])], "{parent}");
            assert_eq!(states, [""; 0]);
        }
        let (parents, _, id) = settled(&[("traceparent", GOOD), ("traceparent", GOOD)], &ids);
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
    fn a_request_without_a_number_begins_no_trace() {
        let ids = RequestIds::new(Arc::new(NoEntropy));
        assert_eq!(settled(&[("traceparent", "x")], &ids).0, [""; 0]);
    }
}
