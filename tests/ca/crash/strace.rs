//! Which calls of a process change the disk, and the same process killed at one of them.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::eventually::eventually;

/// Every call by which a program changes files or makes changes durable.
const CHANGES: &str = "openat,write,pwrite64,ftruncate,fallocate,fchmod,chmod,fsync,fdatasync,syncfs,\
                       rename,renameat,renameat2,link,linkat,unlink,unlinkat,mkdir,mkdirat";

/// Beyond this many calls of one kind, evenly spaced ones are taken.
const MOST_OF_A_KIND: usize = 64;

/// The Nth call of a kind, counted in each thread.
#[derive(Clone, Debug)]
pub(crate) struct Point {
    call: String,
    nth: usize,
}

impl Point {
    /// Whether it is at a call of this name.
    pub(crate) fn is_of(&self, call: &str) -> bool {
        self.call == call
    }
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "killed at {} {}", self.call, self.nth)
    }
}

/// The changes that a process made, in order.
pub(super) struct Trace {
    calls: Vec<(String, Point, bool)>,
}

/// Runs `command` to its end and records its changes.
pub(super) fn record(command: &Command) -> Trace {
    let log = tempfile::NamedTempFile::new().expect("a temporary file");
    let status = traced(command, &[], log.path().to_str().expect("text")).status().expect("strace starts");
    assert!(status.success(), "{command:?} fails under strace: {status}");
    Trace::read(&fs::read_to_string(log.path()).expect("strace's log"))
}

/// Runs `command` and kills it at `point`; false when it ended before.
pub(super) fn kill(command: &Command, point: &Point) -> bool {
    let inject = format!("inject={}:signal=KILL:when={}", point.call, point.nth);
    let status = traced(command, &["-e", &inject], "/dev/null").status().expect("strace starts");
    assert!(status.success() || status.signal() == Some(9), "{command:?} at {point}: {status}");
    !status.success()
}

/// Starts `command` and stops it at `point`, as a scheduler would, until [`go_on`]; `None` when it ended before.
pub(super) fn stop(command: &Command, point: &Point) -> Option<Child> {
    let inject = format!("inject={}:signal=STOP:when={}", point.call, point.nth);
    // With `-D`, the child is the command and not strace.
    let mut child = traced(command, &["-D", "-e", &inject], "/dev/null").spawn().expect("strace starts");
    // strace stops it too, for a moment, whenever it looks at a call.
    let mut looks = 0;
    eventually("it stops or ends", || {
        looks = if is_stopped(child.id()) { looks + 1 } else { 0 };
        let stopped = looks == 20;
        (stopped || child.try_wait().expect("a child").is_some()).then_some(stopped)
    })
    .then_some(child)
}

/// Lets a stopped process come to its end.
pub(super) fn go_on(mut child: Child) {
    let process = i32::try_from(child.id()).ok().and_then(Pid::from_raw).expect("a process");
    let status = eventually("it comes to its end", || {
        let ended = child.try_wait().expect("a child");
        if ended.is_none() {
            kill_process(process, Signal::CONT).expect("it goes on");
        }
        ended
    });
    assert!(status.success(), "{status}");
}

/// Whether all threads of a process are stopped (proc_pid_stat(5)).
fn is_stopped(process: u32) -> bool {
    let tasks = fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
    let states: Vec<_> = tasks.filter_map(|task| fs::read_to_string(task.path().join("stat")).ok()).collect();
    let is_stopped =
        |stat: &String| stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with(['t', 'T']));
    !states.is_empty() && states.iter().all(is_stopped)
}

fn traced(command: &Command, options: &[&str], log: &str) -> Command {
    let mut strace = Command::new("strace");
    strace
        .args(["-f", "-qq", "-o", log, "-e", &format!("trace={CHANGES}")])
        .args(options)
        .arg(command.get_program())
        .args(command.get_args())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    strace
}

impl Trace {
    /// Lines such as `1234  openat(AT_FDCWD, "/x", O_WRONLY|O_CREAT, 0600) = 3`.
    fn read(log: &str) -> Self {
        let mut counts: BTreeMap<(String, String), usize> = BTreeMap::new();
        let mut calls = Vec::new();
        for line in log.lines() {
            let Some((process, rest)) = line.split_once(' ') else { continue };
            let Some((call, arguments)) = rest.trim_start().split_once('(') else { continue };
            let nth = counts.entry((process.to_owned(), call.to_owned())).or_default();
            *nth += 1;
            let changes = call != "openat" || arguments.contains("O_CREAT");
            calls.push((process.to_owned(), Point { call: call.to_owned(), nth: *nth }, changes));
        }
        Self { calls }
    }

    /// Where to kill: at each change once, whichever thread makes it.
    pub(super) fn points(&self) -> Vec<Point> {
        let mut kinds: BTreeMap<&str, BTreeMap<usize, &Point>> = BTreeMap::new();
        for (_, point, _) in self.calls.iter().filter(|(_, _, changes)| *changes) {
            kinds.entry(&point.call).or_default().insert(point.nth, point);
        }
        let spread = |points: BTreeMap<usize, &Point>| {
            let step = points.len().div_ceil(MOST_OF_A_KIND);
            points.into_values().step_by(step).cloned().collect::<Vec<_>>()
        };
        kinds.into_values().flat_map(spread).collect()
    }
}
