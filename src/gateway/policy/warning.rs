//! Warnings about routes that are valid, but may not mean what their author wants.

use std::fmt;

use serde::Serialize;

use super::ids::RuleId;
use crate::error::Code;

/// Warning about two routes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct PolicyWarning {
    /// Stable code.
    pub code: &'static str,
    /// Text, with the rules and paths of both routes.
    pub message: String,
}

impl PolicyWarning {
    /// Warning about two routes for paths that some services treat as one.
    pub(super) fn contradiction(
        (rule, path): (RuleId, &dyn fmt::Display),
        (other, other_path): (RuleId, &dyn fmt::Display),
        methods: impl fmt::Display,
    ) -> Self {
        Self {
            code: Code::refused("policy.contradiction").name(),
            message: format!(
                "{rule} for {path} and {other} for {other_path} differ, but some services treat these paths as one: \
                 {methods} needs the permission of both"
            ),
        }
    }

    /// Warning about a path where HEAD is open to callers that GET denies.
    pub(super) fn head(
        (rule, path): (RuleId, &dyn fmt::Display),
        (other, other_path): (RuleId, &dyn fmt::Display),
    ) -> Self {
        Self {
            code: Code::refused("policy.head_open").name(),
            message: format!(
                "{rule} restricts GET on {path}, but {other} for {other_path} permits HEAD there to other callers: \
                 add HEAD to the methods of {rule}"
            ),
        }
    }
}

impl fmt::Display for PolicyWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.message)
    }
}
