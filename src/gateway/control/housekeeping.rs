//! What has to happen without anybody asking: expired connections are cut, an ageing CRL is told of, what
//! a flood has kept out of the log is summed up there, and a drain comes to its end.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use crate::clock::rfc3339;
use crate::gateway::control::kms_token_renewal;
use crate::gateway::sessions::command::{Command, CutReason};
use crate::gateway::shared::{Phase, Shared};
use crate::mtls::crl::CrlFreshness;
use crate::x509::{KeyIdentifier, Sha256};

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
    let mut crls = AgeingCrls::default();
    // It ends with this runtime.
    tokio::spawn(kms_token_renewal::run(Arc::clone(&gateway)));
    loop {
        tokio::select! {
            biased;
            () = Phase::reached(Phase::Draining, &mut phase) => break,
            _ = tick.tick() => {
                cut_expired(&gateway);
                crls.tell(&gateway);
            }
            _ = summary.tick() => gateway.telemetry.log_suppressed_refusals(),
        }
    }
    tokio::select! {
        () = finish(&gateway) => {}
        () = Phase::reached(Phase::Stopped, &mut phase) => {}
    }
    gateway.telemetry.log_suppressed_refusals();
    gateway.phase.send_replace(Phase::Stopped);
}

/// Waits for what runs, as long as is allowed, and cuts the rest.
async fn finish(gateway: &Shared) {
    let deadline = Instant::now() + gateway.limits.drain_timeout;
    while gateway.connections.load(Ordering::Relaxed) > 0 {
        if Instant::now() >= deadline {
            let cut =
                gateway.registry.sweep(Instant::now().into_std(), |_| Command::Cut(CutReason::Shutdown));
            tracing::warn!(connections = cut.len(), "the time to finish is over: connections are cut");
            sleep(FAREWELL).await;
            return;
        }
        cut_expired(gateway);
        sleep(DRAIN_TICK).await;
    }
}

fn cut_expired(gateway: &Shared) {
    gateway.registry.cut_expired(gateway.clock.now());
}

/// What has been told of CRLs that come to their end.
#[derive(Default)]
struct AgeingCrls(BTreeMap<KeyIdentifier, Told>);

struct Told {
    of: Sha256,
    standing: CrlFreshness,
    /// When it is to be told again.
    again: Instant,
}

impl AgeingCrls {
    /// Tells of each when its standing changes, and once in a while.
    fn tell(&mut self, gateway: &Shared) {
        let (now, instant) = (gateway.clock.now(), Instant::now());
        let state = gateway.state.load();
        let Some(crls) = state.verifier.revocation() else { return };
        self.0.retain(|issuer, _| crls.set.crl(issuer).is_some());
        for crl in crls.set.crls().filter(|crl| crl.next_update - now < CRL_WARNING) {
            let standing = crls.freshness(crl, now);
            let known = self.0.get(&crl.issuer);
            if known.is_some_and(|known| {
                known.of == crl.sha256 && known.standing == standing && instant < known.again
            }) {
                continue;
            }
            let told = Told { of: crl.sha256, standing, again: instant + REMINDER };
            self.0.insert(crl.issuer.clone(), told);
            let (issuer, next_update) = (&crl.issuer, rfc3339(crl.next_update));
            match standing {
                CrlFreshness::Current => {
                    tracing::warn!(%issuer, next_update, "the CRL will expire soon: publish a new one");
                }
                CrlFreshness::Grace => {
                    let until = rfc3339(crl.next_update.saturating_add(crls.grace));
                    tracing::error!(%issuer, next_update, until, "the CRL has expired, and is still relied on");
                }
                CrlFreshness::Expired => {
                    tracing::error!(%issuer, next_update, "the CRL has expired: its issuer's callers are refused");
                }
            }
        }
    }
}
