//! Decisions of the policy and their reasons.

use crate::error::{Code, Coded};
use crate::gateway::policy::ids::{RuleId, UpstreamId};

/// The answer of a policy.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a decision that nobody looks at protects nothing"]
pub enum Decision {
    /// The call may be made, on these terms.
    Permit(Terms),
    /// It may not.
    Deny(Denial),
}

impl Decision {
    /// The same for a call that is, or becomes, a WebSocket if `tunnel`: not every call that may be made
    /// may become one.
    pub const fn for_tunnel(self, tunnel: bool) -> Self {
        match self {
            Self::Permit(terms) if tunnel && !terms.websocket() => {
                Self::Deny(Denial { reason: DenyReason::WebSocket, rule: Some(terms.rule()) })
            }
            decision => decision,
        }
    }

    /// What it comes to, without the permission: for telling and comparing.
    #[must_use]
    pub const fn verdict(&self) -> Verdict {
        match self {
            Self::Permit(terms) => Verdict::Permit { rule: terms.rule, upstream: terms.upstream },
            Self::Deny(denial) => Verdict::Deny(*denial),
        }
    }
}

/// What a decision comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The call may not be made.
    Deny(Denial),
    /// It may.
    Permit {
        /// The rule that permits it.
        rule: RuleId,
        /// Where it goes.
        upstream: UpstreamId,
    },
}

impl Verdict {
    /// Whether the caller, or the service behind, would notice that it is the other one.
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

    /// The rule that decides; none where no rule is for such a request.
    #[must_use]
    pub const fn rule(&self) -> Option<RuleId> {
        match self {
            Self::Deny(denial) => denial.rule,
            Self::Permit { rule, .. } => Some(*rule),
        }
    }

    /// Why not; none for a permission.
    #[must_use]
    pub const fn reason(&self) -> Option<DenyReason> {
        match self {
            Self::Deny(denial) => Some(denial.reason),
            Self::Permit { .. } => None,
        }
    }
}

/// A permission for one request. Only [`Policy::decide`] makes one and it cannot be copied: what sends
/// a request upstream takes it, so that nothing is sent that was not judged.
#[derive(Debug, PartialEq, Eq)]
pub struct Terms {
    pub(super) rule: RuleId,
    pub(super) upstream: UpstreamId,
    pub(super) websocket: bool,
}

impl Terms {
    /// The rule that permits it.
    #[must_use]
    pub const fn rule(&self) -> RuleId {
        self.rule
    }

    /// Where it goes.
    #[must_use]
    pub const fn upstream(&self) -> UpstreamId {
        self.upstream
    }

    /// Whether the connection may become a WebSocket.
    #[must_use]
    pub const fn websocket(&self) -> bool {
        self.websocket
    }
}

/// A refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Denial {
    /// Why.
    pub reason: DenyReason,
    /// The rule that refuses it; none where no rule is for such a request.
    pub rule: Option<RuleId>,
}

impl Denial {
    /// What a caller without a certificate gets where no rule is asked.
    pub const NO_CERTIFICATE: Self = Self { reason: DenyReason::CertificateMissing, rule: None };
}

/// Why a call may not be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum DenyReason {
    /// The caller has not said who it is, and the route is not for anyone.
    #[error("this takes a client certificate")]
    CertificateMissing,
    /// Routes are for this path, but none for this method.
    #[error("no route allows this method on this path")]
    MethodNotAllowed,
    /// The caller's role may, but not under this name.
    #[error("the caller's name is not allowed on this route")]
    NameMismatch,
    /// No route is for this path.
    #[error("no route is for this path")]
    NoRoute,
    /// Only an operator may.
    #[error("only an operator may do this")]
    NotAnOperator,
    /// Routes are for this path and method, but none for this query.
    #[error("no route on this path allows this query")]
    QueryNotAllowed,
    /// The caller's role may not.
    #[error("the caller's role is not allowed on this route")]
    RoleNotAllowed,
    /// The call may be made, but no WebSocket of it.
    #[error("no WebSocket is allowed on this route")]
    WebSocket,
}

impl Coded for DenyReason {
    fn coded(&self) -> Code {
        match self {
            Self::CertificateMissing => Code::refused("certificate.missing"),
            Self::MethodNotAllowed => Code::refused("policy.method_not_allowed"),
            Self::NameMismatch => Code::refused("policy.name_mismatch"),
            Self::NoRoute => Code::refused("policy.no_route"),
            Self::NotAnOperator => Code::refused("policy.not_an_operator"),
            Self::QueryNotAllowed => Code::refused("policy.query_not_allowed"),
            Self::RoleNotAllowed => Code::refused("policy.role_not_allowed"),
            Self::WebSocket => Code::refused("policy.websocket"),
        }
    }
}
