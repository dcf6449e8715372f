//! State shared by all workers and tasks of a gateway.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use arc_swap::ArcSwap;

use crate::clock::{Clock, Entropy};
use crate::gateway::config::{Limits, StartupOptions};
use crate::gateway::sessions::command::Command;
use crate::gateway::sessions::registry::Registry;
use crate::gateway::sessions::session::Session;
use crate::gateway::state::State;
use crate::gateway::telemetry::sinks::Telemetry;
use crate::serving::per_address::PerAddressLimits;

/// State, registry, limits and telemetry of a running gateway.
#[derive(Debug)]
pub struct Shared {
    /// State in force.
    pub state: ArcSwap<State>,
    /// Registry of open connections.
    pub registry: Arc<Registry>,
    /// Wall clock and monotonic clock.
    pub clock: Arc<dyn Clock>,
    /// Access log and metrics.
    pub telemetry: Arc<Telemetry>,
    /// Source of random request numbers.
    pub entropy: Arc<dyn Entropy>,
    /// Limits in force.
    pub limits: Limits,
    /// Options as they were at the start.
    pub options: StartupOptions,
    /// Number of workers.
    pub workers: usize,
    /// Number of open connections, including those in their handshake.
    pub connections: Arc<AtomicUsize>,
    /// Connections and handshakes by client address.
    pub addresses: Arc<PerAddressLimits>,
    /// Phase of the process.
    pub phase: tokio::sync::watch::Sender<Phase>,
    /// Set once an essential task has panicked, which stops the gateway.
    pub panicked: AtomicBool,
}

/// Life cycle of a gateway, in its order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Connections are accepted.
    Serving,
    /// Open connections finish their requests; new ones are refused.
    Draining,
    /// Nothing runs.
    Stopped,
}

impl Phase {
    /// Wait for phase `wanted` or a later one.
    pub async fn reached(wanted: Self, phase: &mut tokio::sync::watch::Receiver<Self>) {
        // The sender outlives every receiver, so that this cannot fail.
        let _ = phase.wait_for(|phase| *phase >= wanted).await;
    }
}

impl Shared {
    /// Recheck a new connection if the state has changed since `generation`, by which its handshake was
    /// verified. A change sweeps the registry after the swap, so every connection is rechecked there or here.
    pub fn settle(&self, session: &Session, generation: u64) {
        let state = self.state.load();
        if state.generation != generation
            && let Some(peer) = &session.peer
            && let Err(reason) = state.verifier.recheck(peer, self.clock.now())
        {
            session.signal(Command::Cut(reason.into()), self.clock.monotonic());
        }
        if *self.phase.borrow() != Phase::Serving {
            session.signal(Command::Drain, self.clock.monotonic());
        }
    }

    /// Stop accepting connections; requests in flight may finish.
    pub fn drain(&self) {
        self.phase.send_if_modified(|phase| {
            let serving = *phase == Phase::Serving;
            if serving {
                *phase = Phase::Draining;
            }
            serving
        });
        tracing::info!(
            connections = self.registry.open(),
            seconds = self.limits.drain_timeout.as_secs(),
            "draining: requests in flight may finish; a second signal closes them"
        );
        self.registry.sweep(self.clock.monotonic(), |_| Command::Drain);
    }
}

/// Guard that stops the gateway when a panic drops it. A gateway that no longer accepts connections or
/// enforces expiry must not look healthy.
#[derive(Debug)]
pub struct StopOnPanic(Arc<Shared>);

impl StopOnPanic {
    /// Guard the enclosing scope.
    #[must_use]
    pub const fn new(gateway: Arc<Shared>) -> Self {
        Self(gateway)
    }
}

impl Drop for StopOnPanic {
    fn drop(&mut self) {
        if thread::panicking() {
            tracing::error!("an essential task panicked: the gateway stops");
            self.0.panicked.store(true, Ordering::Relaxed);
            self.0.phase.send_replace(Phase::Stopped);
        }
    }
}
