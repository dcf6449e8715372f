//! A request about accounts: its caller, and one call of the functions that the commands call.

use std::sync::Arc;

use axum::body::Body;
use http::StatusCode;
use http::header::HeaderMap;
use serde::de::DeserializeOwned;

use super::caller::RequestContext;
use super::extract::{bad_body, body};
use super::problem::Problem;
use crate::accounts::{AccountError, Accounts, Authenticated, LoginService, Principal};
use crate::error::Code;
use crate::identity::OrganizationName;
use crate::server::shared::ServerShared;

/// Run an operation on behalf of the caller.
pub(super) async fn run<T: Send + 'static>(
    shared: &Arc<ServerShared>,
    context: &RequestContext,
    operation: impl FnOnce(&Accounts, Principal) -> Result<T, AccountError> + Send + 'static,
) -> Result<T, Problem> {
    let principal = context.caller.principal().ok_or_else(missing)?;
    let run = shared.accounts.run(context.actor(), move |_, accounts| operation(accounts, principal));
    Ok(run.await?)
}

/// The same for an operation that hashes a password.
pub(super) async fn run_hashing<T: Send + 'static>(
    shared: &Arc<ServerShared>,
    context: &RequestContext,
    operation: impl FnOnce(&LoginService, &Accounts, Principal) -> Result<T, AccountError> + Send + 'static,
) -> Result<T, Problem> {
    let principal = context.caller.principal().ok_or_else(missing)?;
    let run = shared
        .accounts
        .run_hashing(context.actor(), move |logins, accounts| operation(logins, accounts, principal));
    Ok(run.await?)
}

/// The same for an operation that may wait for a directory.
pub(super) async fn run_waiting<T: Send + 'static>(
    shared: &Arc<ServerShared>,
    context: &RequestContext,
    operation: impl FnOnce(&Accounts, Principal) -> Result<T, AccountError> + Send + 'static,
) -> Result<T, Problem> {
    let principal = context.caller.principal().ok_or_else(missing)?;
    let run = shared.accounts.run_waiting(context.actor(), move |_, accounts| operation(accounts, principal));
    Ok(run.await?)
}

/// The account of a caller with a token.
pub(super) fn user(context: &RequestContext) -> Result<Authenticated, Problem> {
    context.caller.user().cloned().ok_or_else(|| {
        let code = Code::refused("server.token_needed");
        Problem::new(StatusCode::FORBIDDEN, code, "this needs an access token: Authorization: Bearer TOKEN")
    })
}

/// Organization in the query, or else the caller's own; `Root` for the holder of a certificate.
pub(super) fn organization(
    context: &RequestContext,
    given: Option<&str>,
) -> Result<OrganizationName, AccountError> {
    match given {
        Some(text) => Ok(text.parse()?),
        None => Ok(context
            .caller
            .user()
            .map_or_else(OrganizationName::root, |user| user.user.organization.clone())),
    }
}

/// Read a body that may hold a password: an error names a member, and never a value.
pub(super) async fn private_json<T: DeserializeOwned>(
    shared: &ServerShared,
    headers: &HeaderMap,
    content: Body,
) -> Result<T, Problem> {
    let bytes = zeroize::Zeroizing::new(body(headers, content, shared.limits.request_body).await?);
    serde_json::from_slice(if bytes.is_empty() { b"{}" } else { &bytes }).map_err(|error| {
        let text = error.to_string();
        let named = |mark: &str| {
            let (_, rest) = text.split_once(mark)?;
            Some(rest.chars().take_while(|c| *c != '`').take(40).collect::<String>())
        };
        match (named("unknown field `"), named("missing field `")) {
            (Some(field), _) => bad_body(format_args!("unknown member `{}`", field.escape_debug())),
            (_, Some(field)) => bad_body(format_args!("missing member `{}`", field.escape_debug())),
            _ => bad_body("not the JSON object that is expected"),
        }
    })
}

fn missing() -> Problem {
    Problem::new(
        StatusCode::UNAUTHORIZED,
        Code::refused("server.no_credentials"),
        "the request has no credentials",
    )
}
