//! Responses that come to a standstill: a caller that does not take what is there, or an upstream that
//! falls silent in the middle. Either would hold a connection, and its buffers, for ever.
//!
//! An upstream is waited for with a timer, and its silence ends the one response. A caller cannot be
//! waited for, since nobody asks for more of a body that it does not take: the body notes in its session
//! that it waits, and the worker's sweep ends the connection.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Sleep, sleep};

use super::body::{BodyError, ResponseBody};
use super::connection::Connection;
use super::registry::Session;

/// The body of a response, watched for standstill.
#[derive(Debug)]
pub struct Paced {
    body: ResponseBody,
    session: Arc<Session>,
    patience: Duration,
    /// Whether it is the caller who has to take something.
    unread: bool,
    /// How long the upstream may be silent yet; `None` unless it is.
    silence: Option<Pin<Box<Sleep>>>,
}

impl Paced {
    /// Watches `body`, of a response on `connection`.
    #[must_use]
    pub fn new(body: ResponseBody, connection: &Connection) -> Self {
        let session = Arc::clone(&connection.session);
        let patience = connection.worker.gateway.limits.stall_timeout;
        // Its header has to be taken before anybody asks for the body.
        session.activity.response_waits();
        Self { body, session, patience, unread: true, silence: None }
    }

    fn set_unread(&mut self, unread: bool) {
        match (self.unread, unread) {
            (false, true) => self.session.activity.response_waits(),
            (true, false) => self.session.activity.response_taken(),
            (true, true) => self.session.activity.response_moves(),
            (false, false) => {}
        }
        self.unread = unread;
    }
}

impl Body for Paced {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        if let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(cx) {
            this.silence = None;
            this.set_unread(frame.is_some());
            return Poll::Ready(frame);
        }
        this.set_unread(false);
        let patience = this.patience;
        ready!(this.silence.get_or_insert_with(|| Box::pin(sleep(patience))).as_mut().poll(cx));
        this.body.fail("upstream.body_timeout");
        Poll::Ready(Some(Err(BodyError::Silent)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Paced {
    fn drop(&mut self) {
        self.set_unread(false);
    }
}
