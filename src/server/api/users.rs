//! `users` and `organizations`.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Extension, Path, State};
use axum::response::Response;
use http::header::HeaderMap;
use http::{StatusCode, Uri};

use super::account_body::{
    AccountBody, AccountsBody, EmptyBody, NewUserBody, OrganizationBody, OrganizationNameBody,
    OrganizationQuery, OrganizationsBody, PasswordBody, UserChangeBody,
};
use super::account_call::{organization, private_json, run, run_hashing, user};
use super::caller::RequestContext;
use super::extract::{query, respond};
use super::problem::Problem;
use crate::accounts::{AccountError, Accounts, CertificateLink, NewUser, Principal, UserChange, UserView};
use crate::identity::{Name, OrganizationName, role_and_name};
use crate::secret::Secret;
use crate::server::shared::ServerShared;

/// List the users that the caller may see.
pub(super) async fn list(
    State(shared): State<Arc<ServerShared>>,
    Extension(context): Extension<RequestContext>,
    uri: Uri,
) -> Result<Response, Problem> {
    let OrganizationQuery { org } = query(&uri)?;
    let users = run(&shared, &context, move |accounts, by| {
        let org = org.map(|org| org.parse()).transpose()?;
        accounts.users(by, org.as_ref())
    });
    let items = users.await?.into_iter().map(AccountBody::from).collect();
    respond(StatusCode::OK, &AccountsBody { items })
}

/// Create a user.
pub(super) async fn create(
    State(shared): State<Arc<ServerShared>>,
    Extension(context): Extension<RequestContext>,
    headers: HeaderMap,
    content: Body,
) -> Result<Response, Problem> {
    let body: NewUserBody = private_json(&shared, &headers, content).await?;
    let password = Secret::new(body.password.into_bytes());
    let org = organization(&context, body.org.as_deref())?;
    let (name, role) = (Name::of_user(&body.name)?, body.role.parse()?);
    let must_change_password = body.must_change_password.unwrap_or(true);
    let created = run_hashing(&shared, &context, move |_, accounts, by| {
        accounts.add_user(
            by,
            &NewUser { organization: org, name, role, password: &password, must_change_password },
        )
    });
    respond(StatusCode::CREATED, &AccountBody::from(created.await?))
}

/// Show one user.
pub(super) async fn show(
    State(shared): State<Arc<ServerShared>>,
    Extension(context): Extension<RequestContext>,
    Path(name): Path<String>,
    uri: Uri,
) -> Result<Response, Problem> {
    one(shared, context, &name, &uri, Accounts::user).await
}

/// Clear the failed logins of a user.
pub(super) async fn unlock(
    State(shared): State<Arc<ServerShared>>,
    Extension(context): Extension<RequestContext>,
    Path(name): Path<String>,
    uri: Uri,
) -> Result<Response, Problem> {
    one(shared, context, &name, &uri, Accounts::unlock_user).await
}

/// Revoke all tokens of a user.
pub(super) async fn revoke_tokens(
    State(shared): State<Arc<ServerShared>>,
    Extension(context): Extension<RequestContext>,
    Path(name): Path<String>,
    uri: Uri,
) -> Result<Response, Problem> {
    one(shared, context, &name, &uri, Accounts::revoke_tokens).await
}

/// Delete a user.
pub(super) async fn delete(
    State(shared): State<Arc<ServerShared>>,
    Extension(context): Extension<RequestContext>,
    Path(name): Path<String>,
    uri: Uri,
) -> Result<Response, Problem> {
    one(shared, context, &name, &uri, Accounts::delete_user).await
}

type OneUser = fn(&Accounts, Principal, &OrganizationName, &Name) -> Result<UserView, AccountError>;

async fn one(
    shared: Arc<ServerShared>,
    context: RequestContext,
    name: &str,
    uri: &Uri,
    operation: OneUser,
) -> Result<Response, Problem> {
    let OrganizationQuery { org } = query(uri)?;
    let (org, name) = (organization(&context, org.as_deref())?, Name::of_user(name)?);
    let user = run(&shared, &context, move |accounts, by| operation(accounts, by, &org, &name));
    respond(StatusCode::OK, &AccountBody::from(user.await?))
}

