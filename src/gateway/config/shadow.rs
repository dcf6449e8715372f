//! Shadow policy: `routes` and `groups` in a file of their own, evaluated beside those in force.
//!
//! The file may be a whole configuration, such as the next one. Its other keys are ignored.

use std::path::{Path, PathBuf};

use super::routes::{self, MAX_FILE_BYTES, RouteContext};
use super::schema;
use crate::files;
use crate::gateway::policy::Policy;
use crate::yaml::reader::{Item, Problems};
use crate::yaml::values::loaded;
use crate::yaml::{Document, YamlProblem};

/// Read the file that `policy.shadow` names. Its problems are reported with the lines of that file.
pub(super) fn read(item: &Item<'_>, base: &Path, context: &RouteContext<'_>) -> Option<ShadowPolicy> {
    let mut fields = item.fields(&schema::SHADOW)?;
    let shadow = fields.required("shadow");
    fields.finish();
    let shadow = shadow?;
    let mut bytes = Vec::new();
    let read = |path: &Path| {
        shadow.key_files().check(path)?;
        files::read(path, MAX_FILE_BYTES).map(|read| bytes = read)
    };
    let path = loaded(&shadow, base, read)?;
    match policy(&path.display().to_string(), &bytes, context) {
        Ok(policy) => Some(ShadowPolicy { path, policy }),
        Err(problems) => {
            shadow.report_of_file(problems);
            None
        }
    }
}

fn policy(file: &str, bytes: &[u8], context: &RouteContext<'_>) -> Result<Policy, Vec<YamlProblem>> {
    let alone = |problem| vec![problem];
    let document = Document::parse_within(MAX_FILE_BYTES, file, bytes).map_err(alone)?;
    let value = document.deserialize().map_err(alone)?;
    let problems = Problems::default();
    let root = Item::new(&value, document.root(), &problems);
    let policy = root.fields(&schema::ROOT).and_then(|mut fields| {
        let groups = fields.optional("groups");
        let policy = fields.required("routes").and_then(|item| routes::read(&item, groups.as_ref(), context));
        fields.report_unknown();
        policy
    });
    let problems = problems.into_sorted();
    policy.filter(|_| problems.is_empty()).ok_or(problems)
}

/// Policy that is evaluated and logged, but not enforced.
#[derive(Clone, Debug)]
pub struct ShadowPolicy {
    /// File with its routes and groups.
    pub path: PathBuf,
    /// Compiled routes.
    pub policy: Policy,
}
