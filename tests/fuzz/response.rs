//! Responses of upstreams: what the gateway reads of them is what hyper's client reads, or the gateway refuses them.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use bytes::{Bytes, BytesMut};
use cluster_ca::gateway::message::headers::to_downstream;
use cluster_ca::gateway::message::reserved_headers::ReservedHeaders;
use cluster_ca::gateway::upstream::body_decoder::{BodyDecoder, Decoded};
use cluster_ca::gateway::upstream::response_error::ResponseError;
use cluster_ca::gateway::upstream::response_head::{HeadReader, ReceivedHead, ResponseContext};
use http::{HeaderMap, Method, Request};
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::runtime::Runtime;

/// Most fields of a response: the default of both.
const MOST_FIELDS: usize = 100;

/// A response that was read to its end.
#[derive(Debug, PartialEq)]
struct Response {
    status: u16,
    headers: HeaderMap,
    body: Vec<u8>,
    trailers: HeaderMap,
}

pub(crate) fn target(bytes: &[u8]) {
    let reserved = ReservedHeaders::default();
    for method in [Method::GET, Method::HEAD] {
        let context = ResponseContext {
            is_head: method == Method::HEAD,
            most_fields: MOST_FIELDS,
            reserved: &reserved,
        };
        let ours = read(bytes, bytes.len().max(1), &context);
        for size in [1, 7, bytes.len() / 2 + 1] {
            let parts = read(bytes, size, &context);
            assert_eq!(ours.as_ref().ok(), parts.as_ref().ok(), "in parts of {size} bytes");
        }
        let theirs = read_with_hyper(bytes, &method);
        match (&ours, &theirs) {
            (Ok(ours), theirs) => assert_eq!(Some(ours), theirs.as_ref(), "hyper reads something else"),
            // Explicit refusals may be stricter.
            (Err(ResponseError::Incomplete), theirs) => assert_eq!(theirs.as_ref(), None, "hyper reads more"),
            (Err(_), _) => {}
        }
    }
}

/// Reads a response that comes in parts of `size` bytes.
fn read(bytes: &[u8], size: usize, context: &ResponseContext<'_>) -> Result<Response, ResponseError> {
    let mut parts = bytes.chunks(size);
    let (mut heads, mut buffer) = (HeadReader::default(), BytesMut::new());
    let head = loop {
        match heads.read(&mut buffer, context)? {
            Some(ReceivedHead::Interim(_)) => {}
            Some(ReceivedHead::Final(head)) => break head,
            None => buffer.extend_from_slice(parts.next().ok_or(ResponseError::Incomplete)?),
        }
    };
    let mut decoder = BodyDecoder::new(head.framing);
    let (mut body, mut trailers) = (Vec::new(), HeaderMap::new());
    while !decoder.has_ended() {
        match decoder.decode(&mut buffer)? {
            Decoded::Data(data) => body.extend_from_slice(&data),
            Decoded::Trailers(fields) => trailers = fields,
            Decoded::End => break,
            Decoded::More => match parts.next() {
                Some(part) => buffer.extend_from_slice(part),
                None => decoder.end_of_connection()?,
            },
        }
    }
    Ok(Response { status: head.status.as_u16(), headers: head.headers, body, trailers })
}

/// The same with hyper; `None` if it refuses the response, or finds no end.
fn read_with_hyper(bytes: &[u8], method: &Method) -> Option<Response> {
    thread_local! {
        static RUNTIME: RefCell<Runtime> =
            RefCell::new(tokio::runtime::Builder::new_current_thread().build().unwrap());
    }
    let stream = Answering { bytes: Bytes::copy_from_slice(bytes), asked: false, reader: None };
    RUNTIME.with_borrow_mut(|runtime| {
        runtime.block_on(async {
            let (mut sender, connection) =
                hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
            let driver = tokio::spawn(connection.with_upgrades());
            let request = Request::builder().method(method).uri("/").header("host", "g");
            let response = sender.send_request(request.body(Empty::<Bytes>::new()).unwrap()).await.ok();
            let read = match response {
                Some(response) => {
                    let (head, body) = response.into_parts();
                    let (status, mut headers) = (head.status.as_u16(), head.headers);
                    if status != 101 {
                        to_downstream(&mut headers, &ReservedHeaders::default());
                    }
                    body.collect().await.ok().map(|body| {
                        let trailers = body.trailers().cloned().unwrap_or_default();
                        Response { status, headers, body: body.to_bytes().to_vec(), trailers }
                    })
                }
                None => None,
            };
            driver.abort();
            read
        })
    })
}

/// A stream that answers the first write with these bytes, and ends.
struct Answering {
    bytes: Bytes,
    asked: bool,
    reader: Option<Waker>,
}

impl AsyncRead for Answering {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.asked {
            self.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let length = self.bytes.len().min(buffer.remaining());
        buffer.put_slice(&self.bytes.split_to(length));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Answering {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.asked = true;
        self.reader.take().into_iter().for_each(Waker::wake);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
