//! Description of the API in OpenAPI 3.1, made from the table of endpoints and the types of its bodies.

use std::sync::OnceLock;

use axum::response::Response;
use http::StatusCode;
use utoipa::openapi::content::ContentBuilder;
use utoipa::openapi::header::Header;
use utoipa::openapi::path::{
    HttpMethod, Operation, OperationBuilder, Parameter, ParameterBuilder, ParameterIn, Paths,
};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::schema::{ComponentsBuilder, ObjectBuilder, Type};
use utoipa::openapi::security::{SecurityRequirement, SecurityScheme};
use utoipa::openapi::{InfoBuilder, OpenApi, OpenApiBuilder, Ref, RefOr, Required, ResponseBuilder, Schema};

use super::access::EndpointAccess;
use super::endpoint::{AnswerKind, ApiEndpoint, BodySchema, Verb};
use super::extract::with_type;
use super::idempotent::IDEMPOTENCY_KEY;
use super::problem::{Problem, ProblemBody};
use crate::error::Code;

/// The description, written when the routes are made.
static DOCUMENT: OnceLock<String> = OnceLock::new();

/// Name of the security scheme.
const CLIENT_CERTIFICATE: &str = "client_certificate";

/// Extension that lists the roles that may use an operation.
const ROLES: &str = "x-roles";

/// Write the description of these endpoints.
pub(super) fn describe(endpoints: &[ApiEndpoint]) {
    DOCUMENT.get_or_init(|| document(endpoints).to_pretty_json().unwrap_or_default());
}

/// The description.
pub(super) async fn show() -> Result<Response, Problem> {
    let missing = || {
        let code = Code::environment("server.openapi");
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, code, "the API has no description")
    };
    let text = DOCUMENT.get().filter(|text| !text.is_empty()).ok_or_else(missing)?;
    Ok(with_type(StatusCode::OK, "application/json", text.as_str()))
}

