//! Contexts of workers and connections, shared by their requests.

use std::sync::Arc;

use crate::clock::Entropy;
use crate::gateway::control::reload::Control;
use crate::gateway::message::hosts::AllowedHosts;
use crate::gateway::request::last_token::LastToken;
use crate::gateway::sessions::registry::Registration;
use crate::gateway::sessions::session::Session;
use crate::gateway::shared::Shared;
use crate::serving::connection_permit::ConnectionPermit;
use crate::serving::request_id::RequestIds;

/// Context of all requests of one worker.
#[derive(Debug)]
pub struct WorkerContext {
    /// Number of the worker, from 0.
    pub index: usize,
    /// State shared by all workers.
    pub gateway: Arc<Shared>,
    /// Control of the gateway, for pushed CRLs and the status report.
    pub control: Arc<Control>,
    /// Generator of request IDs.
    pub request_ids: RequestIds,
}

impl WorkerContext {
    /// Create the context of worker number `index`, from 0.
    #[must_use]
    pub fn new(index: usize, control: Arc<Control>) -> Self {
        let gateway = Arc::clone(&control.shared);
        let entropy: Arc<dyn Entropy> = Arc::clone(&gateway.entropy);
        Self { index, request_ids: RequestIds::new(entropy), gateway, control }
    }
}

/// Context of all requests of one connection.
#[derive(Debug)]
pub struct ConnectionContext {
    /// Context of its worker.
    pub worker: Arc<WorkerContext>,
    /// Session in the registry.
    pub session: Arc<Session>,
    /// Hosts that its requests may name.
    pub hosts: AllowedHosts,
    /// True if its listener requires a client certificate.
    pub requires_certificate: bool,
    /// Token of its last request.
    pub last_token: LastToken,
    /// Keep the session registered until its last request or tunnel ends.
    pub registration: Registration,
    /// Permit that counts the connection against the limits.
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
