//! Endpoint: its route, the roles that may use it, and all that its description needs.

use std::borrow::Cow;
use std::sync::Arc;

use axum::routing::MethodRouter;
use utoipa::ToSchema;
use utoipa::openapi::path::Parameter;
use utoipa::openapi::{RefOr, Schema};

use super::access::EndpointAccess;
use crate::server::shared::ServerShared;

/// Method of an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    /// Reads, and changes nothing.
    Get,
    /// Create or change.
    Post,
    /// Replaces.
    Put,
    /// Change in part.
    Patch,
    /// Removes.
    Delete,
}

/// One endpoint of the API.
pub(super) struct ApiEndpoint {
    pub(super) verb: Verb,
    pub(super) path: &'static str,
    /// Name of the operation, for generated clients.
    pub(super) id: &'static str,
    pub(super) summary: &'static str,
    pub(super) access: EndpointAccess,
    /// Parameters in the query.
    pub(super) query: Option<fn() -> Vec<Parameter>>,
    /// Body of the request, in JSON.
    pub(super) body: Option<BodySchema>,
    pub(super) answer: AnswerKind,
    /// True if a request may state what it expects of the certificate (`If-Match`).
    pub(super) conditional: bool,
    pub(super) route: fn() -> MethodRouter<Arc<ServerShared>>,
}

/// Successful response of an endpoint.
pub(super) enum AnswerKind {
    /// JSON with status 200.
    Json(BodySchema),
    /// JSON with status 201.
    Made(BodySchema),
    /// JSON with status 201, of a request that may have an `Idempotency-Key`.
    Created(BodySchema),
    /// Another media type, with status 200.
    File(&'static str),
}

/// Name of a schema, and the schemas that it needs.
#[derive(Clone, Copy)]
pub(super) struct BodySchema {
    pub(super) name: fn() -> Cow<'static, str>,
    pub(super) collect: fn(&mut Vec<(String, RefOr<Schema>)>),
}

impl BodySchema {
    /// Schema of `T`, and of all that it contains.
    pub(super) const fn of<T: ToSchema>() -> Self {
        Self { name: T::name, collect: collect::<T> }
    }
}

fn collect<T: ToSchema>(schemas: &mut Vec<(String, RefOr<Schema>)>) {
    schemas.push((T::name().into_owned(), T::schema()));
    T::schemas(schemas);
}
