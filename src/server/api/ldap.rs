//! `ldap`: the directory of an organization.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Extension, State};
use axum::response::Response;
use http::header::HeaderMap;
use http::{StatusCode, Uri};

use super::account_body::OrganizationQuery;
use super::account_call::{organization, private_json, run, run_waiting};
use super::caller::RequestContext;
use super::extract::{query, respond};
use super::ldap_body::{LdapBody, LdapSettingsBody, LdapTestBody, LdapTestedBody};
use super::problem::Problem;
use crate::accounts::{Accounts, NewLdap};
use crate::identity::{Name, OrganizationName};
use crate::server::shared::ServerShared;

/// Show the directory.
pub(super) async fn show(
    State(shared): State<Arc<ServerShared>>,
    Extension(context): Extension<RequestContext>,
    uri: Uri,
) -> Result<Response, Problem> {
    let org = of(&context, &uri)?;
    let view = run(&shared, &context, move |accounts, by| accounts.ldap(by, &org));
    respond(StatusCode::OK, &LdapBody::from(view.await?))
}

/// Set up the directory, or replace its settings.
pub(super) async fn set(
    State(shared): State<Arc<ServerShared>>,
    Extension(context): Extension<RequestContext>,
    uri: Uri,
    headers: HeaderMap,
    content: Body,
) -> Result<Response, Problem> {
    let body: LdapSettingsBody = private_json(&shared, &headers, content).await?;
    let org = of(&context, &uri)?;
    let (settings, password, trial) = body.into_settings()?;
    let view = run_waiting(&shared, &context, move |accounts, by| {
        accounts.set_ldap(by, &org, NewLdap { settings, reader_password: &password }, trial)
    });
    respond(StatusCode::OK, &LdapBody::from(view.await?))
}

/// Change settings of the directory.
pub(super) async fn change(
    State(shared): State<Arc<ServerShared>>,
    Extension(context): Extension<RequestContext>,
    uri: Uri,
    headers: HeaderMap,
    content: Body,
) -> Result<Response, Problem> {
    let body: LdapSettingsBody = private_json(&shared, &headers, content).await?;
    let org = of(&context, &uri)?;
    let (change, trial) = body.into_change()?;
    let view =
        run_waiting(&shared, &context, move |accounts, by| accounts.update_ldap(by, &org, &change, trial));
    respond(StatusCode::OK, &LdapBody::from(view.await?))
}

/// Remove the directory.
pub(super) async fn reset(
    State(shared): State<Arc<ServerShared>>,
    Extension(context): Extension<RequestContext>,
    uri: Uri,
) -> Result<Response, Problem> {
    let org = of(&context, &uri)?;
    let view = run(&shared, &context, move |accounts, by| accounts.reset_ldap(by, &org));
    respond(StatusCode::OK, &LdapBody::from(view.await?))
}

/// Test the directory.
pub(super) async fn test(
    State(shared): State<Arc<ServerShared>>,
    Extension(context): Extension<RequestContext>,
    uri: Uri,
    headers: HeaderMap,
    content: Body,
) -> Result<Response, Problem> {
    let LdapTestBody { user } = private_json(&shared, &headers, content).await?;
    let org = of(&context, &uri)?;
    let name = user.map(|user| Name::of_user(&user)).transpose()?;
    let tested = run_waiting(&shared, &context, move |accounts: &Accounts, by| {
        accounts.test_ldap(by, &org, name.as_ref(), None)
    });
    respond(StatusCode::OK, &LdapTestedBody::from(tested.await?))
}

/// Organization in the query, or else the caller's own.
fn of(context: &RequestContext, uri: &Uri) -> Result<OrganizationName, Problem> {
    let OrganizationQuery { org } = query(uri)?;
    Ok(organization(context, org.as_deref())?)
}
