//! The home of the CA, opened once: queries and changes run on threads of their own.
//!
//! A change takes the lock of the home, as each command does, and gives it back: commands and server work on one home
//! at the same time. The root key stays open.

use std::sync::Arc;

use tokio::sync::{Mutex, Semaphore};
use tokio::task::spawn_blocking;

use crate::audit::Actor;
use crate::ca::{Authority, CaError, Cluster, Context, Home, RootKey};
use crate::error::{Code, Coded};
use crate::profile::ProfileSet;

/// Queries at the same time; further ones wait.
const MAX_QUERIES: usize = 8;

/// The home of the CA with its root key.
#[derive(Debug)]
pub(super) struct OpenedHome {
    home: Home,
    context: Context,
    root_key: RootKey,
    profiles: ProfileSet,
    queries: Semaphore,
    /// Changes wait here in their order, instead of each with a thread at the lock of the home.
    changes: Mutex<()>,
}

impl OpenedHome {
    /// Open the root key.
    pub(super) fn open(home: Home, context: Context, profiles: ProfileSet) -> Result<Self, CaError> {
        let root_key = RootKey::open(&home, &context)?;
        let queries = Semaphore::new(MAX_QUERIES);
        Ok(Self { home, context, root_key, profiles, queries, changes: Mutex::new(()) })
    }

    /// Names of the files.
    pub(super) const fn home(&self) -> &Home {
        &self.home
    }

    /// Clock, randomness, and the actor of changes that no caller asked for.
    pub(super) const fn context(&self) -> &Context {
        &self.context
    }

    /// The root key, for its protection.
    pub(super) const fn root_key(&self) -> &RootKey {
        &self.root_key
    }

    /// Run `query` on the home. It blocks this thread.
    pub(super) fn query_now<T, E: From<CaError>>(
        &self,
        query: impl FnOnce(&Cluster, &ProfileSet) -> Result<T, E>,
    ) -> Result<T, E> {
        query(&Cluster::open(&self.home, &self.context)?, &self.profiles)
    }

    /// Run `change` on the home, by `actor`. It blocks this thread.
    pub(super) fn change_now<T, E: From<CaError>>(
        &self,
        actor: Actor,
        change: impl FnOnce(&mut Authority, &ProfileSet) -> Result<T, E>,
    ) -> Result<T, E> {
        let context = Context { actor, ..self.context.clone() };
        let mut authority = Authority::open_with_key(&self.home, &context, &self.root_key)?;
        for recovered in authority.recovered() {
            tracing::info!("{recovered}");
        }
        change(&mut authority, &self.profiles)
    }

    /// Run `query` on a thread of its own.
    pub(super) async fn query<T: Send + 'static, E: From<CaError> + From<ThreadEnded> + Send + 'static>(
        self: &Arc<Self>,
        query: impl FnOnce(&Cluster, &ProfileSet) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E> {
        let _permit = self.queries.acquire().await.map_err(|_| ThreadEnded)?;
        let this = Arc::clone(self);
        spawn_blocking(move || this.query_now(query)).await.map_err(|_| ThreadEnded)?
    }

    /// Run `change`, by `actor`, on a thread of its own, after the changes before it.
    pub(super) async fn change<T: Send + 'static, E: From<CaError> + From<ThreadEnded> + Send + 'static>(
        self: &Arc<Self>,
        actor: Actor,
        change: impl FnOnce(&mut Authority, &ProfileSet) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E> {
        let _turn = self.changes.lock().await;
        let this = Arc::clone(self);
        spawn_blocking(move || this.change_now(actor, change)).await.map_err(|_| ThreadEnded)?
    }
}

/// The thread of a query or change ended without a result: it panicked, or the server stops.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the thread of the request ended")]
pub(super) struct ThreadEnded;

impl Coded for ThreadEnded {
    fn coded(&self) -> Code {
        Code::environment("server.thread_ended")
    }
}
