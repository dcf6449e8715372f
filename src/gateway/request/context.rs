//! Context of a worker and of one of its connections, shared by the requests.

use std::sync::Arc;

use crate::clock::Entropy;
use crate::gateway::control::reload::Control;
use crate::gateway::limits::connection_permit::ConnectionPermit;
use crate::gateway::message::hosts::AllowedHosts;
use crate::gateway::message::request_id::RequestIds;
use crate::gateway::sessions::registry::Registration;
use crate::gateway::sessions::session::Session;
use crate::gateway::shared::Shared;

/// Context of the requests of one worker.
#[derive(Debug)]
pub struct WorkerContext {
    /// Number of the worker, from 0.
    pub index: usize,
    /// Everything that the workers share.
    pub gateway: Arc<Shared>,
    /// Control of the gateway, for pushed CRLs and the status.
    pub control: Arc<Control>,
    /// Generator of request numbers.
    pub request_ids: RequestIds,
}

impl WorkerContext {
    /// Context of worker number `index`.
    #[must_use]
    pub fn new(index: usize, control: Arc<Control>) -> Self {
        let gateway = Arc::clone(&control.shared);
        let entropy: Arc<dyn Entropy> = Arc::clone(&gateway.entropy);
        Self { index, request_ids: RequestIds::new(entropy), gateway, control }
    }
}

/// Context of the requests of one connection.
#[derive(Debug)]
pub struct ConnectionContext {
    /// Context of its worker.
    pub worker: Arc<WorkerContext>,
    /// Registered session.
    pub session: Arc<Session>,
    /// Hosts that its requests may name.
    pub hosts: AllowedHosts,
    /// Keeps the session registered until the last request, or the tunnel, has ended.
    pub registration: Registration,
    /// Permit to be open.
    pub permit: ConnectionPermit,
}

impl Drop for ConnectionContext {
    fn drop(&mut self) {
        if let Some((reason, since)) = self.session.cut() {
            let gateway = &self.worker.gateway;
            let delay = gateway.clock.monotonic().saturating_duration_since(since);
            gateway.telemetry.connection_cut(&self.session, reason, delay);
        }
    }
}
