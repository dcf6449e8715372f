//! Problems as responses (RFC 9457), with the stable code of the error and the ID of the request.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use crate::error::{Class, Code, Coded, causes, with_causes};
use crate::serving::request_id::RequestId;

/// Detail of an error whose text is about the files of the server, not about the request.
const INTERNAL: &str =
    "the server cannot use its files or its database; its log has the cause, with the request ID";

/// Body for a problem that cannot be serialized.
const FALLBACK_BODY: &str = "{\"code\":\"server.problem\"}\n";

/// Codes of what does not exist.
const NOT_FOUND: &[&str] = &[
    "account.no_ldap",
    "account.unknown_organization",
    "account.unknown_user",
    "ca.unknown_certificate",
    "ca.unknown_key",
    "store.unknown_serial",
    "tls.not_set",
];

/// Codes of callers that have no credentials, or none that are accepted.
const UNAUTHORIZED: &[&str] = &["account.login_refused", "account.refresh_refused", "account.token_revoked"];

/// Codes of callers that may not do this.
const FORBIDDEN: &[&str] =
    &["account.not_allowed", "account.own_account", "account.password_change_required"];

/// Areas of errors in the contents of a request that is well-formed.
const UNPROCESSABLE: &[&str] = &["policy.", "profile.", "csr.", "x509.", "tls."];

/// Refused or failed request.
#[derive(Clone, Debug)]
pub(in crate::server) struct Problem {
    status: StatusCode,
    code: Code,
    detail: String,
    causes: Vec<String>,
    /// Full text for the log, unless the client has it too.
    internal: Option<String>,
}

/// Refused or failed request (RFC 9457).
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ProblemBody<'a> {
    /// Standard text of the status.
    title: &'a str,
    /// Status of the response.
    status: u16,
    /// Refusal and its reason, for people; see `code` for programs.
    detail: &'a str,
    /// Stable code, such as `ca.unknown_certificate`.
    code: &'a str,
    /// Causes, the nearest first.
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    causes: &'a [String],
    /// ID of the request, as in the access log and the audit log.
    request_id: &'a str,
}

impl Problem {
    /// Problem with a text of the API itself.
    pub(super) fn new(status: StatusCode, code: Code, detail: impl Into<String>) -> Self {
        Self { status, code, detail: detail.into(), causes: Vec::new(), internal: None }
    }

    /// Problem of an error, whose code and class select the status.
    pub(super) fn of(error: &dyn Coded) -> Self {
        let code = error.coded();
        if code.class() == Class::Environment {
            let internal = Some(with_causes(error));
            return Self { internal, ..Self::new(StatusCode::INTERNAL_SERVER_ERROR, code, INTERNAL) };
        }
        let causes = causes(error);
        Self { causes, ..Self::new(status_of(code), code, error.to_string()) }
    }

    /// The request took too long.
    pub(in crate::server) fn timeout() -> Self {
        let detail = "the request took longer than the server allows; a change may still be made";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, Code::unavailable("server.timeout"), detail)
    }

    /// Stable code.
    pub(in crate::server) fn code(&self) -> &'static str {
        self.code.name()
    }

    /// Challenge of a response with status 401 (RFC 6750, section 3).
    pub(in crate::server) fn challenge(&self) -> &'static str {
        let name = self.code.name();
        match name.starts_with("token.") || name == "account.token_revoked" {
            true => "Bearer error=\"invalid_token\"",
            false if UNAUTHORIZED.contains(&name) => "Bearer",
            false => "ClientCertificate",
        }
    }

    /// Log the cause of an error that the client gets no details of.
    pub(in crate::server) fn log(&self, id: RequestId) {
        if let Some(internal) = &self.internal {
            tracing::error!(request_id = id.as_str(), code = self.code.name(), "{internal}");
        }
    }

    /// The body, as JSON.
    pub(in crate::server) fn body(&self, status: StatusCode, id: RequestId) -> String {
        let body = ProblemBody {
            title: status.canonical_reason().unwrap_or("Error"),
            status: status.as_u16(),
            detail: &self.detail,
            code: self.code.name(),
            causes: &self.causes,
            request_id: id.as_str(),
        };
        serde_json::to_string(&body).map_or_else(|_| FALLBACK_BODY.to_owned(), |text| text + "\n")
    }
}

fn status_of(code: Code) -> StatusCode {
    let name = code.name();
    if NOT_FOUND.contains(&name) {
        return StatusCode::NOT_FOUND;
    }
    if UNPROCESSABLE.iter().any(|area| name.starts_with(area)) {
        return StatusCode::UNPROCESSABLE_ENTITY;
    }
    if UNAUTHORIZED.contains(&name) || (name.starts_with("token.") && code.class() == Class::Refused) {
        return StatusCode::UNAUTHORIZED;
    }
    if FORBIDDEN.contains(&name) {
        return StatusCode::FORBIDDEN;
    }
    match code.class() {
        _ if name == "account.too_many_logins" => StatusCode::TOO_MANY_REQUESTS,
        _ if name == "account.weak_password" => StatusCode::UNPROCESSABLE_ENTITY,
        Class::Refused => StatusCode::CONFLICT,
        Class::Usage => StatusCode::BAD_REQUEST,
        Class::Environment => StatusCode::INTERNAL_SERVER_ERROR,
        Class::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
    }
}

impl<E: Coded> From<E> for Problem {
    fn from(error: E) -> Self {
        Self::of(&error)
    }
}

/// The response without a body, which is written when the ID of the request is known.
impl From<Problem> for Response {
    fn from(problem: Problem) -> Self {
        let mut response = Self::new(Body::empty());
        *response.status_mut() = problem.status;
        response.extensions_mut().insert(problem);
        response
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        self.into()
    }
}
