//! Run of the gateway: start, and serve until a signal.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::{io, thread};

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

use crate::clock::{Clock, SystemEntropy};
use crate::gateway::config::Config;
use crate::gateway::process::demo_upstream;
use crate::gateway::process::error::GatewayError;
use crate::gateway::process::load::{load, open_access_log};
use crate::gateway::process::run_error::RunError;
use crate::gateway::process::start::{Gateway, Options, Running};
use crate::gateway::state::StateError;
use crate::mtls::keys::KeyOpener;
use crate::secret::{MemoryLock, lock_memory};

/// Serve the configuration at `path` until SIGTERM or SIGINT; a second signal stops at once. `started` gets
/// the addresses once connections are accepted.
///
/// # Errors
/// [`RunError`] if the gateway cannot start, or a task of it panics.
pub fn run(
    path: &Path,
    with_demo_upstream: bool,
    clock: Arc<dyn Clock>,
    started: impl FnOnce(&[SocketAddr]),
) -> Result<(), RunError> {
    let config = load(path)?;
    let environment = |source| RunError::Environment { source };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(environment)?;
    let every_upstream = match with_demo_upstream {
        true => Some(demo_upstream::start().map_err(environment)?),
        false => None,
    };
    // Registered before the start, so that an early signal is not lost.
    let (mut terminate, mut interrupt, mut hang_up) = {
        let _entered = runtime.enter();
        let listen = |kind| signal(kind).map_err(environment);
        (listen(SignalKind::terminate())?, listen(SignalKind::interrupt())?, listen(SignalKind::hangup())?)
    };
    let access_log = open_access_log(&config.access_log)?;
    let key_opener = KeyOpener::new(Arc::clone(&clock));
    // Opening a key may take long; a signal interrupts it.
    let opened = runtime.block_on(async {
        tokio::select! {
            biased;
            _ = terminate.recv() => None,
            _ = interrupt.recv() => None,
            opened = open_keys(&key_opener, &config) => Some(opened),
        }
    });
    match opened {
        Some(opened) => opened?,
        None => return Ok(()),
    }
    lock_memory(MemoryLock::Present);
    let options = Options { clock, entropy: Arc::new(SystemEntropy), access_log, every_upstream, key_opener };
    let running = Gateway::start(&config, options)?;
    started(running.addresses());
    runtime.block_on(async {
        for shut_down in [Running::drain, Running::stop] {
            loop {
                tokio::select! {
                    _ = terminate.recv() => break,
                    _ = interrupt.recv() => break,
                    () = running.stopped() => return,
                    _ = hang_up.recv() => running.request_reload(),
                }
            }
            shut_down(&running);
        }
    });
    Ok(running.join()?)
}

/// Open the keys of `config` on a thread of its own, so that a signal can abandon the wait.
async fn open_keys(key_opener: &KeyOpener, config: &Config) -> Result<(), RunError> {
    let (sender, opened) = oneshot::channel();
    let (key_opener, config) = (key_opener.clone(), config.clone());
    thread::Builder::new()
        .name("keys".to_owned())
        .spawn(move || sender.send(key_opener.wait_for(config.keys())))
        .map_err(|source| RunError::Environment { source })?;
    match opened.await {
        Ok(opened) => Ok(opened.map_err(StateError::from).map_err(GatewayError::from)?),
        Err(_) => Err(RunError::Environment { source: io::Error::other("the thread ended") }),
    }
}
