//! Keeping alive what opens our keys: a token that nobody renews is over by the time the gateway starts
//! again.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::sleep;

use crate::error::{Coded, with_causes};
use crate::gateway::shared::Shared;
use crate::keys::CredentialsFile;
use crate::mtls::keys::KeySource;

/// How long after a start it is first looked at.
const FIRST: Duration = Duration::from_secs(1);

/// How often at most, and at least.
const OFTEN: Duration = Duration::from_secs(1);
const SELDOM: Duration = Duration::from_secs(3_600);

/// How long to wait after a failure.
const AFTER_FAILURE: Duration = Duration::from_secs(60);

/// Looks after them for as long as it is let.
pub async fn run(gateway: Arc<Shared>) {
    let mut pause = FIRST;
    loop {
        sleep(pause).await;
        let keys = gateway.state.load().settings.keys.clone();
        let (sender, done) = oneshot::channel();
        // On a thread that nobody waits for: a service need not answer.
        let spawned =
            thread::Builder::new().name("logins".to_owned()).spawn(move || sender.send(keep(&keys)));
        pause = match spawned {
            Ok(_) => done.await.unwrap_or(SELDOM),
            Err(_) => AFTER_FAILURE,
        };
    }
}

/// Prolongs what has to be, and says when to come again.
fn keep(keys: &[KeySource]) -> Duration {
    let by_a_service = keys.iter().filter(|key| matches!(key.opener, Some(CredentialsFile::Kms(_))));
    let next = by_a_service.map(|key| {
        match key.read().and_then(|locked| locked.renew_login().map_err(|error| key.failed(error))) {
            Ok(next) => next.unwrap_or(SELDOM),
            Err(error) => {
                tracing::warn!(
                    key = %key.path.display(),
                    code = error.code(),
                    "what opens the key cannot be renewed: {}",
                    with_causes(&error)
                );
                AFTER_FAILURE
            }
        }
    });
    next.min().unwrap_or(SELDOM).clamp(OFTEN, SELDOM)
}
