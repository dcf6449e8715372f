//! Many jobs at a time, but not all of them.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;

/// Runs every job on at most `at_most` threads; `finished` is told of each on the calling thread, in
/// the order in which they end.
pub fn in_parallel<J: Sync, R: Send>(
    jobs: &[J],
    at_most: NonZeroUsize,
    run: impl Fn(&J) -> R + Sync,
    mut finished: impl FnMut(usize, R),
) {
    let next = AtomicUsize::new(0);
    let (results, ended) = mpsc::channel();
    thread::scope(|scope| {
        for _ in 0..at_most.get().min(jobs.len()) {
            let (next, run, results) = (&next, &run, results.clone());
            scope.spawn(move || {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(job) = jobs.get(index) else { break };
                    // Nobody listens any more only when the caller is unwinding.
                    let _ = results.send((index, run(job)));
                }
            });
        }
        drop(results);
        for (index, result) in ended {
            finished(index, result);
        }
    });
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;

    use super::*;

    #[test]
    fn every_job_is_run_once_and_reported() {
        let jobs: Vec<usize> = (0..100).collect();
        let mut results = vec![None; jobs.len()];
        in_parallel(
            &jobs,
            NonZeroUsize::new(7).unwrap(),
            |job| job * 2,
            |at, result| {
                assert!(results[at].replace(result).is_none());
            },
        );
        assert!(results.iter().enumerate().all(|(at, result)| *result == Some(at * 2)));
    }

    #[test]
    fn as_many_as_allowed_run_at_once() {
        let barrier = Barrier::new(3);
        let mut count = 0;
        // Ends only if three jobs are under way together.
        in_parallel(
            &[(); 6],
            NonZeroUsize::new(3).unwrap(),
            |()| barrier.wait().is_leader(),
            |_, _| count += 1,
        );
        assert_eq!(count, 6);
    }
}
