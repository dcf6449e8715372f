//! State shared by all connections.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use arc_swap::ArcSwap;
use tokio::sync::watch;

use super::accounts::AccountService;
use super::config::ServerLimits;
use super::home::OpenedHome;
use super::state::ServerState;
use super::telemetry::ServerTelemetry;
use crate::clock::Clock;
use crate::mtls::tls::ResumptionStore;
use crate::serving::per_address::PerAddressLimits;
use crate::serving::request_id::RequestIds;

/// State of a server process.
#[derive(Debug)]
pub(super) struct ServerShared {
    /// The opened home.
    pub(super) home: Arc<OpenedHome>,
    /// Accounts of the home.
    pub(super) accounts: Arc<AccountService>,
    /// State in force.
    pub(super) state: ArcSwap<ServerState>,
    /// Stored TLS sessions, kept across reloads.
    pub(super) sessions: Arc<ResumptionStore>,
    /// Access log and metrics.
    pub(super) telemetry: ServerTelemetry,
    /// Limits in force since the start.
    pub(super) limits: ServerLimits,
    /// Open connections, handshakes included.
    pub(super) connections: Arc<AtomicUsize>,
    /// Open connections and handshakes of each address.
    pub(super) addresses: Arc<PerAddressLimits>,
    /// Generator of request IDs.
    pub(super) request_ids: RequestIds,
    /// Wall and monotonic clock.
    pub(super) clock: Arc<dyn Clock>,
    /// True once the server drains.
    pub(super) draining: watch::Sender<bool>,
}

impl ServerShared {
    /// Wait until the server drains.
    pub(super) async fn drained(&self) {
        // The sender lives as long as this value.
        let _ = self.draining.subscribe().wait_for(|draining| *draining).await;
    }

    /// True once the server drains.
    pub(super) fn is_draining(&self) -> bool {
        *self.draining.borrow()
    }
}
