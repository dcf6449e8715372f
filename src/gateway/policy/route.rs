//! Routes and the callers that they allow.

use std::sync::Arc;

use super::decision::DenyReason;
use super::error::PolicyError;
use super::ids::{RuleId, UpstreamId};
use super::methods::Methods;
use super::name_rule::NameRule;
use super::query::QueryRule;
use super::template::Template;
use super::user_rule::{Subject, UserRule};
use crate::gateway::message::path::RequestPath;
use crate::identity::{Identity, Role};

/// Rule of the policy: the requests that it matches, the callers that it allows, and their upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Identifier in logs and explanations.
    pub rule: RuleId,
    /// Paths that the route matches.
    pub path: Template,
    /// Methods that the route matches; GET does not include HEAD.
    pub methods: Methods,
    /// Conditions on the query.
    pub query: QueryRule,
    /// Permitted callers; an empty list denies every request.
    pub allow: Vec<Allow>,
    /// Upstream that receives the requests.
    pub upstream: UpstreamId,
    /// True if an upgrade to WebSocket is permitted.
    pub websocket: bool,
    /// True if content is permitted with methods that give it no meaning, such as GET.
    pub content: bool,
    /// True if the upstream gets the access token of the user.
    pub token: bool,
}

impl Route {
    pub(super) fn admit(&self, subject: Subject<'_>, path: &RequestPath) -> Result<(), DenyReason> {
        if self.is_for_anyone() {
            return Ok(());
        }
        let mut users = self.allow.iter().flat_map(Allow::users);
        if subject.user.is_some_and(|user| users.any(|allowed| allowed.covers(user, path))) {
            return Ok(());
        }
        match (subject.certificate, subject.user) {
            (Some(caller), user) => self.admit_certificate(caller, path).map_err(|reason| {
                if user.is_some() && self.is_for_users() { DenyReason::UserNotAllowed } else { reason }
            }),
            (None, Some(_)) => Err(DenyReason::UserNotAllowed),
            (None, None) => Err(DenyReason::CertificateMissing),
        }
    }

    fn admit_certificate(&self, caller: &Identity, path: &RequestPath) -> Result<(), DenyReason> {
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

    /// Return true if the route also allows callers without a certificate.
    #[must_use]
    pub fn is_for_anyone(&self) -> bool {
        self.allow.contains(&Allow::Anyone)
    }

    /// Return true if the route allows users.
    #[must_use]
    pub fn is_for_users(&self) -> bool {
        self.allow.iter().any(Allow::has_users)
    }

    /// Return true if the route allows all callers of `entry`.
    pub(super) fn allows(&self, entry: &Allow) -> bool {
        let allowed =
            |caller: &Caller| self.allow.iter().flat_map(Allow::callers).any(|own| own.includes(caller));
        let allowed_user =
            |user: &UserRule| self.allow.iter().flat_map(Allow::users).any(|own| own.includes(user));
        self.is_for_anyone()
            || *entry != Allow::Anyone
                && entry.callers().iter().all(allowed)
                && entry.users().iter().all(allowed_user)
    }

    /// Return true if the routes permit the same calls, apart from paths and methods.
    pub(super) fn has_same_conditions(&self, other: &Self) -> bool {
        self.query == other.query
            && (self.websocket, self.content, self.token) == (other.websocket, other.content, other.token)
            && self.allow.iter().all(|entry| other.allows(entry))
            && other.allow.iter().all(|entry| self.allows(entry))
    }

    /// Entries of `allow` whose callers another entry covers.
    pub(super) fn redundant_callers(&self) -> impl Iterator<Item = PolicyError> {
        self.allow.iter().enumerate().filter_map(|(entry, allow)| {
            // Of two equal entries, the later one is redundant.
            let covers =
                |(other, by): &(usize, &Allow)| by.includes(allow) && (*other < entry || !allow.includes(by));
            let (other, _) = self.allow.iter().enumerate().find(covers)?;
            Some(PolicyError::RedundantCaller { rule: self.rule, entry, other })
        })
    }
}

/// Entry of a route's `allow`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Allow {
    /// Every caller, including those without a certificate.
    Anyone,
    /// Callers of one role.
    Caller(Caller),
    /// Callers of a group.
    Group(Arc<Group>),
    /// Users with an access token.
    User(UserRule),
}

impl Allow {
    fn callers(&self) -> &[Caller] {
        match self {
            Self::Anyone | Self::User(_) => &[],
            Self::Caller(caller) => std::slice::from_ref(caller),
            Self::Group(group) => &group.callers,
        }
    }

    /// Return true if it permits users.
    #[must_use]
    pub fn has_users(&self) -> bool {
        !self.users().is_empty()
    }

    fn users(&self) -> &[UserRule] {
        match self {
            Self::Anyone | Self::Caller(_) => &[],
            Self::Group(group) => &group.users,
            Self::User(user) => std::slice::from_ref(user),
        }
    }

    fn includes(&self, other: &Self) -> bool {
        *self == Self::Anyone
            || *other != Self::Anyone
                && other.callers().iter().all(|caller| self.callers().iter().any(|by| by.includes(caller)))
                && other.users().iter().all(|user| self.users().iter().any(|by| by.includes(user)))
    }
}

/// Named group of callers, shared by several routes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Name by which routes refer to the group.
    pub name: String,
    /// Members with a certificate.
    pub callers: Vec<Caller>,
    /// Members with an access token.
    pub users: Vec<UserRule>,
}

/// Callers of one role, optionally restricted to one name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Required role.
    pub role: Role,
    /// Permitted names.
    pub name: NameRule,
}

impl Caller {
    /// Return true if `caller` matches, regardless of the path.
    #[must_use]
    pub fn matches(&self, caller: &Identity) -> bool {
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
