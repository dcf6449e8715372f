//! A state that has been put in force.

use std::sync::Arc;

use crate::gateway::sessions::session::Session;
use crate::gateway::state::State;

/// A state that has been put in force.
#[derive(Debug)]
pub struct Change {
    /// It.
    pub state: Arc<State>,
    /// The connections that it ended.
    pub cut: Vec<Arc<Session>>,
    /// Whether a key is being opened still, and the old certificate stays until then.
    pub awaits_key: bool,
}
