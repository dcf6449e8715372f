//! The way to the service behind: streams, failures, connections used again.

use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::harness::{Setup, TestGateway, get, patiently, read_until, request, request_h2};
use crate::upstreams::{answering, read_request, scripted};

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

#[tokio::test]
async fn bodies_stream_both_ways() {
    // Answers with the first chunk before the second has been sent, and so on.
    let upstream = scripted(|_, mut stream| {
        let mut seen = String::new();
        let mut until = |wanted: &str, stream: &mut std::net::TcpStream| {
            while !seen.contains(wanted) {
                let mut some = [0; 1_024];
                let length = stream.read(&mut some).unwrap();
                seen.push_str(&String::from_utf8_lossy(&some[..length]));
            }
        };
        until("first", &mut stream);
        stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n6\r\necho 1\r\n").unwrap();
        until("second", &mut stream);
        stream.write_all(b"6\r\necho 2\r\n0\r\n\r\n").unwrap();
    });
    let gateway = Setup::in_front_of(upstream).start();
    let mut stream = gateway.connect(Some(&gateway.user()), &["http/1.1"]).await.unwrap();
    stream
        .write_all(b"POST /v1/x HTTP/1.1\r\nhost: g\r\ntransfer-encoding: chunked\r\n\r\n5\r\nfirst\r\n")
        .await
        .unwrap();
    read_until(&mut stream, "echo 1").await;
    stream.write_all(b"6\r\nsecond\r\n0\r\n\r\n").await.unwrap();
    read_until(&mut stream, "echo 2\r\n0\r\n\r\n").await;
    let line = gateway.line("request", |_| true);
    assert_eq!((&line["bytes_in"], &line["bytes_out"]), (&11.into(), &12.into()));
}

/// Neither side reads before it has written everything, but for the gateway.
#[tokio::test]
async fn a_body_is_sent_on_while_nobody_reads_the_response() {
    // More than fits into the buffers of both connections.
    const LENGTH: usize = 32 << 20;
    let upstream = scripted(|_, mut stream| {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        let mut writing = stream.try_clone().unwrap();
        let writer = std::thread::spawn(move || {
            writing
                .write_all(format!("HTTP/1.1 200 OK\r\ncontent-length: {LENGTH}\r\n\r\n").as_bytes())
                .unwrap();
            let _ = writing.write_all(&vec![b'd'; LENGTH]);
        });
        let mut body = vec![0; LENGTH];
        stream.read_exact(&mut body).unwrap();
        writer.join().unwrap();
    });
    let gateway = Setup::in_front_of(upstream).start();
    let mut stream = gateway.connect(Some(&gateway.user()), &["http/1.1"]).await.unwrap();
    let head = format!("POST /v1/x HTTP/1.1\r\nhost: g\r\ncontent-length: {LENGTH}\r\n\r\n");
    patiently(async {
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(&vec![b'u'; LENGTH]).await.unwrap();
        let seen = read_until(&mut stream, "\r\n\r\n").await;
        let (_, first) = seen.split_once("\r\n\r\n").unwrap();
        let mut body = vec![0; LENGTH - first.len()];
        stream.read_exact(&mut body).await.unwrap();
        assert!(body.iter().all(|byte| *byte == b'd'));
    })
    .await;
    let line = gateway.line("request", |_| true);
    assert_eq!((&line["bytes_in"], &line["bytes_out"]), (&LENGTH.into(), &LENGTH.into()));
}

#[tokio::test]
async fn an_upstream_that_is_not_there_is_502() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let gateway = Setup::in_front_of(closed).start();
    for answer in [
        gateway.get(&gateway.user(), "/v1/x").await,
        gateway.call_h2(&gateway.user(), request_h2("POST", "/v1/x", "hello")).await,
    ] {
        assert_eq!((answer.status.as_u16(), &answer.json()["code"]), (502, &"upstream.connect".into()));
    }
}

#[tokio::test]
async fn an_upstream_that_is_silent_is_504() {
    let (sender, held) = channel();
    let upstream = scripted(move |_, stream| sender.send(stream).unwrap());
    let setup = Setup { upstream_options: ", response_timeout: 1s", ..Setup::in_front_of(upstream) };
    let gateway = setup.start();
    let answer = gateway.call(&gateway.user(), request("POST", "/v1/x", "hello")).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["code"]), (504, &"upstream.response_timeout".into()));
    drop(held);
}

