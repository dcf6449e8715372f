//! Header of the last request of a connection, with the lines that the upstream got for it. Most clients repeat their
//! fields with each request, and to compare them and to copy the lines costs a tenth of making them again.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::Version;
use http::header::{CONTENT_LENGTH, HeaderMap};

use crate::gateway::message::field_lines::{FieldLines, FieldTraits};
use crate::gateway::message::forwarding_rules::ForwardingRules;
use crate::gateway::message::framing::RequestHost;
use crate::gateway::message::traceparent::{TRACEPARENT, TRACESTATE};

/// Headers in a row that differ from the one before, after which a connection is taken for one that never repeats them.
const MAX_MISSES: u32 = 4;

/// Then, one header of so many is kept to find out whether that has changed.
const RETRY_INTERVAL: u32 = 64;

/// Header of the last request of a connection.
#[derive(Debug, Default)]
pub struct KnownHeader(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    last: Option<Box<Known>>,
    misses: u32,
}

#[derive(Debug)]
struct Known {
    client: HeaderMap,
    version: Version,
    host: RequestHost,
    rules: Arc<ForwardingRules>,
    sent: FieldLines,
}

impl Known {
    /// True if nothing differs that `sent` depends on.
    fn is_for(
        &self,
        client: &HeaderMap,
        version: Version,
        host: &RequestHost,
        rules: &Arc<ForwardingRules>,
    ) -> bool {
        Arc::ptr_eq(&self.rules, rules)
            && self.version == version
            && self.client.len() == client.len()
            && self.host == *host
            && self.client.iter().zip(client).all(|((name, value), (other_name, other))| {
                // The lines have no value of a field that differs with each request.
                name == other_name
                    && (value == other || [CONTENT_LENGTH, TRACEPARENT, TRACESTATE].contains(name))
            })
    }
}

impl KnownHeader {
    /// Append the lines of a request to `text`: those of the header that `make` makes of the header `client`, in this
    /// version, with this host and these rules. `make` is not called if they are those of the last request. Its result
    /// depends on nothing else that can change during the connection.
    pub fn append_or_make(
        &self,
        text: &mut Vec<u8>,
        client: &HeaderMap,
        version: Version,
        host: &RequestHost,
        rules: &Arc<ForwardingRules>,
        make: impl FnOnce() -> HeaderMap,
    ) -> FieldTraits {
        let mut state = self.state();
        if let Some(last) = state.last.as_ref().filter(|last| last.is_for(client, version, host, rules)) {
            text.extend_from_slice(&last.sent.text);
            let traits = last.sent.traits.clone();
            state.misses = 0;
            return traits;
        }
        state.misses = state.misses.saturating_add(1);
        let is_kept = state.misses <= MAX_MISSES || state.misses.is_multiple_of(RETRY_INTERVAL);
        drop(state);
        let sent = FieldLines::of(&make());
        text.extend_from_slice(&sent.text);
        let traits = sent.traits.clone();
        if is_kept {
            let (client, host, rules) = (client.clone(), host.clone(), Arc::clone(rules));
            self.state().last = Some(Box::new(Known { client, version, host, rules, sent }));
        }
        traits
    }

