//! Detection of changed files, by file system events and by polling. Polling finds changes without events,
//! as on network file systems and behind links into other directories.
//!
//! Polling compares the metadata of each file, following links. So replacing the file, a link to it, or a
//! directory on its path (as Kubernetes does) all count as changes. Directories are watched, not files: a
//! watch on a file ends when the file is replaced. A half-written file fails to load, and is read again
//! after its next change. A key whose KMS could not be reached is retried.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use notify::event::{AccessKind, AccessMode, ModifyKind};
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::Notify;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout_at};

use crate::files;
use crate::gateway::control::changes::Trigger;
use crate::gateway::control::reload::Control;
use crate::gateway::shared::Phase;

/// Interval of polling.
const POLL_INTERVAL: Duration = Duration::from_millis(500);

/// Time without events before files are loaded, so that writers can finish.
const SETTLE_TIME: Duration = Duration::from_millis(25);

/// Longest wait for a writer that never pauses.
const MAX_SETTLE_TIME: Duration = Duration::from_millis(300);

/// Reload on request, or when one of `files` has changed, until the gateway stops.
pub async fn run(control: Arc<Control>, mut files: WatchedFiles) {
    let gateway = &control.shared;
    let mut phase = gateway.phase.subscribe();
    let mut poll = interval(POLL_INTERVAL);
    poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let requested = tokio::select! {
            biased;
            () = Phase::reached(Phase::Stopped, &mut phase) => return,
            () = control.reload_requested.notified() => Some(Trigger::Signal),
            () = files.settle() => None,
            () = control.changes.key_opener().changed() => None,
            _ = poll.tick() => None,
        };
        // Recorded before the files are loaded, so that a change in the meantime counts.
        let changed = files.has_changed().then_some(Trigger::FileChange);
        let key_due = || control.changes.is_key_due(gateway.clock.monotonic()).then_some(Trigger::Key);
        if let Some(trigger) = requested.or(changed).or_else(key_due) {
            // Includes the files of a new configuration: they may change while they are loaded, and missing ones
            // may appear.
            let mut paths = control.changes.files();
            paths.extend_from_slice(&gateway.state.load().settings.files);
            files.watch(&paths);
            // `reload` logs and counts its failure.
            files.failed = control.reload(trigger).is_err();
            if !files.failed {
                files.watch(&gateway.state.load().settings.files);
            }
        }
    }
}

/// Files of the state in force, with their metadata.
#[derive(Debug)]
pub struct WatchedFiles {
    files: Stamps,
    /// Their directories. They are compared while the last reload has failed, since a missing file of a new
    /// configuration may appear.
    directories: Stamps,
    failed: bool,
    watcher: Option<RecommendedWatcher>,
    events: Arc<Notify>,
}

impl WatchedFiles {
    /// Watch `paths`, from their metadata now.
    #[must_use]
    pub fn new(paths: &[PathBuf]) -> Self {
        let events = Arc::new(Notify::new());
        let watcher = {
            let events = Arc::clone(&events);
            notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
                if event.is_ok_and(|event| is_change(event.kind)) {
                    events.notify_one();
                }
            })
        };
        let watcher = watcher.inspect_err(|error| {
            tracing::warn!(%error, "file system events are not available: files are polled twice a second");
        });
        let mut files = Self {
            files: Stamps::default(),
            directories: Stamps::default(),
            failed: false,
            watcher: watcher.ok(),
            events,
        };
        files.watch(paths);
        files
    }

    /// Wait for an event, and until no further event follows.
    async fn settle(&self) {
        self.events.notified().await;
        let deadline = Instant::now() + MAX_SETTLE_TIME;
        while timeout_at(deadline.min(Instant::now() + SETTLE_TIME), self.events.notified()).await.is_ok() {}
    }

    /// Return true if anything changed since the last call.
    fn has_changed(&mut self) -> bool {
        let directory_changed = update(&mut self.directories);
        update(&mut self.files) || (self.failed && directory_changed)
    }

    /// Watch `paths` from now on; known metadata of any of them is kept.
    fn watch(&mut self, paths: &[PathBuf]) {
        retain(&mut self.files, paths.iter().cloned().collect());
        let targets = paths.iter().filter_map(|path| fs::canonicalize(path).ok());
        let directories: BTreeSet<_> =
            paths.iter().cloned().chain(targets).map(|path| files::parent(&path).to_owned()).collect();
        if let Some(watcher) = &mut self.watcher {
            for gone in self.directories.keys().filter(|path| !directories.contains(*path)) {
                // Fails if the directory was removed.
                let _ = watcher.unwatch(gone);
            }
            for new in directories.iter().filter(|path| !self.directories.contains_key(*path)) {
                if let Err(error) = watcher.watch(new, RecursiveMode::NonRecursive) {
                    tracing::warn!(directory = %new.display(), %error, "the directory cannot be watched: it is polled twice a second");
                }
            }
        }
        retain(&mut self.directories, directories);
    }
}

/// Metadata last seen of each path; `None` for a missing file.
type Stamps = BTreeMap<PathBuf, Option<Stamp>>;

fn update(stamps: &mut Stamps) -> bool {
    let mut changed = false;
    for (path, stamp) in stamps {
        let now = Stamp::of(path);
        changed |= now != *stamp;
        *stamp = now;
    }
    changed
}

fn retain(stamps: &mut Stamps, paths: BTreeSet<PathBuf>) {
    stamps.retain(|path, _| paths.contains(path));
    for path in paths {
        let now = Stamp::of(&path);
        stamps.entry(path).or_insert(now);
    }
}

/// Return false for reads, which a reload itself causes, and for writes: a file is complete when its writer closes it.
/// An access log beside the configuration is written all the time.
const fn is_change(kind: EventKind) -> bool {
    match kind {
        EventKind::Access(access) => matches!(access, AccessKind::Close(AccessMode::Write)),
        EventKind::Modify(ModifyKind::Data(_)) => false,
        _ => true,
    }
}

/// Metadata that distinguishes a file from an earlier version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    file: (u64, u64),
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    /// Metadata of the file at `path`, links followed; `None` if it is missing.
    fn of(path: &Path) -> Option<Self> {
        let metadata = fs::metadata(path).ok()?;
        Some(Self {
            file: (metadata.dev(), metadata.ino()),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[tokio::test]
    async fn a_file_is_looked_at_when_its_writer_closes_it_and_not_at_each_write() {
        let directory = tempfile::tempdir().unwrap();
        let watched = directory.path().join("cluster.crl");
        fs::write(&watched, "1").unwrap();
        let mut log = fs::File::create(directory.path().join("access.log")).unwrap();
        let files = WatchedFiles::new(std::slice::from_ref(&watched));
        for _ in 0..100 {
            log.write_all(b"{}\n").unwrap();
        }
        // Events come in their order: the one of the watched file is the first that is told.
        fs::write(&watched, "2").unwrap();
        files.events.notified().await;
        let (told, mut files) = (Arc::clone(&files.events), files);
        assert!(files.has_changed());
        while timeout_at(Instant::now() + SETTLE_TIME, told.notified()).await.is_ok() {}
        for _ in 0..100 {
            log.write_all(b"{}\n").unwrap();
        }
        assert!(timeout_at(Instant::now() + MAX_SETTLE_TIME, told.notified()).await.is_err());
    }
}
