//! A CA's home in a temporary directory, and the real `cluster-ca` run against it.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

/// A directory for one CA; removed when dropped, unless it was made with [`Home::at`].
pub(crate) struct Home {
    directory: PathBuf,
    _temporary: Option<tempfile::TempDir>,
}

impl Home {
    /// A home without a cluster.
    pub(crate) fn empty() -> Self {
        let private = Permissions::from_mode(0o700);
        let temporary =
            tempfile::Builder::new().permissions(private).tempdir().expect("a temporary directory");
        Self { directory: temporary.path().to_owned(), _temporary: Some(temporary) }
    }

    /// A home without a cluster at `directory`, where an earlier run may have left one.
    pub(crate) fn at(directory: PathBuf) -> Self {
        if directory.exists() {
            fs::remove_dir_all(&directory).expect("an earlier home is removed");
        }
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&directory).expect("a directory");
        Self { directory, _temporary: None }
    }

    /// A home with the cluster `prod`.
    pub(crate) fn initialized() -> Self {
        let home = Self::empty();
        home.ok(&["initialize", "prod"]);
        home
    }

    /// A copy of everything in this home, modes included.
    pub(crate) fn duplicate(&self) -> Self {
        let copy = Self::empty();
        copy_into(&self.directory, &copy.directory);
        copy
    }

    /// A file in the home.
    pub(crate) fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.directory.join(name)
    }

    /// Writes a file into the home and returns where it is.
    pub(crate) fn write(&self, name: &str, contents: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, contents).expect("a file in the home");
        path
    }

    /// `cluster-ca --home HOME ARGUMENTS`, not yet started.
    pub(crate) fn command(&self, arguments: &[impl AsRef<OsStr>]) -> Command {
        let mut command = cluster_ca();
        command.arg("--home").arg(&self.directory).args(arguments);
        command
    }

    /// Runs `cluster-ca` to its end.
    pub(crate) fn run(&self, arguments: &[impl AsRef<OsStr>]) -> Finished {
        Finished::from(self.command(arguments).output().expect("cluster-ca starts"))
    }

    /// Runs `cluster-ca --json`, which has to succeed, and returns the `result`.
    pub(crate) fn ok(&self, arguments: &[&str]) -> Value {
        self.run(&with_json(arguments)).result()
    }

    /// Runs `cluster-ca --json`, which has to refuse, and returns the `error`.
    pub(crate) fn refused(&self, arguments: &[&str]) -> Refusal {
        self.run(&with_json(arguments)).refusal()
    }

    /// Everything in the home but the inventory's working files, by path: mode and contents.
    pub(crate) fn contents(&self) -> BTreeMap<PathBuf, (u32, Vec<u8>)> {
        let mut contents = BTreeMap::new();
        collect(&self.directory, &self.directory, &mut contents);
        contents.retain(|path, _| path != Path::new("ca.db-wal") && path != Path::new("ca.db-shm"));
        contents
    }

    /// All that a command which is refused must leave as it is.
    pub(crate) fn state(&self) -> State {
        let mut files = self.contents();
        files.remove(Path::new("ca.db"));
        State { files, certificates: self.ok(&["list"]), audit: self.ok(&["audit", "list"]) }
    }
}

/// The home's files, and the inventory by what it says rather than by its bytes.
#[derive(PartialEq)]
pub(crate) struct State {
    files: BTreeMap<PathBuf, (u32, Vec<u8>)>,
    certificates: Value,
    audit: Value,
}

/// The binary under test, untouched by the settings of whoever runs the tests.
pub(crate) fn cluster_ca() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cluster-ca"));
    command.env_remove("CLUSTER_CA_HOME").stdin(Stdio::null());
    command
}

fn with_json<'a>(arguments: &[&'a str]) -> Vec<&'a str> {
    ["--json"].into_iter().chain(arguments.iter().copied()).collect()
}

/// A process that has ended.
#[derive(Debug)]
pub(crate) struct Finished {
    /// None when a signal ended it.
    pub(crate) exit: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl From<Output> for Finished {
    fn from(output: Output) -> Self {
        Self {
            exit: output.status.code(),
            stdout: String::from_utf8(output.stdout).expect("stdout is UTF-8"),
            stderr: String::from_utf8(output.stderr).expect("stderr is UTF-8"),
        }
    }
}

impl Finished {
    /// The one JSON object on stdout.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("no JSON object ({error}): {self:?}"))
    }

    /// The `result` of a success.
    pub(crate) fn result(&self) -> Value {
        let envelope = self.json();
        assert_eq!((self.exit, &envelope["ok"]), (Some(0), &Value::Bool(true)), "{self:?}");
        envelope["result"].clone()
    }

    /// The `error` of a refusal.
    pub(crate) fn refusal(&self) -> Refusal {
        let envelope = self.json();
        assert_eq!(envelope["ok"], Value::Bool(false), "{self:?}");
        let error = &envelope["error"];
        let text = |field: &str| error[field].as_str().unwrap_or_default().to_owned();
        let causes = error["causes"].as_array().expect("causes");
        Refusal {
            exit: self.exit.expect("no signal"),
            code: text("code"),
            message: text("message"),
            causes: causes.iter().map(|cause| cause.as_str().expect("text").to_owned()).collect(),
            hint: text("hint"),
        }
    }
}

/// What a command says when it refuses.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) exit: i32,
    pub(crate) code: String,
    pub(crate) message: String,
    pub(crate) causes: Vec<String>,
    /// Empty when there is none.
    pub(crate) hint: String,
}

impl Refusal {
    /// Everything that it says, in one text.
    pub(crate) fn words(&self) -> String {
        format!("{}\n{}\n{}", self.message, self.causes.join("\n"), self.hint)
    }
}

fn copy_into(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).expect("a directory") {
        let entry = entry.expect("an entry");
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            fs::DirBuilder::new().mode(0o700).create(&target).expect("a directory");
            copy_into(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).expect("a copy");
        }
    }
}

fn collect(root: &Path, directory: &Path, contents: &mut BTreeMap<PathBuf, (u32, Vec<u8>)>) {
    for entry in fs::read_dir(directory).expect("a directory") {
        let path = entry.expect("an entry").path();
        let metadata = fs::symlink_metadata(&path).expect("metadata");
        if metadata.is_dir() {
            collect(root, &path, contents);
        }
        let bytes = if metadata.is_file() { fs::read(&path).expect("contents") } else { Vec::new() };
        contents.insert(path.strip_prefix(root).expect("below").to_owned(), (metadata.mode(), bytes));
    }
}
