//! Noticing that a file is another: events of the file system say when to look, and a look now and then
//! finds what no event tells (network file systems, links into directories elsewhere).
//!
//! Looking compares what the system says of each file, links followed, so that replacing a file, a link
//! to it, or a directory on the way (as Kubernetes does) is all the same. Directories are watched, not
//! files: a watch on a file ends with it. A file that is half written fails to load, and is looked at
//! again when the rest has come. So is a key whose service could not be reached.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use notify::event::{AccessKind, AccessMode};
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::Notify;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout_at};

use crate::files;
use crate::gateway::control::changes::Trigger;
use crate::gateway::control::reload::Control;
use crate::gateway::shared::Phase;

/// How often files are looked at without any event.
const LOOK: Duration = Duration::from_millis(500);

/// How long nothing may happen to the files before they are loaded: writers come to their end.
const QUIET: Duration = Duration::from_millis(25);

/// How long a writer that never rests is waited for.
const AT_MOST: Duration = Duration::from_millis(300);

/// Reloads when asked to, or when one of `files` has changed, until the gateway stops.
pub async fn run(control: Arc<Control>, mut files: Files) {
    let gateway = &control.shared;
    let mut phase = gateway.phase.subscribe();
    let mut look = interval(LOOK);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let asked = tokio::select! {
            biased;
            () = Phase::reached(Phase::Stopped, &mut phase) => return,
            () = control.reload_requested.notified() => Some(Trigger::Signal),
            () = files.settle() => None,
            () = control.changes.key_opener().changed() => None,
            _ = look.tick() => None,
        };
        // Seen before they are loaded: what changes in the meantime is seen as a change.
        let changed = files.look().then_some(Trigger::FileChange);
        let wants_key = || control.changes.wants_key(Instant::now().into_std()).then_some(Trigger::Key);
        if let Some(trigger) = asked.or(changed).or_else(wants_key) {
            // Those of a new configuration too: what changes while they are loaded is a change, and what
            // it lacks may come.
            let mut wanted = control.changes.files();
            wanted.extend_from_slice(&gateway.state.load().settings.files);
            files.follow(&wanted);
            // It logs and counts its failure.
            files.failed = control.reload(trigger).is_err();
            if !files.failed {
                files.follow(&gateway.state.load().settings.files);
            }
        }
    }
}

/// The files that a state is made of.
#[derive(Debug)]
pub struct Files {
    files: Stamps,
    /// Where they are: looked at while the last load has failed, since a new configuration may name a
    /// file that is yet to come.
    directories: Stamps,
    failed: bool,
    watcher: Option<RecommendedWatcher>,
    events: Arc<Notify>,
}

impl Files {
    /// As they are now.
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
            tracing::warn!(%error, "changes of files are not told: they are looked at twice a second");
        });
        let mut files = Self {
            files: Stamps::default(),
            directories: Stamps::default(),
            failed: false,
            watcher: watcher.ok(),
            events,
        };
        files.follow(paths);
        files
    }

    /// Waits for an event, and for the end of those that follow it.
    async fn settle(&self) {
        self.events.notified().await;
        let deadline = Instant::now() + AT_MOST;
        while timeout_at(deadline.min(Instant::now() + QUIET), self.events.notified()).await.is_ok() {}
    }

    /// Whether there is anything new since the last look.
    fn look(&mut self) -> bool {
        let directory_changed = look(&mut self.directories);
        look(&mut self.files) || (self.failed && directory_changed)
    }

    /// Follows `paths` from now on; what is known of any of them stays known.
    fn follow(&mut self, paths: &[PathBuf]) {
        retain(&mut self.files, paths.iter().cloned().collect());
        let targets = paths.iter().filter_map(|path| fs::canonicalize(path).ok());
        let directories: BTreeSet<_> =
            paths.iter().cloned().chain(targets).map(|path| files::parent(&path).to_owned()).collect();
        if let Some(watcher) = &mut self.watcher {
            for gone in self.directories.keys().filter(|path| !directories.contains(*path)) {
                // It may be gone from the disk too.
                let _ = watcher.unwatch(gone);
            }
            for new in directories.iter().filter(|path| !self.directories.contains_key(*path)) {
                if let Err(error) = watcher.watch(new, RecursiveMode::NonRecursive) {
                    tracing::warn!(directory = %new.display(), %error, "its changes are not told: it is looked at twice a second");
                }
            }
        }
        retain(&mut self.directories, directories);
    }
}

/// What was last seen of some paths.
type Stamps = BTreeMap<PathBuf, Option<Stamp>>;

fn look(stamps: &mut Stamps) -> bool {
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

/// What is read of a file when it is loaded is no change.
const fn is_change(kind: EventKind) -> bool {
    match kind {
        EventKind::Access(access) => matches!(access, AccessKind::Close(AccessMode::Write)),
        _ => true,
    }
}

/// What tells a file from the one that was there before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    file: (u64, u64),
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    /// Of the file that `path` leads to, if any.
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
