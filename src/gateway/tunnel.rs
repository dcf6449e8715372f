//! Upgraded connections (RFC 9110, section 7.8): after the upstream's 101, bytes pass in both directions
//! until either side ends, the certificate does, or the policy forbids it.

use std::time::Duration;

use http::header::{CONNECTION, UPGRADE};
use http::{HeaderMap, HeaderValue, Method, Request, Version};
use hyper::body::{Body, Incoming};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncWriteExt, copy_bidirectional};
use tokio::time::timeout;

use super::exchange::Exchange;
use super::forward::Lease;
use super::telemetry::RequestRecord;

/// The one protocol that is passed on: others, above all `h2c`, would carry requests past the policy.
const WEBSOCKET: HeaderValue = HeaderValue::from_static("websocket");

/// How long both sides may take to begin after the 101.
const BEGIN: Duration = Duration::from_secs(10);

/// Whether a request asks to become a WebSocket (RFC 6455, section 4.1).
#[must_use]
pub fn is_wanted(request: &Request<Incoming>) -> bool {
    request.version() == Version::HTTP_11
        && request.method() == Method::GET
        && request.body().is_end_stream()
        && is_websocket(request.headers())
}

/// Whether a header says, in both places, that the connection becomes a WebSocket and nothing else.
#[must_use]
pub fn is_websocket(headers: &HeaderMap) -> bool {
    let options =
        headers.get_all(CONNECTION).into_iter().flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
    let mut protocols = headers.get_all(UPGRADE).into_iter();
    options.into_iter().any(|option| option.trim_ascii().eq_ignore_ascii_case(b"upgrade"))
        && protocols.next().is_some_and(|protocol| protocol.as_bytes().eq_ignore_ascii_case(b"websocket"))
        && protocols.next().is_none()
}

/// Says so in a header that has been cleared of what is of one hop.
pub fn announce(headers: &mut HeaderMap) {
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, WEBSOCKET);
}

/// Both ends of a tunnel, once there is one.
#[derive(Debug)]
pub struct Ends {
    /// The caller's.
    pub downstream: OnUpgrade,
    /// The service's behind.
    pub upstream: OnUpgrade,
}

/// Passes bytes until the end, and then finishes the record.
pub async fn run(ends: Ends, lease: Lease, exchange: Exchange, mut record: RequestRecord) {
    let Ok(Ok((downstream, upstream))) =
        timeout(BEGIN, async { tokio::try_join!(ends.downstream, ends.upstream) }).await
    else {
        record.fail("tunnel.not_begun");
        return;
    };
    // The upstream's connection is the tunnel's now.
    drop(lease);
    let (mut downstream, mut upstream) = (TokioIo::new(downstream), TokioIo::new(upstream));
    let complete = tokio::select! {
        biased;
        problem = exchange.forbidden() => {
            record.fail(problem.code());
            false
        }
        ended = copy_bidirectional(&mut downstream, &mut upstream) => match ended {
            Ok((up, down)) => {
                record.tunnelled(up, down);
                true
            }
            Err(_) => {
                record.fail("tunnel.broken");
                false
            }
        }
    };
    record.finish(complete);
    let _ = timeout(Duration::from_millis(50), downstream.shutdown()).await;
}
