//! Renewal of KMS tokens: without it, a token could expire before the next start of the gateway.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::sleep;

use crate::error::{Coded, with_causes};
use crate::gateway::shared::Shared;
use crate::keys::CredentialsFile;
use crate::mtls::keys::KeySource;

/// Delay of the first renewal after the start.
const INITIAL_DELAY: Duration = Duration::from_secs(1);

/// Shortest interval between renewals.
const MIN_INTERVAL: Duration = Duration::from_secs(1);

/// Longest interval between renewals.
const MAX_INTERVAL: Duration = Duration::from_secs(3_600);

/// Interval after a failure.
const RETRY_INTERVAL: Duration = Duration::from_secs(60);

/// Renew the tokens until the runtime stops.
pub async fn run(gateway: Arc<Shared>) {
    let mut delay = INITIAL_DELAY;
    loop {
        sleep(delay).await;
        let keys = gateway.state.load().settings.keys.clone();
        let (sender, done) = oneshot::channel();
        // On its own thread: a KMS that does not answer must not block a shutdown.
        let spawned =
            thread::Builder::new().name("kms-renewal".to_owned()).spawn(move || sender.send(renew(&keys)));
        delay = match spawned {
            Ok(_) => done.await.unwrap_or(MAX_INTERVAL),
            Err(_) => RETRY_INTERVAL,
        };
    }
}

/// Renew the tokens of all keys in a KMS, and return the delay until the next renewal.
fn renew(keys: &[KeySource]) -> Duration {
    let kms_keys = keys.iter().filter(|key| matches!(key.opener, Some(CredentialsFile::Kms(_))));
    let next = kms_keys.map(|key| {
        match key.read().and_then(|protected| protected.renew_login().map_err(|error| key.failed(error))) {
            Ok(next) => next.unwrap_or(MAX_INTERVAL),
            Err(error) => {
                tracing::warn!(
                    key = %key.path.display(),
                    code = error.code(),
                    "the KMS token of the key cannot be renewed: {}",
                    with_causes(&error)
                );
                RETRY_INTERVAL
            }
        }
    });
    next.min().unwrap_or(MAX_INTERVAL).clamp(MIN_INTERVAL, MAX_INTERVAL)
}
