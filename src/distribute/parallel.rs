//! Jobs on a bounded number of threads.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;

/// Run every job on at most `max_threads` threads. `on_done` runs on the calling thread with the index and
/// result of each job, in the order of completion.
pub fn in_parallel<J: Sync, R: Send>(
    jobs: &[J],
    max_threads: NonZeroUsize,
    run: impl Fn(&J) -> R + Sync,
    mut on_done: impl FnMut(usize, R),
) {
    let next = AtomicUsize::new(0);
    let (results, ended) = mpsc::channel();
    thread::scope(|scope| {
        for _ in 0..max_threads.get().min(jobs.len()) {
            let (next, run, results) = (&next, &run, results.clone());
            scope.spawn(move || {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(job) = jobs.get(index) else { break };
                    // The receiver is gone only while the calling thread panics.
                    let _ = results.send((index, run(job)));
                }
            });
        }
        drop(results);
        for (index, result) in ended {
            on_done(index, result);
        }
    });
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;

    use super::*;

    #[test]
    fn every_job_runs_once_and_is_reported() {
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
        // Returns only if three jobs run at the same time.
        in_parallel(
            &[(); 6],
            NonZeroUsize::new(3).unwrap(),
            |()| barrier.wait().is_leader(),
            |_, _| count += 1,
        );
        assert_eq!(count, 6);
    }
}
