//! Challenges of refused requests (RFC 9110, section 11.6.1; RFC 6750, section 3).

use http::header::{HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use http::{Response, StatusCode};

use crate::gateway::request::problem::RequestProblem;

/// Challenge for a certificate. No scheme is registered for TLS client certificates; an expired draft proposed this
/// name.
const CERTIFICATE: HeaderValue = HeaderValue::from_static("ClientCertificate");

/// Challenge for a token, without an error: the request had none.
const BEARER: HeaderValue = HeaderValue::from_static("Bearer");

/// Add the challenges of a response to `problem`. `has_user` is set if the request had a valid token.
pub(super) fn add(headers: &mut HeaderMap, problem: &RequestProblem, has_user: bool) {
    let error = match problem {
        RequestProblem::Token(error) => Some(("invalid_token", Some(error.to_string()))),
        RequestProblem::SeveralCredentials => Some(("invalid_request", Some(problem.to_string()))),
        RequestProblem::Denied(_) if has_user && problem.status() == StatusCode::FORBIDDEN => {
            Some(("insufficient_scope", None))
        }
        _ => None,
    };
    if let Some((error, description)) = error {
        let description =
            description.map(|text| format!(", error_description=\"{text}\"")).unwrap_or_default();
        if let Ok(value) = HeaderValue::try_from(format!("Bearer error=\"{error}\"{description}")) {
            headers.insert(WWW_AUTHENTICATE, value);
        }
    } else if problem.status() == StatusCode::UNAUTHORIZED {
        headers.insert(WWW_AUTHENTICATE, CERTIFICATE);
    }
}

/// Add the challenge for a token to a 401 of a gateway that accepts tokens.
pub(super) fn offer_token<B>(response: &mut Response<B>) {
    let headers = response.headers_mut();
    if headers.get(WWW_AUTHENTICATE) == Some(&CERTIFICATE) {
        headers.append(WWW_AUTHENTICATE, BEARER);
    }
}
