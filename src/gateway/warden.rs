//! What has to happen without anybody asking: expired connections are cut, an ageing CRL is told of, what
//! a flood has kept out of the log is summed up there, and a drain comes to its end.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use time::OffsetDateTime;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use super::registry::{CutReason, Order};
use super::{Phase, Shared, logins};
use crate::clock::rfc3339;

/// How often the clock is looked at; with it, how long a connection outlives its certificate.
const TICK: Duration = Duration::from_millis(500);

/// How often a flood of refused handshakes is summed up.
const SUMMARY: Duration = Duration::from_secs(1);

/// How often an ageing CRL is told of.
const REMINDER: Duration = Duration::from_secs(3_600);

/// From when on a CRL counts as ageing.
const CRL_WARNING: time::Duration = time::Duration::days(30);

/// How often a drain looks whether it is done.
const DRAIN_TICK: Duration = Duration::from_millis(20);

/// How long cut connections get to say so.
const FAREWELL: Duration = Duration::from_millis(200);

/// Keeps watch until the gateway stops.
pub async fn run(gateway: Arc<Shared>) {
    let mut phase = gateway.phase.subscribe();
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut summary = interval(SUMMARY);
    summary.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut reminder = interval(REMINDER);
    // It ends with this runtime.
    tokio::spawn(logins::run(Arc::clone(&gateway)));
    loop {
        tokio::select! {
            biased;
            () = Phase::reached(Phase::Draining, &mut phase) => break,
            _ = tick.tick() => cut_expired(&gateway),
            _ = summary.tick() => gateway.telemetry.tell_untold(),
            _ = reminder.tick() => warn_of_ageing_crls(&gateway, gateway.telemetry.clock.now()),
        }
    }
    tokio::select! {
        () = finish(&gateway) => {}
        () = Phase::reached(Phase::Stopped, &mut phase) => {}
    }
    gateway.telemetry.tell_untold();
    gateway.phase.send_replace(Phase::Stopped);
}

/// Waits for what runs, as long as is allowed, and cuts the rest.
async fn finish(gateway: &Shared) {
    let deadline = Instant::now() + gateway.limits.drain_timeout;
    while gateway.connections.load(Ordering::Relaxed) > 0 {
        if Instant::now() >= deadline {
            let cut = gateway.registry.sweep(Instant::now().into_std(), |_| Order::Cut(CutReason::Shutdown));
            tracing::warn!(connections = cut.len(), "the time to finish is over: connections are cut");
            sleep(FAREWELL).await;
            return;
        }
        cut_expired(gateway);
        sleep(DRAIN_TICK).await;
    }
}

fn cut_expired(gateway: &Shared) {
    gateway.registry.cut_expired(gateway.telemetry.clock.now());
}

fn warn_of_ageing_crls(gateway: &Shared, now: OffsetDateTime) {
    let state = gateway.state.load();
    let Some(crls) = state.verifier.revocation() else { return };
    for crl in crls.set.crls() {
        let next_update = rfc3339(crl.next_update);
        if crls.is_stale(crl.next_update, now) {
            tracing::error!(issuer = %crl.issuer, next_update, "the CRL has expired: its issuer's callers are refused");
        } else if crl.is_expired_at(now) {
            let until = rfc3339(crl.next_update.saturating_add(crls.grace));
            tracing::error!(issuer = %crl.issuer, next_update, until, "the CRL has expired, and is still relied on");
        } else if crl.next_update - now < CRL_WARNING {
            tracing::warn!(issuer = %crl.issuer, next_update, "the CRL will expire soon: publish a new one");
        }
    }
}
