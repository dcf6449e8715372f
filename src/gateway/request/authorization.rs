//! One exchange while it lasts: what was permitted when it began may be forbidden before it ends.

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use http::Method;

use crate::error::Coded;
use crate::gateway::message::path::RequestPath;
use crate::gateway::policy::Decision;
use crate::gateway::request::context::ConnectionContext;
use crate::gateway::request::problem::Problem;
use crate::gateway::sessions::command::Command;

/// A request that the policy permitted, its response, and the tunnel that may follow.
#[derive(Clone, Debug)]
pub struct Authorization {
    /// The connection that it is on.
    pub connection: Arc<ConnectionContext>,
    /// The method that was judged.
    pub method: Method,
    /// The path that was judged.
    pub path: RequestPath,
    /// Whether it asks to become a tunnel.
    pub tunnel: bool,
    /// The state that it was judged by.
    pub generation: u64,
}

impl Authorization {
    /// Waits until it may not go on: its connection is cut, or the policy in force forbids it, which is
    /// counted.
    pub async fn forbidden(&self) -> Problem {
        let Self { connection, method, path, tunnel, .. } = self;
        let mut generation = self.generation;
        let gateway = &connection.worker.gateway;
        loop {
            // Before anything is looked at: what changes afterwards is not missed.
            let changed = connection.session.changed();
            if let Command::Cut(reason) = connection.session.command() {
                return Problem::Cut(reason);
            }
            {
                let state = gateway.state.load();
                if state.generation != generation {
                    generation = state.generation;
                    let caller = connection.session.peer.as_ref().map(|peer| &peer.identity);
                    let decision = state.settings.policy.decide(caller, method, path).for_tunnel(*tunnel);
                    if let Decision::Deny(denial) = decision {
                        let delay = gateway.clock.monotonic().saturating_duration_since(state.noticed);
                        gateway.telemetry.metrics.request_cut(denial.reason.code(), delay);
                        return Problem::Denied(denial);
                    }
                }
            }
            changed.await;
        }
    }
}

/// Whether a response may go on: asked for by whoever passes it on, and by whoever waits for its caller to
/// take it.
pub struct Permission(Mutex<Watch>);

enum Watch {
    /// As it was judged; nobody has waited for it yet.
    Judged(Authorization),
    /// Whoever waits is woken when it ends.
    Watched(Pin<Box<dyn Future<Output = Problem> + Send>>),
    /// It has ended.
    Ended,
}

impl Permission {
    /// As `exchange` was judged.
    #[must_use]
    pub fn of(exchange: Authorization) -> Arc<Self> {
        Arc::new(Self(Mutex::new(Watch::Judged(exchange))))
    }

    /// Is ready when it has ended, once.
    pub fn poll_end(&self, cx: &mut Context<'_>) -> Poll<Problem> {
        let mut watch = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut end = match std::mem::replace(&mut *watch, Watch::Ended) {
            Watch::Judged(exchange) => Box::pin(async move {
                let problem = exchange.forbidden().await;
                exchange.connection.session.mark_abort_on_close();
                problem
            }),
            Watch::Watched(end) => end,
            Watch::Ended => return Poll::Pending,
        };
        let ended = end.as_mut().poll(cx);
        if ended.is_pending() {
            *watch = Watch::Watched(end);
        }
        ended
    }
}

impl fmt::Debug for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permission").finish_non_exhaustive()
    }
}