#[tokio::test]
async fn an_answer_that_could_be_read_in_two_ways_is_502() {
    for (answer, code) in [
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
            "upstream.ambiguous",
        ),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\nok", "upstream.ambiguous"),
        ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 2\r\n\r\nok", "upstream.ambiguous"),
        ("HTTP/1.1 200 OK\r\ncontent-length: 2, 2\r\n\r\nok", "upstream.ambiguous"),
        ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nok", "upstream.unreadable"),
        (
            "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n",
            "upstream.ambiguous",
        ),
        ("HTTP/1.1 2000 OK\r\n\r\n", "upstream.unreadable"),
        ("HTTP/1.1 200 OK\r\nx: a\r\n b\r\n\r\n", "upstream.unreadable"),
        ("nonsense\r\n\r\n", "upstream.unreadable"),
    ] {
        let (upstream, _requests) = answering(answer);
        let gateway = Setup::in_front_of(upstream).start();
        let seen = gateway.get(&gateway.user(), "/v1/x").await;
        assert_eq!((seen.status.as_u16(), &seen.json()["code"]), (502, &code.into()), "{answer:?}");
    }
}

#[tokio::test]
async fn what_an_upstream_says_unasked_answers_nobody() {
    // Each is followed by a second response, which must not become the next caller's.
    for first in [
        "HTTP/1.1 204 No Content\r\n\r\n",
        "HTTP/1.1 304 Not Modified\r\ncontent-length: 9\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    ] {
        let answer = format!("{first}HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nforged");
        let (upstream, _requests) = answering(answer.leak());
        let gateway = one_thread(Setup::in_front_of(upstream)).start();
        for _ in 0..5 {
            let seen = gateway.get(&gateway.user(), "/v1/x").await;
            assert!(seen.body.is_empty(), "{first:?}: {seen:?}");
        }
    }
    let (upstream, _requests) = answering(
        "HTTP/1.1 200 OK\r\ncontent-length: 40\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
    );
    let gateway = one_thread(Setup::in_front_of(upstream)).start();
    for method in ["HEAD", "GET", "HEAD", "GET"] {
        let seen = gateway.call(&gateway.user(), request(method, "/v1/x", "")).await;
        assert_ne!(seen.body, "ok", "{method}: {seen:?}");
    }
}

#[tokio::test]
async fn connections_are_used_again() {
    let connections = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&connections);
    let upstream = scripted(move |_, mut stream| {
        counted.fetch_add(1, Ordering::SeqCst);
        while read_request(&mut stream).is_some() {
            stream.write_all(OK.as_bytes()).unwrap();
        }
    });
    let gateway = one_thread(Setup::in_front_of(upstream)).start();
    for _ in 0..5 {
        assert_eq!(gateway.call(&gateway.user(), request("POST", "/v1/x", "hello")).await.body, "ok");
    }
    assert_eq!(connections.load(Ordering::SeqCst), 1);
}

/// With one worker there is one pool.
fn one_thread(setup: Setup) -> Setup {
    Setup { threads: 1, ..setup }
}

