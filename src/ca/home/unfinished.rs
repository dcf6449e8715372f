//! Files of a home that `initialize` has not completed.

use std::path::PathBuf;

use super::directory::Home;
use crate::ca::error::CaError;
use crate::files::{self, Placement, Staged};

/// Tag in the names of temporary files that `initialize` creates.
pub(in crate::ca) const TAG: &str = "initialize";

/// Rename all files to their final names. The inventory comes last, since it makes the directory a
/// home.
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

/// True if an `initialize` is running or was interrupted: the inventory has its temporary name.
pub(in crate::ca) fn is_unfinished(home: &Home) -> bool {
    Staged::temporary_path(&home.database(), TAG).is_file()
}

/// Complete or remove an interrupted `initialize`.
///
/// It is completed if a file already has its final name, so that the key is not lost. Otherwise its
/// files are removed, which loses nothing because no caller has seen them. True if files were removed.
pub(in crate::ca) fn resume_or_remove(home: &Home) -> Result<bool, CaError> {
    if home.database().exists() {
        return Ok(false);
    }
    // Only one of the first two exists: the key, or the configuration of the service that holds it.
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

/// Remove an unused inventory with SQLite's auxiliary files. Errors are ignored: the next `initialize`
/// removes what remains.
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
