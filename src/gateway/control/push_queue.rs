//! Who is pushing CRLs at the moment. A push holds as much memory as a CRL of a million entries takes, and
//! verifying it costs as much time: one at a time for each certificate, and few at once for all.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::x509::Sha256;

/// How many certificates may push at once.
const AT_MOST: usize = 4;

/// The pushes under way.
#[derive(Debug, Default)]
pub struct PushQueue {
    under_way: Mutex<Vec<Sha256>>,
    over: Notify,
}

impl PushQueue {
    /// Waits until a caller with the certificate of this fingerprint may push: until none of its own is
    /// under way, nor too many of others.
    pub async fn turn(self: &Arc<Self>, certificate: Sha256) -> PushTurn {
        loop {
            // Heard from now on, so that none is over between the look and the wait.
            let mut over = std::pin::pin!(self.over.notified());
            over.as_mut().enable();
            if let Some(begun) = self.begin(certificate) {
                return begun;
            }
            over.await;
        }
    }

    fn begin(self: &Arc<Self>, certificate: Sha256) -> Option<PushTurn> {
        let mut under_way = self.under_way();
        if under_way.len() >= AT_MOST || under_way.contains(&certificate) {
            return None;
        }
        under_way.push(certificate);
        Some(PushTurn { pushes: Arc::clone(self), certificate })
    }

    fn under_way(&self) -> MutexGuard<'_, Vec<Sha256>> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A push; it is over when this is dropped.
#[derive(Debug)]
pub struct PushTurn {
    pushes: Arc<PushQueue>,
    certificate: Sha256,
}

impl Drop for PushTurn {
    fn drop(&mut self) {
        self.pushes.under_way().retain(|certificate| *certificate != self.certificate);
        self.pushes.over.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_pushes_once_at_a_time_and_few_do_at_once() {
        let pushes = Arc::<PushQueue>::default();
        let of = |n: u8| Sha256([n; 32]);
        let mut under_way: Vec<_> = (0..4).map(|n| pushes.begin(of(n)).unwrap()).collect();
        assert!(pushes.begin(of(9)).is_none());
        under_way.remove(2);
        assert!(pushes.begin(of(1)).is_none(), "its own is under way");
        assert!(pushes.begin(of(2)).is_some());
    }

    #[tokio::test]
    async fn the_next_one_waits_for_the_one_before_it() {
        let pushes = Arc::<PushQueue>::default();
        let certificate = Sha256([1; 32]);
        let first = pushes.turn(certificate).await;
        let mut second = std::pin::pin!(pushes.turn(certificate));
        let begun = std::future::poll_fn(|context| std::task::Poll::Ready(second.as_mut().poll(context)));
        assert!(begun.await.is_pending());
        drop(first);
        drop(second.await);
        assert!(pushes.begin(certificate).is_some());
    }
}
