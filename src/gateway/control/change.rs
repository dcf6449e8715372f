//! Result of putting a new state in force.

use std::sync::Arc;

use crate::gateway::sessions::session::Session;
use crate::gateway::state::State;

/// State that was put in force.
#[derive(Debug)]
pub struct StateChange {
    /// State in force.
    pub state: Arc<State>,
    /// Sessions that were cut because the state no longer permits them.
    pub cut: Vec<Arc<Session>>,
    /// Set while a key is still being opened; the previous certificate stays in force until then.
    pub awaits_key: bool,
}
