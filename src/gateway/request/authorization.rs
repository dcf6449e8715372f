//! Permission of a request while it is in flight: a change of policy or of the certificate withdraws it.

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use http::Method;

use crate::error::Coded;
use crate::gateway::message::path::RequestPath;
use crate::gateway::policy::Decision;
use crate::gateway::request::context::ConnectionContext;
use crate::gateway::request::problem::RequestProblem;
use crate::gateway::request::token_check;
use crate::gateway::sessions::command::Command;
use crate::gateway::tokens::TokenHolder;

/// Permitted request, with its response and any tunnel that follows.
#[derive(Clone, Debug)]
pub struct Authorization {
    /// Connection of the request.
    pub connection: Arc<ConnectionContext>,
    /// Method the policy decided on.
    pub method: Method,
    /// Path the policy decided on.
    pub path: RequestPath,
    /// User of its access token.
    pub user: Option<Arc<TokenHolder>>,
    /// Set for a request that asks for an upgrade.
    pub tunnel: bool,
    /// Set for a request with content that its method gives no meaning to.
    pub content: bool,
    /// Generation of the state that permitted it.
    pub generation: u64,
}

impl Authorization {
    /// Wait until the request is no longer permitted: its connection is cut, or a new policy denies it. A
    /// denial is counted.
    pub async fn until_denied(&self) -> RequestProblem {
        let Self { connection, method, path, user, tunnel, content, .. } = self;
        let mut generation = self.generation;
        let gateway = &connection.worker.gateway;
        loop {
            // Registered before the checks, so that no later change is missed.
            let changed = connection.session.changed();
            if let Command::Cut(reason) = connection.session.command() {
                return RequestProblem::Cut(reason);
            }
            {
                let state = gateway.state.load();
                if state.generation != generation {
                    generation = state.generation;
                    if let Some(user) = user
                        && let Err(error) = token_check::recheck(&state, user)
                    {
                        let delay = gateway.clock.monotonic().saturating_duration_since(state.noticed);
                        gateway.telemetry.metrics.request_cut(error.code(), delay);
                        return RequestProblem::Token(error);
                    }
                    let caller = token_check::subject(connection.session.peer.as_deref(), user.as_deref());
                    let decision = state.settings.policy.decide(caller, method, path);
                    let decision = decision.for_tunnel(*tunnel).for_content(*content);
                    if let Decision::Deny(denial) = decision {
                        let delay = gateway.clock.monotonic().saturating_duration_since(state.noticed);
                        gateway.telemetry.metrics.request_cut(denial.reason.code(), delay);
                        return RequestProblem::Denied(denial);
                    }
                }
            }
            changed.await;
        }
    }
}

/// Permission of the response that a task sends. It is polled for the response's body, and by the task while it waits
/// for the client.
#[derive(Default)]
pub struct ResponsePermission(Mutex<PermissionState>);

#[derive(Default)]
enum PermissionState {
    /// There is no response, or nothing can withdraw its permission, or that is reported.
    #[default]
    Unwatched,
    /// Permitted; not polled yet.
    Initial(Authorization),
    /// Polled: the task that polled last is woken by a denial.
    Watched(Pin<Box<dyn Future<Output = RequestProblem> + Send>>),
}

impl ResponsePermission {
    /// Begin a response that lasts as long as `authorization`.
    pub fn begin(&self, authorization: Authorization) {
        *self.state() = PermissionState::Initial(authorization);
    }

    /// End the response.
    pub fn end(&self) {
        *self.state() = PermissionState::Unwatched;
    }

    /// Ready, once, when the permission is withdrawn.
    pub fn poll_denied(&self, cx: &mut Context<'_>) -> Poll<RequestProblem> {
        let mut state = self.state();
        let mut denial = match std::mem::take(&mut *state) {
            PermissionState::Initial(authorization) => Box::pin(async move {
                let problem = authorization.until_denied().await;
                authorization.connection.session.mark_abort_on_close();
                problem
            }),
            PermissionState::Watched(denial) => denial,
            PermissionState::Unwatched => return Poll::Pending,
        };
        let denied = denial.as_mut().poll(cx);
        if denied.is_pending() {
            *state = PermissionState::Watched(denial);
        }
        denied
    }

    fn state(&self) -> MutexGuard<'_, PermissionState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for ResponsePermission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponsePermission").finish_non_exhaustive()
    }
}
