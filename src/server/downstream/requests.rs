//! One request: its ID, its caller, its time limit, its line in the access log.

use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::body::Body;
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body::Body as _;
use hyper::body::Incoming;
use tokio::time::timeout;
use tower_service::Service;

use crate::server::api::{ApiCaller, Client, Problem, RequestContext, router};
use crate::server::shared::ServerShared;
use crate::server::telemetry::ApiRequestLine;
use crate::serving::request_id::RequestId;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Endpoints of the server.
#[derive(Clone, Debug)]
pub(super) struct Api(Router);

impl Api {
    /// All endpoints.
    pub(super) fn new(shared: &Arc<ServerShared>) -> Self {
        Self(router(Arc::clone(shared)))
    }

    /// Answer a request, and log it.
    pub(super) async fn respond(
        &self,
        shared: &Arc<ServerShared>,
        client: &Arc<Client>,
        request: Request<Incoming>,
    ) -> Response<Body> {
        let (begun, id) = (shared.clock.monotonic(), shared.request_ids.next());
        let (mut head, body) = request.into_parts();
        let (method, path) = (head.method.clone(), head.uri.path().to_owned());
        let caller = Arc::new(ApiCaller::of_request(shared, client, &head.headers).await);
        let context = RequestContext { id, client: Arc::clone(client), caller: Arc::clone(&caller) };
        head.extensions.insert(context);
        let request = Request::from_parts(head, Body::new(body));
        let mut router = self.0.clone();
        let response = match timeout(shared.limits.request_timeout, router.call(request)).await {
            Ok(Ok(response)) => response,
            Ok(Err(never)) => match never {},
            Err(_) => Problem::timeout().into(),
        };
        let response = finish(response, id, &method);
        let (role, identity) = (caller.role(), caller.name());
        let line = ApiRequestLine {
            request_id: id,
            remote: client.remote,
            identity,
            role: role.map(|role| role.as_str()),
            tls_version: client.tls_version,
            protocol: client.protocol,
            method: method.as_str(),
            path: &path,
            status: response.status().as_u16(),
            code: response.extensions().get::<Problem>().map(Problem::code),
            bytes_out: response.body().size_hint().exact(),
            duration_us: micros(begun, shared.clock.monotonic()),
        };
        shared.telemetry.request(shared.clock.now(), &line);
        response
    }
}

/// Write the body of a problem, and the header fields of every response.
fn finish(response: Response<Body>, id: RequestId, method: &Method) -> Response<Body> {
    let (mut head, mut body) = response.into_parts();
    if let Some(problem) = head.extensions.get::<Problem>() {
        problem.log(id);
        let text = problem.body(head.status, id);
        head.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        head.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(text.len()));
        if head.status == StatusCode::UNAUTHORIZED {
            head.headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(problem.challenge()));
        }
        body = if method == Method::HEAD { Body::empty() } else { Body::from(text) };
    }
    head.headers.insert(REQUEST_ID, id.to_header());
    head.headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    head.headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    Response::from_parts(head, body)
}

fn micros(begun: Instant, now: Instant) -> u64 {
    u64::try_from(now.saturating_duration_since(begun).as_micros()).unwrap_or(u64::MAX)
}
