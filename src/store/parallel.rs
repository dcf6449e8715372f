//! Work on the inventory on all cores: connections that see the same state.

use std::num::NonZeroUsize;
use std::ops::RangeInclusive;
use std::panic::resume_unwind;
use std::thread;

use super::connection::{connect, prepare_for_scanning};
use super::error::StoreError;
use super::inventory::Inventory;
use super::schema;

/// Fewer rows than this are not worth another connection.
const ROWS_PER_CORE: u64 = 5_000;

/// Attempts to open all connections between two changes of other processes.
const ATTEMPTS: usize = 20;

impl Inventory {
    /// Split the rows with the numbers 1 to `last` among all cores, and run `work` on each part with a connection of
    /// its own. All see the same state, as does `conclude`, which takes the results in the order of the rows.
    ///
    /// # Errors
    /// Database errors, the error of the first part that has one, or that of `conclude`.
    pub fn on_all_cores<T: Send, R, E: From<StoreError> + Send>(
        &self,
        last: u64,
        work: impl Fn(&Self, RangeInclusive<u64>) -> Result<T, E> + Sync,
        conclude: impl FnOnce(&Self, Vec<T>) -> Result<R, E>,
    ) -> Result<R, E> {
        let cores = thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let useful = usize::try_from(last.div_ceil(ROWS_PER_CORE)).unwrap_or(usize::MAX);
        let mut readers = self.readers(cores.min(useful).max(1))?;
        let parts = parts(last, readers.len());
        let work = &work;
        let results: Vec<_> = thread::scope(|scope| {
            // A connection can move to another thread, and not be shared: each thread borrows it as its own.
            let running: Vec<_> = readers
                .iter_mut()
                .zip(parts)
                .map(|(reader, part)| scope.spawn(move || work(reader, part)))
                .collect();
            running.into_iter().map(thread::ScopedJoinHandle::join).collect()
        });
        let results = results.into_iter().map(|result| result.unwrap_or_else(|panic| resume_unwind(panic)));
        let results = results.collect::<Result<Vec<T>, E>>()?;
        conclude(readers.first().unwrap_or(self), results)
    }

    /// Open `count` connections in read transactions of the same state.
    fn readers(&self, count: usize) -> Result<Vec<Self>, StoreError> {
        let mut readers = Vec::new();
        for _ in 0..ATTEMPTS {
            readers = (0..count).map(|_| self.read_state()).collect::<Result<Vec<_>, _>>()?;
            // Each change appends to the audit chain.
            let heads = readers.iter().map(Self::audit_head).collect::<Result<Vec<_>, _>>()?;
            if heads.windows(2).all(|pair| matches!(pair, [one, other] if one == other)) {
                return Ok(readers);
            }
        }
        readers.truncate(1);
        Ok(readers)
    }

    /// Open another connection in a read transaction.
    fn read_state(&self) -> Result<Self, StoreError> {
        let (target, flags) = self.reopen.clone();
        let sql = connect(&target, flags)?;
        prepare_for_scanning(&sql)?;
        sql.execute_batch("BEGIN")?;
        // The first read begins the transaction.
        if schema::is_current(&sql, &target)? {
            Ok(Self { sql, before_migration: None, reopen: self.reopen.clone() })
        } else {
            Err(StoreError::Older { path: target })
        }
    }
}

/// Parts of the rows 1 to `last`, of nearly equal size.
fn parts(last: u64, count: usize) -> Vec<RangeInclusive<u64>> {
    let count = u64::try_from(count).unwrap_or(1).max(1);
    let size = last.div_ceil(count).max(1);
    (0..count).map(|part| part * size + 1..=((part + 1) * size).min(last)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_are_all_rows_once() {
        for (last, count) in [(0, 1), (1, 1), (1, 3), (7, 2), (10_001, 4), (3, 2)] {
            let rows: Vec<u64> = parts(last, count).into_iter().flatten().collect();
            assert_eq!(rows, (1..=last).collect::<Vec<_>>(), "{last} in {count}");
            assert_eq!(parts(last, count).len(), count);
        }
    }
}
