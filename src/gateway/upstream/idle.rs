//! Idle connections of an upstream, one queue per worker, longest idle first.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::clock::{Clock, turn_time};
use crate::gateway::upstream::connection::UpstreamConnection;

/// Most idle connections per worker and upstream.
const MAX_IDLE: usize = 256;

/// Idle connections of all workers.
#[derive(Debug)]
pub(super) struct IdleConnections {
    clock: Arc<dyn Clock>,
    queues: Box<[Mutex<VecDeque<IdleConnection>>]>,
}

#[derive(Debug)]
struct IdleConnection {
    connection: Box<UpstreamConnection>,
    since: Instant,
    /// Time at which the upstream may close it.
    until: Instant,
}

impl IdleConnections {
    /// Empty queues for `workers` workers.
    pub(super) fn new(workers: usize, clock: Arc<dyn Clock>) -> Self {
        Self { clock, queues: (0..workers).map(|_| Mutex::default()).collect() }
    }

    /// Take a connection that can carry a request.
    pub(super) fn take(&self, worker: usize) -> Option<Box<UpstreamConnection>> {
        let mut idle = self.queue(worker)?;
        let now = turn_time(&*self.clock);
        // The last one used is most likely open, and the others can reach the idle timeout.
        while let Some(mut last) = idle.pop_back() {
            if now < last.until && last.connection.is_usable() {
                return Some(last.connection);
            }
        }
        None
    }

    /// Keep a connection for at most `idle_timeout`.
    pub(super) fn put(&self, worker: usize, mut connection: Box<UpstreamConnection>, idle_timeout: Duration) {
        if let Some(mut idle) = self.queue(worker)
            && idle.len() < MAX_IDLE
        {
            connection.rest();
            let since = turn_time(&*self.clock);
            idle.push_back(IdleConnection { connection, since, until: since + idle_timeout });
        }
    }

    /// Close the connections of `worker` that have been idle for too long, or that the upstream has closed.
    pub(super) fn close_old(&self, worker: usize) {
        if let Some(mut idle) = self.queue(worker) {
            let now = self.clock.monotonic();
            idle.retain_mut(|one| now < one.until && one.connection.is_usable());
        }
    }

    /// Close the connection of any worker that has been idle longest.
    pub(super) fn close_oldest(&self) {
        let since = |queue: &Mutex<VecDeque<IdleConnection>>| lock(queue).front().map(|oldest| oldest.since);
        let queues = self.queues.iter().filter_map(|queue| Some((since(queue)?, queue)));
        if let Some((_, queue)) = queues.min_by_key(|(since, _)| *since) {
            lock(queue).pop_front();
        }
    }

    fn queue(&self, worker: usize) -> Option<MutexGuard<'_, VecDeque<IdleConnection>>> {
        Some(lock(self.queues.get(worker)?))
    }
}

/// Lock, even after a panic: a queue is never left in an inconsistent state.
fn lock(queue: &Mutex<VecDeque<IdleConnection>>) -> MutexGuard<'_, VecDeque<IdleConnection>> {
    queue.lock().unwrap_or_else(PoisonError::into_inner)
}
