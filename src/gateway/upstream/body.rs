//! Body of an upstream's response, with the connection that it arrives on.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::gateway::message::forwarding_rules::ForwardingRules;
use crate::gateway::message::request_body::{RequestBodyError, Upload};
use crate::gateway::upstream::body_decoder::{BodyDecoder, Decoded};
use crate::gateway::upstream::connection::UpstreamConnection;
use crate::gateway::upstream::idle::IdleConnections;
use crate::gateway::upstream::request_writer::RequestWriter;
use crate::gateway::upstream::response_error::ResponseError;

/// Longest time from the end of a response until the rest of its request is written.
const READY_TIMEOUT: Duration = Duration::from_secs(1);

/// Body of a response. Its connection is closed when it is dropped.
#[derive(Debug)]
pub struct UpstreamBody {
    connection: Box<UpstreamConnection>,
    decoder: BodyDecoder,
    /// Task that sends the rest of the request, if the response came first.
    sending: Option<SendTask>,
    upload: Arc<Upload>,
    home: ConnectionHome,
    body_timeout: Option<Duration>,
}

/// Queue of idle connections that a connection returns to.
#[derive(Clone, Debug)]
pub(super) struct ConnectionHome {
    pub(super) idle: Arc<IdleConnections>,
    pub(super) worker: usize,
    /// Longest time for which it may wait for another request; zero if it may carry none.
    pub(super) idle_timeout: Duration,
}

impl UpstreamBody {
    /// Body on `connection`, whose request has the progress `upload`. If `is_sent` is false, a task sends the rest of
    /// the request.
    pub(super) fn new(
        mut connection: Box<UpstreamConnection>,
        decoder: BodyDecoder,
        is_sent: bool,
        upload: Arc<Upload>,
        home: ConnectionHome,
        body_timeout: Option<Duration>,
    ) -> Self {
        let sending = if is_sent { None } else { connection.writer.take().map(SendTask::start) };
        Self { connection, decoder, sending, upload, home, body_timeout }
    }

    /// Rules for the header fields of the messages of this exchange.
    #[must_use]
    pub fn rules(&self) -> &ForwardingRules {
        self.upload.rules()
    }

    /// Longest silence of the upstream; `None` for no limit.
    #[must_use]
    pub const fn timeout(&self) -> Option<Duration> {
        self.body_timeout
    }

    /// True once the whole request was sent.
    #[must_use]
    pub const fn is_request_sent(&self) -> bool {
        self.sending.is_none()
    }

    /// Number of bytes to come, if it is known.
    #[must_use]
    pub const fn remaining(&self) -> Option<u64> {
        self.decoder.remaining()
    }

    /// True if no frame follows.
    #[must_use]
    pub fn is_end_stream(&self) -> bool {
        self.decoder.has_ended()
    }

    /// Bounds of the length of what follows.
    #[must_use]
    pub fn size_hint(&self) -> SizeHint {
        self.remaining().map_or_else(SizeHint::new, SizeHint::with_exact)
    }

    /// Next frame, as a body has it.
    pub fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, UpstreamBodyError>>> {
        loop {
            match self.decoder.decode(&mut self.connection.reader.buffer)? {
                Decoded::Data(data) => return Poll::Ready(Some(Ok(Frame::data(data)))),
                Decoded::Trailers(trailers) => return Poll::Ready(Some(Ok(Frame::trailers(trailers)))),
                Decoded::End => return Poll::Ready(None),
                Decoded::More => {}
            }
            if let Some(sending) = &mut self.sending
                && let Poll::Ready(sent) = Pin::new(&mut sending.0).poll(cx)
            {
                self.sending = None;
                // A request that cannot be sent whole has no valid response.
                self.connection.writer = sent.ok().transpose()?;
            }
            if ready!(self.connection.reader.poll_read(cx)).map_err(ResponseError::from)? == 0 {
                self.decoder.end_of_connection()?;
            }
        }
    }

    /// Return the connection to the pool after the end of the response.
    ///
    /// The connection is closed instead if the upstream responded before it had read the whole request, because the
    /// start of the next request would be ambiguous. It is also closed if the upstream may have authenticated it.
    pub fn release(self) {
        let Self { mut connection, sending, upload, home, decoder, .. } = self;
        let ConnectionHome { idle, worker, idle_timeout } = home;
        if idle_timeout.is_zero() || !upload.is_finished() || !decoder.has_ended() {
            return;
        }
        let Some(mut sending) = sending else {
            if connection.is_clean() {
                idle.put(worker, connection, idle_timeout);
            }
            return;
        };
        // There is no runtime if a response is dropped at shutdown.
        let Ok(runtime) = Handle::try_current() else { return };
        runtime.spawn(async move {
            if let Ok(Ok(Ok(writer))) = timeout(READY_TIMEOUT, &mut sending.0).await {
                connection.writer = Some(writer);
                if connection.is_clean() {
                    idle.put(worker, connection, idle_timeout);
                }
            }
        });
    }
}

/// Task that sends the rest of a request, aborted when dropped.
#[derive(Debug)]
struct SendTask(JoinHandle<Result<RequestWriter, RequestBodyError>>);

impl SendTask {
    fn start(mut writer: RequestWriter) -> Self {
        Self(tokio::spawn(async move {
            poll_fn(|cx| writer.poll_send(cx)).await?;
            Ok(writer)
        }))
    }
}

impl Drop for SendTask {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Reason why the body of a response ends early.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UpstreamBodyError {
    /// The rest of the request cannot be sent.
    #[error("the request body cannot be sent")]
    Request(#[from] RequestBodyError),
    /// The response is malformed or incomplete.
    #[error(transparent)]
    Response(#[from] ResponseError),
}
