//! Roles that may use an endpoint. Deny by default: an endpoint without a role is open to none.

use axum::body::Body;
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use http::StatusCode;

use super::caller::{ApiCaller, RequestContext};
use super::extract::drain;
use super::problem::Problem;
use crate::error::Code;
use crate::identity::AccountRole;

/// Callers that may use an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EndpointAccess {
    /// Every client, also without a certificate.
    Public,
    /// Every role, also before a required change of the password.
    Account,
    /// Callers with one of these roles.
    Roles(&'static [AccountRole]),
}

impl EndpointAccess {
    /// Every role.
    pub(super) const ANY_ROLE: Self = Self::Roles(&AccountRole::ALL);
    /// Roles that read certificates and the audit log.
    pub(super) const READ: Self = Self::Roles(&[AccountRole::ClusterAdmin, AccountRole::ReadOnly]);
    /// Roles that read accounts and settings of logins.
    pub(super) const READ_ACCOUNTS: Self =
        Self::Roles(&[AccountRole::ClusterAdmin, AccountRole::OrgAdmin, AccountRole::ReadOnly]);
    /// Roles that change users.
    pub(super) const CHANGE_USERS: Self = Self::Roles(&[AccountRole::ClusterAdmin, AccountRole::OrgAdmin]);
    /// Roles that change certificates.
    pub(super) const CHANGE: Self = Self::Roles(&[AccountRole::ClusterAdmin]);

    /// Roles in the order of [`AccountRole::ALL`]; `None` if no certificate is needed.
    pub(super) const fn roles(self) -> Option<&'static [AccountRole]> {
        match self {
            Self::Public => None,
            Self::Account => Some(&AccountRole::ALL),
            Self::Roles(roles) => Some(roles),
        }
    }

    fn check(self, caller: &ApiCaller) -> Result<(), Problem> {
        let Some(roles) = self.roles() else { return Ok(()) };
        let unauthorized = |code, detail: &str| Err(Problem::new(StatusCode::UNAUTHORIZED, code, detail));
        let forbidden = |code, detail: String| Err(Problem::new(StatusCode::FORBIDDEN, code, detail));
        match caller {
            ApiCaller::Anonymous => unauthorized(
                Code::refused("server.no_credentials"),
                "the request has no credentials: log in for an access token, or present a client certificate of this cluster",
            ),
            ApiCaller::Lapsed(_) => unauthorized(
                Code::refused("server.credentials_lapsed"),
                "the client certificate of this connection has expired or was revoked",
            ),
            ApiCaller::NotAnOperator(identity) => forbidden(
                Code::refused("server.not_an_operator"),
                format!("{}/{} has no role: `operators` does not list it", identity.role, identity.name),
            ),
            ApiCaller::BadToken(problem) => Err(Problem::clone(problem)),
            ApiCaller::User(user) if roles.contains(&user.user.role) => match self {
                Self::Account => Ok(()),
                _ => Ok(user.require_password_changed()?),
            },
            ApiCaller::User(user) => forbidden(
                Code::refused("server.role_not_allowed"),
                format!("the role {} may not do this", user.user.role),
            ),
            ApiCaller::Operator(holder) if roles.contains(&holder.role) => Ok(()),
            ApiCaller::Operator(holder) => forbidden(
                Code::refused("server.role_not_allowed"),
                format!("the role {} may not do this", holder.role),
            ),
        }
    }
}

/// Pass a request on if its caller may use the endpoint; without its body, if the endpoint takes none.
pub(super) async fn guard(
    access: EndpointAccess,
    reads_body: bool,
    request: Request,
    next: Next,
) -> Response {
    let checked = match request.extensions().get::<RequestContext>() {
        Some(context) => access.check(&context.caller),
        None => access.check(&ApiCaller::Anonymous),
    };
    match checked {
        Ok(()) if reads_body => next.run(request).await,
        Ok(()) => {
            let (head, body) = request.into_parts();
            drain(body).await;
            next.run(Request::from_parts(head, Body::empty())).await
        }
        Err(problem) => {
            drain(request.into_body()).await;
            problem.into()
        }
    }
}
