//! Many gateways called at once.

use std::future::Future;
use std::io;
use std::panic::resume_unwind;

use tokio::runtime::Builder;
use tokio::task::JoinSet;

use super::context::Calling;
use super::error::Fault;
use super::list::Gateway;
use super::session::Conversation;

/// Has `ask` talk to every gateway at once; `ended` is told each time one of them is through. The answers
/// are in the order of the gateways.
///
/// # Errors
/// When the system does not let anybody wait for the network.
pub(super) fn ask_all<T, F>(
    gateways: &[Gateway],
    calling: &Calling,
    ask: impl Fn(Conversation) -> F + Clone + Send + 'static,
    mut ended: impl FnMut(),
) -> io::Result<Vec<Result<T, Fault>>>
where
    T: Send + 'static,
    F: Future<Output = Result<T, Fault>> + Send,
{
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let mut answers = runtime.block_on(async {
        let mut calls = JoinSet::new();
        for (index, gateway) in gateways.iter().cloned().enumerate() {
            let (calling, ask) = (calling.clone(), ask.clone());
            calls.spawn(async move {
                match Conversation::open(&gateway, &calling).await {
                    Ok(conversation) => (index, ask(conversation).await),
                    Err(fault) => (index, Err(fault)),
                }
            });
        }
        let mut answers = Vec::with_capacity(gateways.len());
        while let Some(call) = calls.join_next().await {
            match call.map_err(tokio::task::JoinError::try_into_panic) {
                Ok(answer) => answers.push(answer),
                Err(Ok(panic)) => resume_unwind(panic),
                // Nobody cancels them.
                Err(Err(_)) => {}
            }
            ended();
        }
        answers
    });
    // A resolver that hangs is not waited for.
    runtime.shutdown_background();
    answers.sort_by_key(|(index, _)| *index);
    Ok(answers.into_iter().map(|(_, answer)| answer).collect())
}
