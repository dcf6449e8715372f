//! `security`: lockout, login banner, lifetimes of tokens, certificate of the server.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Extension, State};
use axum::response::Response;
use http::StatusCode;
use http::header::HeaderMap;
use time::Duration;

use super::account_body::{
    BannerBody, BannerChangeBody, LifetimesBody, LifetimesChangeBody, LockoutBody, LockoutChangeBody,
    TlsBody, TlsChangeBody,
};
use super::account_call::{private_json, run};
use super::caller::RequestContext;
use super::extract::{respond, with_type};
use super::problem::Problem;
use crate::accounts::{Accounts, LifetimeChange, LockoutChange};
use crate::secret::Secret;
use crate::server::shared::ServerShared;

/// Media type of a certificate chain in PEM (RFC 8555, section 9.1).
pub(super) const PEM_CHAIN: &str = "application/pem-certificate-chain";

/// Failed logins that lock an account, and for how long.
pub(super) async fn show_lockout(
    State(shared): State<Arc<ServerShared>>,
    Extension(context): Extension<RequestContext>,
) -> Result<Response, Problem> {
    respond(StatusCode::OK, &LockoutBody::from(run(&shared, &context, Accounts::lockout).await?))
}

/// Change the lockout.
pub(super) async fn set_lockout(
    State(shared): State<Arc<ServerShared>>,
    Extension(context): Extension<RequestContext>,
    headers: HeaderMap,
    content: Body,
) -> Result<Response, Problem> {
    let body: LockoutChangeBody = private_json(&shared, &headers, content).await?;
    let change = LockoutChange {
        failed_attempts: body.failed_attempts,
        lockout_duration: body.lockout_duration.map(Duration::seconds),
    };
    let view = run(&shared, &context, move |accounts, by| accounts.set_lockout(by, change));
    respond(StatusCode::OK, &LockoutBody::from(view.await?))
}

/// Restore the default lockout, and unlock all accounts.
pub(super) async fn reset_lockout(
    State(shared): State<Arc<ServerShared>>,
    Extension(context): Extension<RequestContext>,
) -> Result<Response, Problem> {
    respond(StatusCode::OK, &LockoutBody::from(run(&shared, &context, Accounts::reset_lockout).await?))
}

/// Show the login banner, before a login.
pub(super) async fn show_banner(
    State(shared): State<Arc<ServerShared>>,
    Extension(context): Extension<RequestContext>,
) -> Result<Response, Problem> {
    let view = shared.accounts.run(context.actor(), |_, accounts| accounts.banner()).await?;
    respond(StatusCode::OK, &BannerBody::from(view))
}

/// Change the text of the login banner, show it or hide it.
pub(super) async fn set_banner(
    State(shared): State<Arc<ServerShared>>,
    Extension(context): Extension<RequestContext>,
    headers: HeaderMap,
    content: Body,
) -> Result<Response, Problem> {
    let body: BannerChangeBody = private_json(&shared, &headers, content).await?;
    let view = run(&shared, &context, move |accounts, by| {
        accounts.change_banner(by, body.text.as_deref(), body.enabled)
    });
    respond(StatusCode::OK, &BannerBody::from(view.await?))
}

/// Remove the text of the login banner.
pub(super) async fn reset_banner(
    State(shared): State<Arc<ServerShared>>,
    Extension(context): Extension<RequestContext>,
) -> Result<Response, Problem> {
    respond(StatusCode::OK, &BannerBody::from(run(&shared, &context, Accounts::reset_banner).await?))
}

/// Show the lifetimes of tokens.
pub(super) async fn show_lifetimes(
    State(shared): State<Arc<ServerShared>>,
    Extension(context): Extension<RequestContext>,
) -> Result<Response, Problem> {
    respond(StatusCode::OK, &LifetimesBody::from(run(&shared, &context, Accounts::token_lifetimes).await?))
}

/// Change the lifetimes of tokens.
pub(super) async fn set_lifetimes(
    State(shared): State<Arc<ServerShared>>,
    Extension(context): Extension<RequestContext>,
    headers: HeaderMap,
    content: Body,
) -> Result<Response, Problem> {
    let body: LifetimesChangeBody = private_json(&shared, &headers, content).await?;
    let seconds = |given: Option<i64>| given.map(Duration::seconds);
    let change = LifetimeChange {
        access_token: seconds(body.access_token),
        refresh_token: seconds(body.refresh_token),
        access_token_maximum: seconds(body.access_token_maximum),
        refresh_token_maximum: seconds(body.refresh_token_maximum),
    };
    let view = run(&shared, &context, move |accounts, by| accounts.set_token_lifetimes(by, change));
    respond(StatusCode::OK, &LifetimesBody::from(view.await?))
}

/// Restore the default lifetimes of tokens.
pub(super) async fn reset_lifetimes(
    State(shared): State<Arc<ServerShared>>,
    Extension(context): Extension<RequestContext>,
) -> Result<Response, Problem> {
    let view = run(&shared, &context, Accounts::reset_token_lifetimes).await?;
    respond(StatusCode::OK, &LifetimesBody::from(view))
}

/// Show the certificate that was set for the server.
pub(super) async fn show_tls(
    State(shared): State<Arc<ServerShared>>,
    Extension(context): Extension<RequestContext>,
) -> Result<Response, Problem> {
    respond(StatusCode::OK, &TlsBody::from(run(&shared, &context, Accounts::tls).await?))
}

/// Downloads the chain that was set for the server.
pub(super) async fn download_tls(
    State(shared): State<Arc<ServerShared>>,
    Extension(context): Extension<RequestContext>,
) -> Result<Response, Problem> {
    let chain = run(&shared, &context, Accounts::tls_chain).await?;
    Ok(with_type(StatusCode::OK, PEM_CHAIN, chain))
}

/// Set the certificate and key of the server.
pub(super) async fn set_tls(
    State(shared): State<Arc<ServerShared>>,
    Extension(context): Extension<RequestContext>,
    headers: HeaderMap,
    content: Body,
) -> Result<Response, Problem> {
    let body: TlsChangeBody = private_json(&shared, &headers, content).await?;
    let key = Secret::new(body.private_key.into_bytes());
    let view =
        run(&shared, &context, move |accounts, by| accounts.set_tls(by, body.certificate.as_bytes(), &key));
    respond(StatusCode::OK, &TlsBody::from(view.await?))
}

/// Has the server present its own certificate again.
pub(super) async fn unset_tls(
    State(shared): State<Arc<ServerShared>>,
    Extension(context): Extension<RequestContext>,
) -> Result<Response, Problem> {
    respond(StatusCode::OK, &TlsBody::from(run(&shared, &context, Accounts::unset_tls).await?))
}
