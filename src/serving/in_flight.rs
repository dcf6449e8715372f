//! Guard that counts connections or requests in flight, up to a maximum.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// One connection or request in flight, counted until it is dropped.
#[derive(Debug)]
pub struct InFlight(Arc<AtomicUsize>);

impl InFlight {
    /// Count one more; `None` if `count` has reached `max`.
    #[must_use]
    pub fn begin(count: &Arc<AtomicUsize>, max: usize) -> Option<Self> {
        let others = count.fetch_add(1, Ordering::Relaxed);
        let one = Self(Arc::clone(count));
        (others < max).then_some(one)
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
