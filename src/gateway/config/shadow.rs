//! A policy in a file of its own: the `routes` and `groups` that are tried beside those in force. It may be a
//! whole configuration, such as the one that is to come; the rest of it is not looked at.

use std::path::{Path, PathBuf};

use super::reader::{Item, Problems};
use super::routes::{self, Ground};
use super::schema;
use crate::files;
use crate::gateway::config::values::loaded;
use crate::gateway::policy::Policy;
use crate::yaml::{Document, LIMIT, YamlProblem};

/// Reads the file that `policy.shadow` names; its problems are told with its own lines.
pub(super) fn read(item: &Item<'_>, base: &Path, ground: &Ground<'_>) -> Option<Shadow> {
    let mut fields = item.fields(&schema::SHADOW)?;
    let shadow = fields.required("shadow");
    fields.finish();
    let shadow = shadow?;
    let mut bytes = Vec::new();
    let read = |path: &Path| {
        shadow.key_files().check(path)?;
        files::read(path, LIMIT).map(|read| bytes = read)
    };
    let path = loaded(&shadow, base, read)?;
    match policy(&path.display().to_string(), &bytes, ground) {
        Ok(policy) => Some(Shadow { path, policy }),
        Err(problems) => {
            shadow.report_of_file(problems);
            None
        }
    }
}

fn policy(file: &str, bytes: &[u8], ground: &Ground<'_>) -> Result<Policy, Vec<YamlProblem>> {
    let alone = |problem| vec![problem];
    let document = Document::parse(file, bytes).map_err(alone)?;
    let value = document.deserialize().map_err(alone)?;
    let problems = Problems::default();
    let root = Item::new(&value, document.root(), &problems);
    let policy = root.fields(&schema::ROOT).and_then(|mut fields| {
        let groups = fields.optional("groups");
        let policy = fields.required("routes").and_then(|item| routes::read(&item, groups.as_ref(), ground));
        fields.report_unknown();
        policy
    });
    let problems = problems.into_sorted();
    policy.filter(|_| problems.is_empty()).ok_or(problems)
}

/// A policy that is tried beside the one in force.
#[derive(Clone, Debug)]
pub struct Shadow {
    /// The file of its routes and groups.
    pub path: PathBuf,
    /// The policy itself.
    pub policy: Policy,
}
