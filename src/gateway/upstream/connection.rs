//! HTTP/1.1 connection to an upstream, and one exchange of a request and the head of its response on it.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Poll, ready};

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use socket2::SockRef;
use tokio::net::TcpStream;
use tokio::task::AbortHandle;
use tokio::time::{Instant, Sleep, sleep};

use crate::clock::Clock;
use crate::gateway::config::UpstreamSettings;
use crate::gateway::message::interim::Interim;
use crate::gateway::message::request_body::{RequestBody, Upload};
use crate::gateway::upstream::error::ForwardError;
use crate::gateway::upstream::limits::UpstreamLimits;
use crate::gateway::upstream::stream::{StreamState, UpstreamStream};
use crate::serving::in_flight::InFlight;
use crate::serving::keepalive::KEEPALIVE;

/// Destination of interim responses.
pub type PassInterim<'a> = dyn Fn(Interim) + Send + Sync + 'a;

/// Connection to an upstream, closed when dropped.
pub(super) struct UpstreamConnection {
    sender: SendRequest<RequestBody>,
    driver: AbortHandle,
    state: Arc<StreamState>,
    /// Timer of each response. To set it again costs less than to register a new one.
    response_timer: Pin<Box<Sleep>>,
    _permit: InFlight,
}

impl UpstreamConnection {
    /// Connection over `stream`, counted by `permit`.
    ///
    /// # Errors
    /// [`ForwardError`] if the connection has failed already.
    pub(super) async fn over(
        stream: TcpStream,
        limits: &UpstreamLimits,
        permit: InFlight,
    ) -> Result<Self, ForwardError> {
        let set_up =
            stream.set_nodelay(true).and_then(|()| SockRef::from(&stream).set_tcp_keepalive(&KEEPALIVE));
        set_up.map_err(|source| ForwardError::Connect { source })?;
        let state = Arc::new(StreamState::default());
        let io = TokioIo::new(UpstreamStream::new(stream, Arc::clone(&state)));
        let mut http = http1::Builder::new();
        // With a number of its own, hyper puts the fields of each response on the heap.
        if limits.response_fields != UpstreamSettings::RESPONSE_FIELDS {
            http.max_headers(limits.response_fields);
        }
        let (sender, driver) =
            http.handshake(io).await.map_err(|source| ForwardError::Unreadable { source })?;
        let driver = tokio::spawn(async move {
            // An error reaches the exchange on this connection; an idle connection may close at any time.
            let _ = driver.with_upgrades().await;
        });
        let response_timer = Box::pin(sleep(limits.response));
        Ok(Self { sender, driver: driver.abort_handle(), state, response_timer, _permit: permit })
    }

    /// True if a request can be sent now.
    pub(super) fn is_ready(&self) -> bool {
        self.sender.is_ready() && !self.state.is_unwritable()
    }

    /// True if no further request can be sent.
    pub(super) fn is_closed(&self) -> bool {
        self.sender.is_closed() || self.state.is_unwritable()
    }

    /// Wait until a request can be sent; false if the connection has closed.
    pub(super) async fn ready(&mut self) -> bool {
        self.sender.ready().await.is_ok() && !self.is_closed()
    }

    /// Send `request` and wait for the head of the response: for `response_timeout` from its last byte. Interim
    /// responses are given to `pass`.
    pub(super) async fn exchange(
        &mut self,
        request: Request<RequestBody>,
        upload: &Upload,
        limits: &UpstreamLimits,
        clock: &dyn Clock,
        pass: &PassInterim<'_>,
    ) -> Result<Response<Incoming>, ExchangeFailure> {
        let Self { sender, state, response_timer, .. } = self;
        let received = state.received();
        state.await_response();
        response_timer.as_mut().reset(Instant::now() + limits.response);
        let mut answer = std::pin::pin!(sender.try_send_request(request));
        poll_fn(|cx| {
            let answer = answer.as_mut().poll(cx);
            state.pass_interims(cx, answer.is_pending(), pass);
            match answer {
                Poll::Ready(Ok(response)) => return Poll::Ready(Ok(response)),
                Poll::Ready(Err(mut failed)) => {
                    return Poll::Ready(Err(match failed.take_message() {
                        Some(unsent) => ExchangeFailure::Unsent(Box::new(unsent)),
                        None => {
                            let silent = state.received() == received;
                            ExchangeFailure::of(failed.into_error(), upload, limits, silent)
                        }
                    }));
                }
                Poll::Pending => {}
            }
            loop {
                ready!(response_timer.as_mut().poll(cx));
                // During an upload, the timeout starts again with every byte.
                let deadline = upload.last_progress() + limits.response;
                let remaining = deadline.saturating_duration_since(clock.monotonic());
                if remaining.is_zero() {
                    break;
                }
                response_timer.as_mut().reset(Instant::now() + remaining);
            }
            Poll::Ready(Err(ExchangeFailure::Final(match upload.is_finished() {
                true => ForwardError::ResponseTimeout,
                false => ForwardError::UploadTimeout,
            })))
        })
        .await
    }
}

impl Drop for UpstreamConnection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl fmt::Debug for UpstreamConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UpstreamConnection").finish_non_exhaustive()
    }
}

/// Failure of an exchange, classified for a retry.
pub(super) enum ExchangeFailure {
    /// No byte of the request was written.
    Unsent(Box<Request<RequestBody>>),
    /// The request was written, and the connection was closed without a byte of a response.
    Unanswered(ForwardError),
    /// Any other failure; no retry.
    Final(ForwardError),
}

impl ExchangeFailure {
    /// Classify `error`; `silent` is set if not a byte of a response came.
    fn of(error: hyper::Error, upload: &Upload, limits: &UpstreamLimits, silent: bool) -> Self {
        if upload.is_over_limit() {
            Self::Final(ForwardError::BodyTooLarge)
        } else if upload.is_broken() {
            Self::Final(ForwardError::BodyBroken { source: error })
        } else if error.is_parse_too_large() {
            Self::Final(ForwardError::HeaderTooLarge { at_most: limits.response_fields })
        } else if error.is_parse() {
            Self::Final(ForwardError::Unreadable { source: error })
        } else if silent {
            Self::Unanswered(ForwardError::Unanswered { source: error })
        } else {
            Self::Final(ForwardError::Unanswered { source: error })
        }
    }
}
