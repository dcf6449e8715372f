//! Routes, and the callers that they allow.

use std::sync::Arc;

use super::error::PolicyError;
use super::methods::Methods;
use super::query::QueryRule;
use super::template::{Template, Variable};
use crate::gateway::message::path::RequestPath;
use crate::gateway::policy::decision::DenyReason;
use crate::gateway::policy::ids::{RuleId, UpstreamId};
use crate::identity::{Identity, Name, Role};

/// One rule: which requests it is for, who may make them, where they go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Its name in logs and explanations.
    pub rule: RuleId,
    /// The paths it is for.
    pub path: Template,
    /// The methods it is for, exactly: GET does not include HEAD.
    pub methods: Methods,
    /// What it asks of the query.
    pub query: QueryRule,
    /// Who may; with nobody listed, the route closes its paths.
    pub allow: Vec<Allow>,
    /// Where the request goes.
    pub upstream: UpstreamId,
    /// Whether a connection may become a WebSocket here.
    pub websocket: bool,
}

impl Route {
    pub(super) fn admit(&self, caller: Option<&Identity>, path: &RequestPath) -> Result<(), DenyReason> {
        if self.is_for_anyone() {
            return Ok(());
        }
        let caller = caller.ok_or(DenyReason::CertificateMissing)?;
        let mut reason = DenyReason::RoleNotAllowed;
        let callers = self.allow.iter().flat_map(Allow::callers);
        for allowed in callers.filter(|allowed| allowed.role == caller.role) {
            if allowed.name.covers(&caller.name, path) {
                return Ok(());
            }
            reason = DenyReason::NameMismatch;
        }
        Err(reason)
    }

    /// Whether callers without a certificate may, too.
    #[must_use]
    pub fn is_for_anyone(&self) -> bool {
        self.allow.contains(&Allow::Anyone)
    }

    /// Entries of `allow` that admit nobody whom another one does not admit anyway.
    pub(super) fn redundant_callers(&self) -> impl Iterator<Item = PolicyError> {
        self.allow.iter().enumerate().filter_map(|(entry, allow)| {
            // Of two that are alike, the later one is redundant.
            let covers =
                |(other, by): &(usize, &Allow)| by.includes(allow) && (*other < entry || !allow.includes(by));
            let (other, _) = self.allow.iter().enumerate().find(covers)?;
            Some(PolicyError::RedundantCaller { rule: self.rule, entry, other })
        })
    }
}

/// One entry of a route's `allow`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Allow {
    /// Everyone, also without a certificate.
    Anyone,
    /// These callers.
    Caller(Caller),
    /// All callers of a group.
    Group(Arc<Group>),
}

impl Allow {
    fn callers(&self) -> &[Caller] {
        match self {
            Self::Anyone => &[],
            Self::Caller(caller) => std::slice::from_ref(caller),
            Self::Group(group) => &group.callers,
        }
    }

    fn includes(&self, other: &Self) -> bool {
        *self == Self::Anyone
            || *other != Self::Anyone
                && other.callers().iter().all(|caller| self.callers().iter().any(|by| by.includes(caller)))
    }
}

/// Callers who go by one name in several routes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// What routes call it.
    pub name: String,
    /// Who is in it.
    pub callers: Vec<Caller>,
}

/// Callers of one role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The role a caller must have.
    pub role: Role,
    /// The names it may have.
    pub name: NameRule,
}

impl Caller {
    /// Whether `caller` is one of them, wherever it calls.
    #[must_use]
    pub fn is(&self, caller: &Identity) -> bool {
        self.role == caller.role
            && match &self.name {
                NameRule::Any => true,
                NameRule::Bound(_) => false,
                NameRule::Exactly(name) => *name == caller.name,
            }
    }

    fn includes(&self, other: &Self) -> bool {
        self.role == other.role
            && match (&self.name, &other.name) {
                (NameRule::Any, _) => true,
                (mine, theirs) => mine == theirs,
            }
    }
}

/// Which names of a role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NameRule {
    /// Every one.
    Any,
    /// The one that the path names at this variable.
    Bound(Variable),
    /// This one.
    Exactly(Name),
}

impl NameRule {
    /// Names hold only characters that a path never escapes, so that bytes are compared.
    fn covers(&self, name: &Name, path: &RequestPath) -> bool {
        match self {
            Self::Any => true,
            Self::Bound(variable) => variable.value_in(path) == Some(name.as_str()),
            Self::Exactly(exactly) => exactly == name,
        }
    }
}
