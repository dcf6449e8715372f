//! Files of a home that `initialize` has not completed.

use std::path::PathBuf;

use super::directory::Home;
use crate::ca::error::CaError;
use crate::files::{self, Placement, Staged};

/// What marks the temporary files of a home in the making.
pub(in crate::ca) const TAG: &str = "initialize";

/// Gives every file its name, the inventory last: it makes the directory a home.
pub(in crate::ca) fn place(home: &Home, staged: Vec<Staged>) -> Result<(), CaError> {
    files::sync_directory(home.directory())?;
    for file in staged {
        file.place(Placement::New)?;
    }
    if let Some(database) = Staged::adopt(&home.database(), TAG) {
        database.place(Placement::New)?;
    }
    Ok(files::sync_directory(home.directory())?)
}

/// Whether an `initialize` ended early, or is at work: the inventory waits for its name.
pub(in crate::ca) fn is_unfinished(home: &Home) -> bool {
    Staged::temporary_path(&home.database(), TAG).is_file()
}

/// What an `initialize` that ended early left: finished, when its files had begun to get their
/// names, so that the key is not lost; else removed, since nobody ever saw them, which is then true.
pub(in crate::ca) fn resume_or_sweep(home: &Home) -> Result<bool, CaError> {
    if home.database().exists() {
        return Ok(false);
    }
    // One of the first two: the key, or where it is held.
    let destinations = [home.key(), home.kms(), home.certificate(), home.crl()];
    let staged: Vec<Staged> = destinations.iter().filter_map(|path| Staged::adopt(path, TAG)).collect();
    let staged_database = Staged::temporary_path(&home.database(), TAG);
    let in_place = destinations.iter().filter(|path| files::occupied(path)).count();
    if in_place > 0 && in_place + staged.len() == 3 && staged_database.is_file() {
        place(home, staged)?;
        return Err(CaError::InitializeResumed { directory: home.directory().to_owned() });
    }
    if in_place > 0 {
        staged.into_iter().for_each(Staged::leave);
        return Ok(false);
    }
    let removed_leftovers = !staged.is_empty() || staged_database.exists();
    drop(staged);
    remove_database(&staged_database);
    Ok(removed_leftovers)
}

/// Removes an inventory that nobody uses, with SQLite's files beside it; best effort, since what stays
/// is swept by the next `initialize`.
pub(in crate::ca) fn remove_database(path: &std::path::Path) {
    for suffix in ["", "-wal", "-shm", "-journal"] {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        let _ = std::fs::remove_file(PathBuf::from(name));
    }
}

pub(in crate::ca) fn refuse_occupied(home: &Home) -> Result<(), CaError> {
    let files = [
        ("cluster.crt", home.certificate()),
        ("cluster.key", home.key()),
        ("cluster.crl", home.crl()),
        ("kms.json", home.kms()),
        ("ca.db", home.database()),
    ];
    let there: Vec<&'static str> =
        files.iter().filter(|(_, path)| files::occupied(path)).map(|(name, _)| *name).collect();
    if there.is_empty() {
        return Ok(());
    }
    Err(CaError::HomeOccupied { directory: home.directory().to_owned(), files: there })
}
