//! `login`, `logout` and `tokens`.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Extension, State};
use axum::response::Response;
use http::StatusCode;
use http::header::HeaderMap;
use time::Duration;

use super::account_body::{
    EmptyBody, GenerateTokenBody, GeneratedTokenBody, LoginBody, RefreshBody, TokensBody,
};
use super::account_call::{private_json, user};
use super::caller::RequestContext;
use super::extract::respond;
use super::problem::Problem;
use crate::accounts::IssuedTokens;
use crate::clock::rfc3339;
use crate::identity::OrganizationName;
use crate::secret::Secret;
use crate::server::accounts::ReceivedLogin;
use crate::server::shared::ServerShared;

/// Start a session.
pub(super) async fn login(
    State(shared): State<Arc<ServerShared>>,
    Extension(context): Extension<RequestContext>,
    headers: HeaderMap,
    content: Body,
) -> Result<Response, Problem> {
    let LoginBody { username, password, org } = private_json(&shared, &headers, content).await?;
    let password = Secret::new(password.into_bytes());
    let org = org.unwrap_or_else(|| OrganizationName::ROOT.to_owned());
    let certificate = context.certificate(&shared)?;
    let address = context.client.remote.ip();
    let login = ReceivedLogin { organization: org, user: username, password, certificate, address };
    let logged_in = shared.accounts.log_in(context.actor(), login);
    respond(StatusCode::OK, &tokens(&logged_in.await?))
}

/// Continue a session.
pub(super) async fn refresh(
    State(shared): State<Arc<ServerShared>>,
    Extension(context): Extension<RequestContext>,
    headers: HeaderMap,
    content: Body,
) -> Result<Response, Problem> {
    let RefreshBody { refresh_token } = private_json(&shared, &headers, content).await?;
    let certificate = context.certificate(&shared)?;
    let refreshed = shared.accounts.run_with_directory(context.actor(), move |logins, accounts| {
        logins.refresh(accounts, &refresh_token, certificate.as_ref())
    });
    respond(StatusCode::OK, &tokens(&refreshed.await?))
}

fn tokens(issued: &IssuedTokens) -> TokensBody {
    TokensBody {
        access_token: text(&issued.access_token),
        token_type: "Bearer",
        expires_in: issued.expires_in,
        refresh_token: text(&issued.refresh_token),
        password_change_required: issued.password_change_required,
    }
}

fn text(secret: &Secret) -> String {
    String::from_utf8_lossy(secret.expose()).into_owned()
}

/// End the session of the token.
pub(super) async fn logout(
    State(shared): State<Arc<ServerShared>>,
    Extension(context): Extension<RequestContext>,
) -> Result<Response, Problem> {
    let caller = user(&context)?;
    shared.accounts.run(context.actor(), move |logins, accounts| logins.logout(accounts, &caller)).await?;
    respond(StatusCode::OK, &EmptyBody {})
}

/// Generate a token for scripts.
pub(super) async fn generate(
    State(shared): State<Arc<ServerShared>>,
    Extension(context): Extension<RequestContext>,
    headers: HeaderMap,
    content: Body,
) -> Result<Response, Problem> {
    let GenerateTokenBody { timeout } = private_json(&shared, &headers, content).await?;
    let caller = user(&context)?;
    let generated = shared.accounts.run(context.actor(), move |logins, accounts| {
        logins.generate_token(accounts, &caller, timeout.map(Duration::seconds))
    });
    let (token, expires_at) = generated.await?;
    let body = GeneratedTokenBody {
        access_token: text(&token),
        token_type: "Bearer",
        expires_at: rfc3339(expires_at),
    };
    respond(StatusCode::OK, &body)
}
