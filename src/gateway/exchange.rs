//! One exchange while it lasts: what was permitted when it began may be forbidden before it ends.

use std::sync::Arc;

use http::Method;

use super::connection::Connection;
use super::path::RequestPath;
use super::policy::{Decision, Denial, DenyReason};
use super::problem::Problem;
use super::registry::Order;

/// A request that the policy permitted, its response, and the tunnel that may follow.
#[derive(Clone, Debug)]
pub struct Exchange {
    /// The connection that it is on.
    pub connection: Arc<Connection>,
    /// The method that was judged.
    pub method: Method,
    /// The path that was judged.
    pub path: RequestPath,
    /// Whether it asks to become a tunnel.
    pub tunnel: bool,
    /// The state that it was judged by.
    pub generation: u64,
}

impl Exchange {
    /// Waits until it may not go on: its connection is cut, or the policy in force forbids it.
    pub async fn forbidden(self) -> Problem {
        let Self { connection, method, path, tunnel, mut generation } = self;
        loop {
            // Before anything is looked at: what changes afterwards is not missed.
            let changed = connection.session.changed();
            if let Order::Cut(reason) = connection.session.order() {
                return Problem::Cut(reason);
            }
            {
                let state = connection.worker.gateway.state.load();
                if state.generation != generation {
                    generation = state.generation;
                    let caller = connection.session.peer.as_ref().map(|peer| &peer.identity);
                    match state.policy.decide(caller, &method, &path) {
                        Decision::Permit(terms) if tunnel && !terms.websocket() => {
                            let (reason, rule) = (DenyReason::WebSocket, Some(terms.rule()));
                            return Problem::Denied(Denial { reason, rule });
                        }
                        Decision::Permit(_) => {}
                        Decision::Deny(denial) => return Problem::Denied(denial),
                    }
                }
            }
            changed.await;
        }
    }
}