fn document(endpoints: &[ApiEndpoint]) -> OpenApi {
    let mut paths = Paths::new();
    let mut schemas = Vec::new();
    (BodySchema::of::<ProblemBody<'_>>().collect)(&mut schemas);
    for endpoint in endpoints {
        let (AnswerKind::Json(answer) | AnswerKind::Made(answer) | AnswerKind::Created(answer)) =
            &endpoint.answer
        else {
            paths.add_path_operation(endpoint.path, vec![method(endpoint.verb)], operation(endpoint));
            continue;
        };
        endpoint.body.iter().chain([answer]).for_each(|body| (body.collect)(&mut schemas));
        paths.add_path_operation(endpoint.path, vec![method(endpoint.verb)], operation(endpoint));
    }
    let certificate = SecurityScheme::MutualTls {
        description: Some("A certificate of this cluster that `operators` lists".to_owned()),
        extensions: None,
        deprecated: None,
    };
    let components = ComponentsBuilder::new()
        .schemas_from_iter(schemas)
        .security_scheme(CLIENT_CERTIFICATE, certificate)
        .build();
    let info = InfoBuilder::new()
        .title("cluster-ca")
        .version(env!("CLUSTER_CA_VERSION"))
        .description(Some("Private certificate authority of one cluster"))
        .build();
    OpenApiBuilder::new().info(info).paths(paths).components(Some(components)).build()
}

const fn method(verb: Verb) -> HttpMethod {
    match verb {
        Verb::Get => HttpMethod::Get,
        Verb::Post => HttpMethod::Post,
        Verb::Put => HttpMethod::Put,
        Verb::Patch => HttpMethod::Patch,
        Verb::Delete => HttpMethod::Delete,
    }
}

fn operation(endpoint: &ApiEndpoint) -> Operation {
    let mut operation = OperationBuilder::new()
        .operation_id(Some(endpoint.id))
        .summary(Some(endpoint.summary))
        .parameters(Some(parameters(endpoint)));
    if let Some(body) = &endpoint.body {
        let body = RequestBodyBuilder::new()
            .content("application/json", content(body))
            .required(Some(Required::True))
            .build();
        operation = operation.request_body(Some(body));
    }
    operation = match &endpoint.answer {
        AnswerKind::Json(body) => {
            operation.response("200", answer("Done").content("application/json", content(body)).build())
        }
        AnswerKind::Made(body) => {
            operation.response("201", answer("Created").content("application/json", content(body)).build())
        }
        AnswerKind::Created(body) => operation.response(
            "201",
            answer("Created")
                .content("application/json", content(body))
                .header("Location", header())
                .header("ETag", header())
                .build(),
        ),
        AnswerKind::File(media_type) => {
            let any = ContentBuilder::new().schema(Some(string())).build();
            operation.response("200", answer("The file").content(*media_type, any).build())
        }
    };
    for (status, meaning) in problems(endpoint) {
        let body = content(&BodySchema::of::<ProblemBody<'_>>());
        operation =
            operation.response(status, answer(meaning).content("application/problem+json", body).build());
    }
    if let Some(roles) = endpoint.access.roles() {
        let none: [&str; 0] = [];
        let roles = roles.iter().map(|role| role.as_str().into()).collect::<Vec<serde_json::Value>>();
        operation = operation
            .security(SecurityRequirement::new(CLIENT_CERTIFICATE, none))
            .extensions(Some([(ROLES, serde_json::Value::from(roles))].into_iter().collect()));
    }
    operation.build()
}

/// Statuses of refused and failed requests, with their meaning.
fn problems(endpoint: &ApiEndpoint) -> Vec<(&'static str, &'static str)> {
    let mut all = Vec::new();
    let has_path_value = endpoint.path.contains('{');
    if endpoint.query.is_some() || endpoint.body.is_some() || has_path_value {
        all.push(("400", "The request is not understood"));
    }
    let is_login = endpoint.path.starts_with("/api/v1/login");
    if is_login || endpoint.access != EndpointAccess::Public {
        all.push(("401", "The request has no valid credentials"));
    }
    if endpoint.access != EndpointAccess::Public {
        all.push(("403", "The role of the caller may not do this"));
    }
    let names_organization =
        || endpoint.query.is_some_and(|query| query().iter().any(|one| one.name == "org"));
    let may_be_unset = endpoint.path.starts_with("/api/v1/security/tls");
    if has_path_value || names_organization() || may_be_unset {
        all.push(("404", "There is no such certificate, user, organization or directory"));
    }
    if endpoint.verb != Verb::Get || has_path_value {
        all.push(("409", "The state of the CA does not allow it"));
    }
    if endpoint.conditional {
        all.push(("412", "The certificate was changed meanwhile"));
    }
    if endpoint.body.is_some() {
        all.push(("413", "The body is too large"));
        all.push(("415", "The body is not JSON"));
    }
    if endpoint.path.ends_with("/login") {
        all.push(("429", "The address has failed too often"));
    }
    if matches!(endpoint.answer, AnswerKind::Created(_))
        || endpoint.id.ends_with("password")
        || endpoint.id == "create_user"
        || endpoint.id == "set_tls"
    {
        all.push((
            "422",
            "A profile does not allow it, or the CSR, the certificate or the password is not acceptable",
        ));
    }
    all.push(("500", "The server cannot use its files or its database"));
    all.push(("503", "The request took too long, or a key management service does not answer"));
    all
}

fn parameters(endpoint: &ApiEndpoint) -> Vec<Parameter> {
    let mut all = endpoint.query.map(|query| query()).unwrap_or_default();
    if endpoint.path.contains("{serial}") {
        all.push(parameter(
            "serial",
            ParameterIn::Path,
            "Serial number in hexadecimal, or role and name, such as `api-user%2Falice`",
            Required::True,
        ));
    }
    if endpoint.path.contains("{name}") {
        all.push(parameter("name", ParameterIn::Path, "Name", Required::True));
    }
    if endpoint.conditional {
        let about = "ETag of the state that the change is based on";
        all.push(parameter("If-Match", ParameterIn::Header, about, Required::False));
    }
    if matches!(endpoint.answer, AnswerKind::Created(_)) {
        let about = "A repeated request with the same key has the result of the first";
        all.push(parameter(IDEMPOTENCY_KEY.as_str(), ParameterIn::Header, about, Required::False));
    }
    all
}

fn parameter(name: &str, place: ParameterIn, about: &str, required: Required) -> Parameter {
    ParameterBuilder::new()
        .name(name)
        .parameter_in(place)
        .description(Some(about))
        .required(required)
        .schema(Some(string()))
        .build()
}

fn string() -> Schema {
    ObjectBuilder::new().schema_type(Type::String).build().into()
}

fn header() -> Header {
    Header::new(string())
}

fn answer(meaning: &str) -> ResponseBuilder {
    ResponseBuilder::new().description(meaning)
}

fn content(body: &BodySchema) -> utoipa::openapi::Content {
    let schema: RefOr<Schema> = Ref::from_schema_name((body.name)()).into();
    ContentBuilder::new().schema(Some(schema)).build()
}
