//! Decisions of the policy and their reasons.

use crate::error::{Code, Coded};
use crate::gateway::policy::ids::{RuleId, UpstreamId};

/// Decision of a policy on one request.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a request must not be forwarded unless the decision permits it"]
pub enum Decision {
    /// The call is permitted.
    Permit(Grant),
    /// The call is denied.
    Deny(Denial),
}

impl Decision {
    /// Decision for a call that is a WebSocket handshake if `tunnel`: the route must permit the upgrade, too.
    pub const fn for_tunnel(self, tunnel: bool) -> Self {
        match self {
            Self::Permit(grant) if tunnel && !grant.websocket() => {
                Self::Deny(Denial { reason: DenyReason::WebSocket, rule: Some(grant.rule()) })
            }
            decision => decision,
        }
    }

    /// Decision for a call with content that its method gives no meaning to, if `content`: the route must permit it,
    /// too.
    pub const fn for_content(self, content: bool) -> Self {
        match self {
            Self::Permit(grant) if content && !grant.content() => {
                Self::Deny(Denial { reason: DenyReason::ContentNotAllowed, rule: Some(grant.rule()) })
            }
            decision => decision,
        }
    }

    /// Outcome without the permission, for logs and comparisons.
    #[must_use]
    pub const fn verdict(&self) -> Verdict {
        match self {
            Self::Permit(grant) => Verdict::Permit { rule: grant.rule, upstream: grant.upstream },
            Self::Deny(denial) => Verdict::Deny(*denial),
        }
    }
}

/// Outcome of a decision; unlike the decision, it can be copied and forwards nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The call is denied.
    Deny(Denial),
    /// The call is permitted.
    Permit {
        /// Rule that permits the call.
        rule: RuleId,
        /// Upstream that receives the request.
        upstream: UpstreamId,
    },
}

impl Verdict {
    /// Return true if the caller or an upstream can observe the difference.
    #[must_use]
    pub fn differs_from(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Permit { upstream, .. }, Self::Permit { upstream: theirs, .. }) => upstream != theirs,
            (Self::Deny(_), Self::Deny(_)) => false,
            _ => true,
        }
    }

    /// `permit` or `deny`.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Deny(_) => "deny",
            Self::Permit { .. } => "permit",
        }
    }

    /// Rule that decided; `None` if no route matched.
    #[must_use]
    pub const fn rule(&self) -> Option<RuleId> {
        match self {
            Self::Deny(denial) => denial.rule,
            Self::Permit { rule, .. } => Some(*rule),
        }
    }

    /// Reason of a denial; `None` for a permission.
    #[must_use]
    pub const fn reason(&self) -> Option<DenyReason> {
        match self {
            Self::Deny(denial) => Some(denial.reason),
            Self::Permit { .. } => None,
        }
    }
}

/// Permission to forward one request.
///
/// Only [`Policy::decide`](crate::gateway::policy::Policy::decide) makes one, and it cannot be copied. Forwarding
/// consumes it, so that no request is sent upstream without a decision.
#[derive(Debug, PartialEq, Eq)]
pub struct Grant {
    pub(super) rule: RuleId,
    pub(super) upstream: UpstreamId,
    pub(super) websocket: bool,
    pub(super) content: bool,
    pub(super) token: bool,
}

impl Grant {
    /// Withdraw what another reading of the path does not permit.
    pub(super) const fn restrict(&mut self, websocket: bool, content: bool, token: bool) {
        self.websocket &= websocket;
        self.content &= content;
        self.token &= token;
    }

    /// Return true if the upstream gets the access token of the user.
    #[must_use]
    pub const fn token(&self) -> bool {
        self.token
    }

    /// Rule that permits the call.
    #[must_use]
    pub const fn rule(&self) -> RuleId {
        self.rule
    }

    /// Upstream that receives the request.
    #[must_use]
    pub const fn upstream(&self) -> UpstreamId {
        self.upstream
    }

    /// Return true if the route permits an upgrade to WebSocket.
    #[must_use]
    pub const fn websocket(&self) -> bool {
        self.websocket
    }

    /// Return true if the route permits content with every method.
    #[must_use]
    pub const fn content(&self) -> bool {
        self.content
    }
}

/// Denial of a call, with the rule that caused it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Denial {
    /// Condition that the call does not meet.
    pub reason: DenyReason,
    /// Rule that denied the call; `None` if no route matched.
    pub rule: Option<RuleId>,
}

impl Denial {
    /// Denial of a caller without a certificate before any rule is evaluated.
    pub const NO_CERTIFICATE: Self = Self { reason: DenyReason::CertificateMissing, rule: None };
}

/// Reason of a denial.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum DenyReason {
    /// The caller has no certificate, and the route does not allow `anyone`.
    #[error("a client certificate is required")]
    CertificateMissing,
    /// The method gives content no meaning, and the route does not allow it.
    #[error("the method gives content no meaning, and this route does not allow it")]
    ContentNotAllowed,
    /// Routes match the path, but not the method.
    #[error("no route allows this method on this path")]
    MethodNotAllowed,
    /// The route allows the caller's role, but not its name.
    #[error("the caller's name is not allowed on this route")]
    NameMismatch,
    /// No route matches the path.
    #[error("no route matches this path")]
    NoRoute,
    /// The call is reserved for operators.
    #[error("only an operator may do this")]
    NotAnOperator,
    /// Routes match the path and method, but not the query.
    #[error("no route on this path allows this query")]
    QueryNotAllowed,
    /// The route does not allow the caller's role.
    #[error("the caller's role is not allowed on this route")]
    RoleNotAllowed,
    /// The route does not allow the user of the access token.
    #[error("the user is not allowed on this route")]
    UserNotAllowed,
    /// The route permits the call, but no upgrade to WebSocket.
    #[error("this route does not allow a WebSocket")]
    WebSocket,
}

impl Coded for DenyReason {
    fn coded(&self) -> Code {
        match self {
            Self::CertificateMissing => Code::refused("certificate.missing"),
            Self::ContentNotAllowed => Code::refused("policy.content_not_allowed"),
            Self::MethodNotAllowed => Code::refused("policy.method_not_allowed"),
            Self::NameMismatch => Code::refused("policy.name_mismatch"),
            Self::NoRoute => Code::refused("policy.no_route"),
            Self::NotAnOperator => Code::refused("policy.not_an_operator"),
            Self::QueryNotAllowed => Code::refused("policy.query_not_allowed"),
            Self::RoleNotAllowed => Code::refused("policy.role_not_allowed"),
            Self::UserNotAllowed => Code::refused("policy.user_not_allowed"),
            Self::WebSocket => Code::refused("policy.websocket"),
        }
    }
}