    /// Keep nothing, which idle connections do not need.
    pub fn forget(&self) {
        self.state().last = None;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use http::header::{HeaderName, HeaderValue};

    use super::*;
    use crate::gateway::message::headers::{self, ConnectionFields};
    use crate::gateway::message::via::Via;

    fn header(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        headers
    }

    fn host(name: &'static str) -> RequestHost {
        RequestHost::parse(&HeaderValue::from_static(name)).unwrap()
    }

    #[test]
    fn the_header_for_the_upstream_is_that_of_a_first_request_whatever_came_before() {
        let fields = ConnectionFields::new(None, "192.0.2.1".parse().unwrap());
        let all_rules = [None, Some(Via::default())]
            .map(|via| Arc::new(ForwardingRules { via, ..ForwardingRules::default() }));
        let clients: &[&[(&str, &str)]] = &[
            &[("accept", "a"), ("user-agent", "b")],
            &[("user-agent", "b"), ("accept", "a")],
            &[("accept", "a"), ("user-agent", "c")],
            &[("accept", "a"), ("user-agent", "b"), ("x-more", "")],
            &[("accept", "a")],
            &[("accept", "a"), ("accept", "b")],
            &[("accept", "b"), ("accept", "a")],
            &[("accept", "a"), ("content-length", "1")],
            &[("accept", "a"), ("content-length", "22")],
            &[("accept", "a"), ("content-length", "1"), ("connection", "content-length")],
            &[("accept", "a"), ("connection", "accept")],
            &[("accept", "a"), ("te", "trailers")],
            &[("accept", "a"), ("cookie", "a=b"), ("cookie", "c=d")],
            &[("accept", "a"), ("traceparent", "1")],
            &[("accept", "a"), ("traceparent", "2")],
            &[("accept", "a"), ("traceparent", "2"), ("connection", "traceparent")],
            &[("accept", "a"), ("traceparent", "2"), ("tracestate", "3")],
            &[("accept", "a"), ("traceparent", "2"), ("tracestate", "4")],
            &[("accept", "a"), ("authorization", "Bearer x")],
            &[("accept", "a"), ("authorization", "NTLM x")],
            &[("accept", "a"), ("trailer", "x-sum")],
            &[("accept", "a"), ("x-cluster-role", "forged")],
            &[("accept", "a"), ("x-request-id", "forged")],
        ];
        let known = KnownHeader::default();
        let mut copies = 0;
        for first in clients {
            for client in clients {
                for (rules, name, version) in [
                    (&all_rules[0], "api", Version::HTTP_11),
                    (&all_rules[1], "api", Version::HTTP_11),
                    (&all_rules[1], "other", Version::HTTP_11),
                    (&all_rules[1], "api", Version::HTTP_2),
                ] {
                    let host = host(name);
                    let make = |client: &HeaderMap, rules: &ForwardingRules, version| {
                        let mut made = headers::to_upstream(client, &rules.reserved, &host, fields.clone());
                        if let Some(via) = &rules.via {
                            via.append_to(&mut made, version);
                        }
                        made
                    };
                    for client in [first, client, client] {
                        let client = header(client);
                        let mut is_made = false;
                        let mut sent = b"GET / HTTP/1.1\r\n".to_vec();
                        let traits = known.append_or_make(&mut sent, &client, version, &host, rules, || {
                            is_made = true;
                            make(&client, rules, version)
                        });
                        let expected = FieldLines::of(&make(&client, rules, version));
                        assert!(sent.ends_with(&expected.text), "{client:?}");
                        assert_eq!(sent.len(), expected.text.len() + 16, "{client:?}");
                        assert_eq!(traits, expected.traits);
                        copies += u32::from(!is_made);
                    }
                }
            }
        }
        assert!(copies > 100, "{copies} headers were copied");
    }

    #[test]
    fn nothing_is_kept_of_headers_that_never_repeat_or_of_an_idle_connection() {
        let known = KnownHeader::default();
        let rules = Arc::new(ForwardingRules::default());
        let ask = |value: String| {
            let mut client = header(&[]);
            client.insert("x-unique", value.parse().unwrap());
            let (text, host) = (&mut Vec::new(), host("api"));
            known.append_or_make(text, &client, Version::HTTP_11, &host, &rules, || client.clone());
            known.state().last.as_ref().is_some_and(|last| last.client == client)
        };
        let kept: Vec<_> = (1..=130).filter(|number| ask(number.to_string())).collect();
        assert_eq!(kept, [1, 2, 3, 4, 64, 128]);
        known.forget();
        assert!(known.state().last.is_none());
    }
}
