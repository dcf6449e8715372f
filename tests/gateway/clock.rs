//! A clock that jumps, forward and back: what was decided by it is decided anew, and nothing breaks (T29
//! of the attack checklist).

use std::sync::Arc;

use time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::cluster::now;
use crate::eventually::eventually;
use crate::harness::{MovedClock, Setup, TestGateway, patiently, read_until};

fn with_clock(more: &'static str) -> (TestGateway, MovedClock) {
    let clock = MovedClock::default();
    let mut setup = Setup { clock: Arc::new(clock.clone()), more, ..Setup::new() };
    setup.crl = Some(setup.cluster.crl_until(1, &[], now() + Duration::days(10)));
    (setup.start(), clock)
}

#[tokio::test]
async fn t29_expiry_and_crl_follow_a_clock_that_jumps() {
    let (gateway, clock) = with_clock("metrics: 127.0.0.1:0\n");
    let user = gateway.user();
    for (days, reason) in [
        (0, None),
        (11, Some("revocation.crl_expired")),
        (31, Some("chain.expired")),
        (0, None),
        (-2, Some("chain.not_yet_valid")),
        (400, Some("chain.expired")),
        (-400, Some("chain.not_yet_valid")),
        (0, None),
        // Before 1970, where TLS knows no time, and as far ahead as dates go.
        (-365 * 80, Some("tls.failed")),
        (365 * 7_000, Some("chain.expired")),
        (0, None),
    ] {
        clock.set(Duration::days(days));
        let before = gateway.lines().len();
        match reason {
            None => assert_eq!(gateway.get(&user, "/v1/x").await.status, 200, "{days}"),
            Some(reason) => {
                let _ = gateway.connect(Some(&user), &["http/1.1"]).await.map(drop);
                eventually("it is refused", || {
                    let lines = gateway.lines();
                    let line = lines.iter().skip(before).find(|line| line["event"] == "handshake_refused")?;
                    assert_eq!(line["reason"], reason, "{days}: {line}");
                    Some(())
                });
            }
        }
        // What tells the time tells it, whatever the time is.
        gateway.status();
        assert_eq!(crate::metrics::fetch(&gateway, "/metrics").0, 200);
        assert_eq!(crate::metrics::fetch(&gateway, "/healthz").0, 200);
    }
}

#[tokio::test]
async fn t29_who_was_cut_by_a_clock_that_was_wrong_may_come_back() {
    let (gateway, clock) = with_clock("");
    let user = gateway.user();
    let mut open = gateway.connect(Some(&user), &["http/1.1"]).await.unwrap();
    let call = b"GET /v1/x HTTP/1.1\r\nhost: g\r\n\r\n";
    // A clock that goes back ends nothing that is open.
    for days in [0, -3] {
        clock.set(Duration::days(days));
        open.write_all(call).await.unwrap();
        read_until(&mut open, "body_too_large_to_echo").await;
    }
    clock.set(Duration::days(31));
    let mut rest = Vec::new();
    let _ = patiently(open.read_to_end(&mut rest)).await;
    assert_eq!(gateway.line("connection_closed", |_| true)["reason"], "connection.certificate_expired");
    clock.set(Duration::ZERO);
    assert_eq!(gateway.get(&user, "/v1/x").await.status, 200);
}

#[tokio::test]
async fn t29_a_crl_from_the_future_is_not_taken_and_one_of_before_the_jump_stays_in_force() {
    let (gateway, clock) = with_clock("");
    let user = gateway.user();
    // It was made a day ago: for a clock that is two days late, tomorrow.
    clock.set(Duration::days(-2));
    gateway.replace("cluster.crl", gateway.cluster.crl(2, &[&user]));
    assert_eq!(gateway.reload(), Err("crl.not_yet_valid"));
    assert_eq!(gateway.status()["crl"][0]["number"], "1");
    clock.set(Duration::ZERO);
    assert_eq!(gateway.reload(), Ok(()));
    gateway.refused(Some(&user)).await;
}
