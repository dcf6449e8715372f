//! Streams of one HTTP/2 connection, which neither wait for each other nor end it.

use std::convert::Infallible;
use std::io::{Read, Write};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body::{Body, Frame};
use http_body_util::BodyExt;
use hyper_util::rt::{TokioExecutor, TokioIo};

use crate::harness::{Setup, patiently, request_h2};
use crate::upstreams::{read_request, scripted};

/// A body of a request: one that never ends, with the bytes that were taken of it, or a short one.
enum Upload {
    Endless(Arc<AtomicUsize>),
    Short(Option<Bytes>),
}

impl Body for Upload {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match &mut *self {
            Self::Endless(taken) => {
                let chunk = Bytes::from_static(&[b'x'; 16 << 10]);
                taken.fetch_add(chunk.len(), Ordering::SeqCst);
                Poll::Ready(Some(Ok(Frame::data(chunk))))
            }
            Self::Short(text) => Poll::Ready(text.take().map(|text| Ok(Frame::data(text)))),
        }
    }
}

fn upload(path: &str, body: Upload) -> Request<Upload> {
    Request::post(format!("https://gateway{path}")).body(body).unwrap()
}

#[tokio::test]
async fn uploads_that_stall_hold_up_no_other_request() {
    let upstream = scripted(|_, mut stream| {
        let mut first = [0; 10];
        stream.peek(&mut first).unwrap();
        if first.ends_with(b"stuc") {
            // Reads nothing until the gateway gives up.
            stream.set_read_timeout(None).unwrap();
            std::thread::park_timeout(Duration::from_secs(60));
            return;
        }
        while read_request(&mut stream).is_some() {
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").unwrap();
        }
    });
    let routes =
        "\n  - { path: \"/**\", methods: [GET, POST], allow: [{ role: api-user }], upstream: api }\n";
    let gateway = Setup { routes, ..Setup::in_front_of(upstream) }.start();
    let stream = gateway.connect(Some(&gateway.user()), &["h2"]).await.unwrap();
    let (mut calls, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let taken = Arc::new(AtomicUsize::new(0));
    for _ in 0..12 {
        tokio::spawn(calls.send_request(upload("/stuck", Upload::Endless(Arc::clone(&taken)))));
    }
    // All of them have come to a standstill once nothing more is taken for a while.
    let mut before = 0;
    while before == 0 || taken.load(Ordering::SeqCst) != before {
        before = taken.load(Ordering::SeqCst);
        let _ = tokio::time::timeout(Duration::from_millis(300), std::future::pending::<()>()).await;
    }
    for _ in 0..3 {
        let short = upload("/short", Upload::Short(Some(Bytes::from_static(b"hello"))));
        assert_eq!(patiently(calls.send_request(short)).await.unwrap().status(), 200);
    }
}

#[tokio::test]
async fn watches_that_a_caller_ends_cost_it_no_connection() {
    let upstream = scripted(|_, mut stream| {
        read_request(&mut stream);
        let head =
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
        stream.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        let mut sent = stream.write_all(head);
        while sent.is_ok() {
            sent = stream.write_all(b"9\r\ndata: x\n\n\r\n");
            let _ = stream.read(&mut [0]);
        }
    });
    let gateway = Setup::in_front_of(upstream).start();
    let (mut calls, connection) = gateway.open_h2(&gateway.user()).await;
    let watch = |number: usize| request_h2("GET", &format!("/v1/events/{number}"), "");
    let mut kept = patiently(calls.send_request(watch(0))).await.unwrap();
    for number in 1..=260 {
        let mut ended = patiently(calls.send_request(watch(number))).await.unwrap();
        patiently(ended.frame()).await.unwrap().unwrap();
    }
    patiently(kept.frame()).await.unwrap().unwrap();
    assert!(!connection.is_finished());
    assert!(gateway.lines().iter().all(|line| line["event"] != "connection_closed"));
}
