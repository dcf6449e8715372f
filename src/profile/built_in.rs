//! Built-in profiles.

use crate::identity::Role;

/// Role name in the root's profile; no identity has it.
pub(super) const ROOT: &str = "root";

const ROOT_PROFILE: &str = include_str!("../../ca-templates/root.yaml");

/// File name and text of each built-in profile, the root's first.
pub fn built_in() -> impl Iterator<Item = (String, &'static str)> {
    let leaves = Role::ALL.into_iter().map(|role| (file_name(role.as_str()), role.built_in_profile()));
    [(file_name(ROOT), ROOT_PROFILE)].into_iter().chain(leaves)
}

/// File name of the profile of `role`.
pub(super) fn file_name(role: &str) -> String {
    format!("{role}.yaml")
}