/// Change the role or the linked certificate of a user.
pub(super) async fn change(
    State(shared): State<Arc<ServerShared>>,
    Extension(context): Extension<RequestContext>,
    Path(name): Path<String>,
    uri: Uri,
    headers: HeaderMap,
    content: Body,
) -> Result<Response, Problem> {
    let body: UserChangeBody = private_json(&shared, &headers, content).await?;
    let OrganizationQuery { org } = query(&uri)?;
    let (org, name) = (organization(&context, org.as_deref())?, Name::of_user(&name)?);
    let certificate = match body.certificate.as_deref() {
        None => None,
        Some("") => Some(CertificateLink::Remove),
        Some(text) => {
            let (role, name) = role_and_name(text)?;
            Some(CertificateLink::Set(role, name))
        }
    };
    let role = body.role.map(|role| role.parse()).transpose()?;
    let change = UserChange { role, certificate, certificate_required: body.certificate_required };
    let user = run(&shared, &context, move |accounts, by| accounts.update_user(by, &org, &name, &change));
    respond(StatusCode::OK, &AccountBody::from(user.await?))
}

/// Change the caller's own password, or set that of another user.
pub(super) async fn set_password(
    State(shared): State<Arc<ServerShared>>,
    Extension(context): Extension<RequestContext>,
    Path(name): Path<String>,
    uri: Uri,
    headers: HeaderMap,
    content: Body,
) -> Result<Response, Problem> {
    let body: PasswordBody = private_json(&shared, &headers, content).await?;
    let OrganizationQuery { org } = query(&uri)?;
    let (org, name) = (organization(&context, org.as_deref())?, Name::of_user(&name)?);
    let new = Secret::new(body.new_password.into_bytes());
    let address = Some(context.client.remote.ip());
    let changed = match body.old_password {
        Some(old) => {
            let (caller, old) = (user(&context)?, Secret::new(old.into_bytes()));
            run_hashing(&shared, &context, move |logins, accounts, _| {
                logins.change_own_password(accounts, &caller, (&org, &name), (&old, &new), address)
            })
            .await?
        }
        None => {
            context.require_password_changed()?;
            let must_change = body.must_change_password.unwrap_or(true);
            run_hashing(&shared, &context, move |_, accounts, by| {
                accounts.set_password(by, &org, &name, &new, must_change)
            })
            .await?
        }
    };
    respond(StatusCode::OK, &AccountBody::from(changed))
}

/// List the organizations that the caller may see.
pub(super) async fn list_organizations(
    State(shared): State<Arc<ServerShared>>,
    Extension(context): Extension<RequestContext>,
) -> Result<Response, Problem> {
    let organizations = run(&shared, &context, Accounts::organizations).await?;
    let items = organizations.into_iter().map(OrganizationBody::from).collect();
    respond(StatusCode::OK, &OrganizationsBody { items })
}

/// Add an organization without users; for cluster-admins.
pub(super) async fn create_organization(
    State(shared): State<Arc<ServerShared>>,
    Extension(context): Extension<RequestContext>,
    headers: HeaderMap,
    content: Body,
) -> Result<Response, Problem> {
    let body: OrganizationNameBody = private_json(&shared, &headers, content).await?;
    let name: OrganizationName = body.name.parse()?;
    let created = run(&shared, &context, move |accounts, by| accounts.create_organization(by, &name));
    respond(StatusCode::CREATED, &OrganizationBody::from(created.await?))
}

/// Give an organization another name; its users stay.
pub(super) async fn rename_organization(
    State(shared): State<Arc<ServerShared>>,
    Extension(context): Extension<RequestContext>,
    Path(name): Path<String>,
    headers: HeaderMap,
    content: Body,
) -> Result<Response, Problem> {
    let body: OrganizationNameBody = private_json(&shared, &headers, content).await?;
    let (name, new): (OrganizationName, OrganizationName) = (name.parse()?, body.name.parse()?);
    let renamed = run(&shared, &context, move |accounts, by| accounts.rename_organization(by, &name, &new));
    respond(StatusCode::OK, &OrganizationBody::from(renamed.await?))
}

/// Delete an organization without users.
pub(super) async fn delete_organization(
    State(shared): State<Arc<ServerShared>>,
    Extension(context): Extension<RequestContext>,
    Path(name): Path<String>,
) -> Result<Response, Problem> {
    let name: OrganizationName = name.parse()?;
    run(&shared, &context, move |accounts, by| accounts.delete_organization(by, &name)).await?;
    respond(StatusCode::OK, &EmptyBody {})
}