#[tokio::test]
async fn an_upstream_that_answers_early_is_not_used_again() {
    let connections = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&connections);
    let upstream = scripted(move |_, mut stream| {
        counted.fetch_add(1, Ordering::SeqCst);
        let mut some = [0; 1_024];
        while matches!(stream.read(&mut some), Ok(length) if length > 0) {
            if some.starts_with(b"POST") || some.starts_with(b"GET") {
                let _ = stream.write_all(OK.as_bytes());
            }
        }
    });
    let gateway = one_thread(Setup::in_front_of(upstream)).start();
    let user = gateway.user();
    let mut stream = gateway.connect(Some(&user), &["http/1.1"]).await.unwrap();
    stream.write_all(b"POST /v1/x HTTP/1.1\r\nhost: g\r\ncontent-length: 5\r\n\r\nhel").await.unwrap();
    read_until(&mut stream, "ok").await;
    assert_eq!(gateway.get(&user, "/v1/x").await.body, "ok");
    assert_eq!(connections.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_caller_who_goes_away_takes_the_upstream_request_along() {
    let (sender, ended) = channel();
    let upstream = scripted(move |_, mut stream| {
        read_request(&mut stream);
        stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n").unwrap();
        let mut some = [0; 1_024];
        while matches!(stream.read(&mut some), Ok(length) if length > 0) {}
        sender.send(()).unwrap();
    });
    let gateway = Setup::in_front_of(upstream).start();
    let mut stream = gateway.connect(Some(&gateway.user()), &["http/1.1"]).await.unwrap();
    stream.write_all(b"GET /v1/x HTTP/1.1\r\nhost: g\r\n\r\n").await.unwrap();
    read_until(&mut stream, "hello").await;
    drop(stream);
    ended.recv_timeout(crate::eventually::PATIENCE).unwrap();
    let line = gateway.line("request", |_| true);
    assert_eq!((&line["status"], &line["reason"]), (&200.into(), &"downstream.aborted".into()));
}

#[tokio::test]
async fn an_upstream_that_breaks_off_breaks_the_response_off() {
    let upstream = scripted(|_, mut stream| {
        read_request(&mut stream);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello");
    });
    let gateway = Setup::in_front_of(upstream).start();
    let answer = gateway.raw(&gateway.user(), "GET /v1/x HTTP/1.1\r\nhost: g\r\n\r\n").await;
    assert!(answer.ends_with("hello"), "{answer}");
    assert_eq!(gateway.line("request", |_| true)["reason"], "upstream.body");
}

#[tokio::test]
async fn a_dead_idle_connection_costs_no_request() {
    // Each connection answers once, says nothing of closing, and closes.
    let upstream = scripted(|_, mut stream| {
        read_request(&mut stream);
        let _ = stream.write_all(OK.as_bytes());
    });
    let gateway = one_thread(Setup::in_front_of(upstream)).start();
    let user = gateway.user();
    for _ in 0..20 {
        assert_eq!(gateway.call(&user, get("/v1/x")).await.status, 200);
    }
}

#[tokio::test]
async fn the_echo_service_says_what_it_got() {
    let gateway = TestGateway::start();
    let seen = gateway.call(&gateway.user(), request("PUT", "/v1/x/y?z", "text")).await.json();
    assert_eq!(
        (&seen["method"], &seen["path"], &seen["body"]),
        (&"PUT".into(), &"/v1/x/y?z".into(), &"text".into())
    );
}

/// NTLM and its like authenticate a connection (RFC 4559): whoever had it next would be taken for another.
#[tokio::test]
async fn r11_a_connection_that_is_one_callers_own_is_used_by_nobody_else() {
    for (authorization, challenge, shared) in [
        (None, None, true),
        (Some("Bearer NTLM"), Some("Bearer, Basic realm=\"ntlm\""), true),
        (Some("NTLM TlRMTVNTUAAB"), None, false),
        (Some("negotiate YII="), None, false),
        (None, Some("Negotiate"), false),
        (None, Some("Basic realm=\"x\", NTLM"), false),
    ] {
        let connections = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&connections);
        let upstream = scripted(move |_, mut stream| {
            counted.fetch_add(1, Ordering::SeqCst);
            while read_request(&mut stream).is_some() {
                let challenge = challenge.map(|it| format!("www-authenticate: {it}\r\n")).unwrap_or_default();
                let answer = format!("HTTP/1.1 401 Unauthorized\r\n{challenge}content-length: 2\r\n\r\nok");
                stream.write_all(answer.as_bytes()).unwrap();
            }
        });
        let gateway = one_thread(Setup::in_front_of(upstream)).start();
        for name in ["alice", "bob"] {
            let mut request = request("GET", "/v1/x", "");
            if let Some(value) = authorization {
                request.headers_mut().insert("authorization", value.parse().unwrap());
            }
            let answer = gateway.call(&gateway.cluster.leaf("api-user", name), request).await;
            assert_eq!((answer.status.as_u16(), &*answer.body), (401, b"ok".as_slice()));
        }
        let used = connections.load(Ordering::SeqCst);
        assert_eq!(used, if shared { 1 } else { 2 }, "{authorization:?}, {challenge:?}");
    }
}
