//! Queue of CRL pushes. A push with a CRL of a million entries takes much memory and time to verify. So a
//! certificate pushes one at a time, and only a few certificates push at once.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::x509::Sha256;

/// Most concurrent pushes.
const MAX_CONCURRENT: usize = 4;

/// Queue of pushes.
#[derive(Debug, Default)]
pub struct PushQueue {
    active: Mutex<Vec<Sha256>>,
    finished: Notify,
}

impl PushQueue {
    /// Wait until the certificate with this fingerprint may push.
    pub async fn acquire(self: &Arc<Self>, certificate: Sha256) -> PushPermit {
        loop {
            // Registered before the check, so that no release in between is missed.
            let mut finished = std::pin::pin!(self.finished.notified());
            finished.as_mut().enable();
            if let Some(permit) = self.try_acquire(certificate) {
                return permit;
            }
            finished.await;
        }
    }

    fn try_acquire(self: &Arc<Self>, certificate: Sha256) -> Option<PushPermit> {
        let mut active = self.active();
        if active.len() >= MAX_CONCURRENT || active.contains(&certificate) {
            return None;
        }
        active.push(certificate);
        Some(PushPermit { queue: Arc::clone(self), certificate })
    }

    fn active(&self) -> MutexGuard<'_, Vec<Sha256>> {
        self.active.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Permit to push, released on drop.
#[derive(Debug)]
pub struct PushPermit {
    queue: Arc<PushQueue>,
    certificate: Sha256,
}

impl Drop for PushPermit {
    fn drop(&mut self) {
        self.queue.active().retain(|certificate| *certificate != self.certificate);
        self.queue.finished.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pushes_are_limited_per_certificate_and_in_total() {
        let pushes = Arc::<PushQueue>::default();
        let of = |n: u8| Sha256([n; 32]);
        let mut active: Vec<_> = (0..4).map(|n| pushes.try_acquire(of(n)).unwrap()).collect();
        assert!(pushes.try_acquire(of(9)).is_none());
        active.remove(2);
        assert!(pushes.try_acquire(of(1)).is_none(), "its own is under way");
        assert!(pushes.try_acquire(of(2)).is_some());
    }

    #[tokio::test]
    async fn the_next_push_waits_for_the_one_before_it() {
        let pushes = Arc::<PushQueue>::default();
        let certificate = Sha256([1; 32]);
        let first = pushes.acquire(certificate).await;
        let mut second = std::pin::pin!(pushes.acquire(certificate));
        let permit = std::future::poll_fn(|context| std::task::Poll::Ready(second.as_mut().poll(context)));
        assert!(permit.await.is_pending());
        drop(first);
        drop(second.await);
        assert!(pushes.try_acquire(certificate).is_some());
    }
}
