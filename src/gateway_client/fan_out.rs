//! Concurrent calls to many gateways.

use std::future::Future;
use std::io;
use std::panic::resume_unwind;

use tokio::runtime::Builder;
use tokio::task::{JoinError, JoinSet};

use super::context::CallContext;
use super::error::CallError;
use super::list::GatewayEntry;
use super::session::GatewaySession;

/// Open a session to every gateway at once and run `call` in each. `on_done` runs after each call. The
/// results are in the order of `gateways`.
///
/// # Errors
/// [`io::Error`] if the operating system provides no event queue, or a call was aborted.
pub(super) fn call_all<T, F>(
    gateways: &[GatewayEntry],
    context: &CallContext,
    call: impl Fn(GatewaySession) -> F + Clone + Send + 'static,
    mut on_done: impl FnMut(),
) -> io::Result<Vec<Result<T, CallError>>>
where
    T: Send + 'static,
    F: Future<Output = Result<T, CallError>> + Send,
{
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let results = runtime.block_on(async {
        let mut calls = JoinSet::new();
        for (index, gateway) in gateways.iter().cloned().enumerate() {
            let (context, call) = (context.clone(), call.clone());
            calls.spawn(async move {
                match GatewaySession::open(&gateway, &context).await {
                    Ok(session) => (index, call(session).await),
                    Err(error) => (index, Err(error)),
                }
            });
        }
        let mut results = Vec::with_capacity(gateways.len());
        while let Some(joined) = calls.join_next().await {
            match joined.map_err(JoinError::try_into_panic) {
                Ok(result) => results.push(result),
                Err(Ok(panic)) => resume_unwind(panic),
                // A missing result would attribute the others to the wrong gateways.
                Err(Err(aborted)) => return Err(io::Error::other(aborted)),
            }
            on_done();
        }
        Ok(results)
    });
    // A blocked resolver thread must not delay the return.
    runtime.shutdown_background();
    let mut results = results?;
    results.sort_by_key(|(index, _)| *index);
    Ok(results.into_iter().map(|(_, result)| result).collect())
}
