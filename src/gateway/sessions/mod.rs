//! Registry of open connections and their activity.

pub mod activity;
pub mod registry;
