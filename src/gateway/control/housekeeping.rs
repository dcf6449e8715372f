//! Periodic tasks: cut expired connections, warn of expiring CRLs, summarize suppressed log lines, and finish
//! a drain.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::time::{MissedTickBehavior, interval, sleep};

use crate::clock::rfc3339;
use crate::gateway::control::kms_token_renewal;
use crate::gateway::sessions::command::{Command, CutReason};
use crate::gateway::shared::{Phase, Shared};
use crate::mtls::crl::CrlFreshness;
use crate::x509::{KeyIdentifier, Sha256};

/// Interval of expiry checks: a connection outlives its certificate by at most that.
const EXPIRY_INTERVAL: Duration = Duration::from_millis(500);

/// Interval of the summaries of refused handshakes.
const SUMMARY_INTERVAL: Duration = Duration::from_secs(1);

/// Interval of warnings of the same CRL.
const REMINDER_INTERVAL: Duration = Duration::from_secs(3_600);

/// Time before nextUpdate from which on a CRL is warned of.
const CRL_WARNING_PERIOD: time::Duration = time::Duration::days(30);

/// Interval between checks of a drain.
const DRAIN_POLL_INTERVAL: Duration = Duration::from_millis(20);

/// Time that cut connections get to announce their end.
const CLOSE_TIMEOUT: Duration = Duration::from_millis(200);

/// Run the periodic tasks until the gateway stops.
pub async fn run(gateway: Arc<Shared>) {
    let mut phase = gateway.phase.subscribe();
    let mut tick = interval(EXPIRY_INTERVAL);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut summary = interval(SUMMARY_INTERVAL);
    summary.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut reminders = CrlReminders::default();
    // The task ends with this runtime.
    tokio::spawn(kms_token_renewal::run(Arc::clone(&gateway)));
    loop {
        tokio::select! {
            biased;
            () = Phase::reached(Phase::Draining, &mut phase) => break,
            _ = tick.tick() => {
                cut_expired(&gateway);
                reminders.log_due(&gateway);
            }
            _ = summary.tick() => gateway.telemetry.log_suppressed_refusals(),
        }
    }
    tokio::select! {
        () = await_drain(&gateway) => {}
        () = Phase::reached(Phase::Stopped, &mut phase) => {}
    }
    gateway.telemetry.log_suppressed_refusals();
    gateway.phase.send_replace(Phase::Stopped);
}

/// Wait for the open connections until `drain_timeout`, and cut the rest.
async fn await_drain(gateway: &Shared) {
    let deadline = gateway.clock.monotonic() + gateway.limits.drain_timeout;
    while gateway.connections.load(Ordering::Relaxed) > 0 {
        let now = gateway.clock.monotonic();
        if now >= deadline {
            let cut = gateway.registry.sweep(now, |_| Command::Cut(CutReason::Shutdown));
            tracing::warn!(connections = cut.len(), "drain timeout reached: connections are closed");
            sleep(CLOSE_TIMEOUT).await;
            return;
        }
        cut_expired(gateway);
        sleep(DRAIN_POLL_INTERVAL).await;
    }
}

fn cut_expired(gateway: &Shared) {
    gateway.registry.cut_expired(gateway.clock.now());
}

/// Last warning of each expiring CRL, by issuer.
#[derive(Default)]
struct CrlReminders(BTreeMap<KeyIdentifier, CrlReminder>);

struct CrlReminder {
    sha256: Sha256,
    freshness: CrlFreshness,
    /// Time of the next warning.
    next: Instant,
}

impl CrlReminders {
    /// Warn of each CRL near its nextUpdate: when its freshness changes, and once per [`REMINDER_INTERVAL`].
    fn log_due(&mut self, gateway: &Shared) {
        let (now, instant) = (gateway.clock.now(), gateway.clock.monotonic());
        let state = gateway.state.load();
        let Some(crls) = state.verifier.revocation() else { return };
        self.0.retain(|issuer, _| crls.set.crl(issuer).is_some());
        for crl in crls.set.crls().filter(|crl| crl.next_update - now < CRL_WARNING_PERIOD) {
            let freshness = crls.freshness(crl, now);
            let last = self.0.get(&crl.issuer);
            if last.is_some_and(|last| {
                last.sha256 == crl.sha256 && last.freshness == freshness && instant < last.next
            }) {
                continue;
            }
            let reminder = CrlReminder { sha256: crl.sha256, freshness, next: instant + REMINDER_INTERVAL };
            self.0.insert(crl.issuer.clone(), reminder);
            let (issuer, next_update) = (&crl.issuer, rfc3339(crl.next_update));
            match freshness {
                CrlFreshness::Current => {
                    tracing::warn!(%issuer, next_update, "the CRL expires soon: publish a new one");
                }
                CrlFreshness::Grace => {
                    let until = rfc3339(crl.next_update.saturating_add(crls.grace));
                    tracing::error!(%issuer, next_update, until, "the CRL has expired, and is still accepted until the end of its grace period");
                }
                CrlFreshness::Expired => {
                    tracing::error!(%issuer, next_update, "the CRL has expired: certificates of its issuer are refused");
                }
            }
        }
    }
}
