//! The gateway's end of the admin socket.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::geteuid;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::time::{sleep, timeout};

use super::AdminSocket;
use crate::clock::rfc3339;
use crate::error::{Code, Coded};
use crate::gateway::admin::request::{LONGEST_REQUEST, Request};
use crate::gateway::control::changes::Trigger;
use crate::gateway::control::reload::Control;
use crate::gateway::control::status::Status;
use crate::gateway::sessions::command::{Command, CutReason};
use crate::gateway::sessions::session::Session;
use crate::gateway::shared::Phase;
use crate::identity::{Name, Role};
use crate::x509::SerialNumber;

/// How long one may take to ask, and to read the answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long the answer waits for the connections that it ends.
const CUT: Duration = Duration::from_secs(1);

/// How often it looks whether they have ended.
const LOOK: Duration = Duration::from_millis(1);

/// How long the answer to a reload waits for a key that a service opens; whoever asks waits longer.
const KEY_PATIENCE: Duration = Duration::from_secs(30);

/// How often it looks whether it has been.
const KEY_LOOK: Duration = Duration::from_millis(20);

/// How long accepting pauses when the system has no descriptor left.
const PAUSE: Duration = Duration::from_millis(100);

/// Answers until the gateway stops.
pub async fn run(control: Arc<Control>, socket: AdminSocket) {
    let mut phase = control.shared.phase.subscribe();
    tokio::select! {
        () = Phase::reached(Phase::Stopped, &mut phase) => {}
        Err(error) = accept(&control, &socket) => tracing::error!(%error, "the admin socket cannot be served"),
    }
}

async fn accept(control: &Arc<Control>, socket: &AdminSocket) -> io::Result<()> {
    let listener = UnixListener::from_std(socket.listener()?)?;
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            sleep(PAUSE).await;
            continue;
        };
        let control = Arc::clone(control);
        tokio::spawn(async move {
            // Whoever goes away in the middle does without the answer.
            let _ = converse(&control, stream).await;
        });
    }
}

async fn converse(control: &Arc<Control>, stream: UnixStream) -> io::Result<()> {
    let caller = stream.peer_cred()?.uid();
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    timeout(PATIENCE, (&mut stream).take(LONGEST_REQUEST).read_line(&mut line)).await??;
    let answer = if may_ask(caller, geteuid().as_raw()) {
        match serde_json::from_str(&line) {
            Ok(request) => answer(control, request).await,
            Err(error) => refused(Code::usage("admin.request"), &error.to_string(), &[]),
        }
    } else {
        refused(Code::refused("admin.not_allowed"), "the gateway answers its own user and root alone", &[])
    };
    let mut text = serde_json::to_vec(&answer)?;
    text.push(b'\n');
    timeout(PATIENCE, stream.write_all(&text)).await??;
    stream.shutdown().await
}

/// The mode of the socket says the same; this holds whatever became of that.
const fn may_ask(caller: u32, own: u32) -> bool {
    caller == own || caller == 0
}

async fn answer(control: &Arc<Control>, request: Request) -> Value {
    match request {
        Request::Close { serial_number } => match serial_number.parse() {
            Ok(serial_number) => done(&close(control, serial_number).await),
            Err(error) => refused(Code::usage("admin.request"), &error.to_string(), &[]),
        },
        Request::Rejected => done(&control.shared.telemetry.refused_handshakes.newest_first()),
        Request::Reload => reload(control).await,
        Request::Sessions => {
            let now = control.shared.clock.now();
            let sessions = control.shared.registry.sessions();
            done(&sessions.iter().map(|session| SessionLine::of(session, now)).collect::<Vec<_>>())
        }
        Request::Status => done(&Status::of(control)),
    }
}

async fn close(control: &Control, serial_number: SerialNumber) -> Closed {
    let verdict = |session: &Session| {
        if session.peer.as_ref().is_some_and(|peer| peer.serial_number == serial_number) {
            Command::Cut(CutReason::Operator)
        } else {
            Command::Serve
        }
    };
    let told = control.shared.clock.monotonic();
    let cut = control.shared.registry.sweep(told, verdict);
    while !cut.iter().all(|session| session.has_ended()) && control.shared.clock.monotonic() - told < CUT {
        sleep(LOOK).await;
    }
    tracing::info!(%serial_number, connections = cut.len(), "connections closed on the admin socket");
    Closed { serial_number, connections_closed: cut.len() }
}

/// Loads on a thread of its own: files may take their time.
async fn reload(control: &Arc<Control>) -> Value {
    let reloading = tokio::task::spawn_blocking({
        let control = Arc::clone(control);
        move || control.reload(Trigger::Admin)
    });
    match reloading.await {
        Ok(Ok(change)) if change.awaits_key => key_opened(control, change.cut.len()).await,
        Ok(Ok(change)) => done(&Reloaded {
            generation: change.state.generation,
            connections_cut: change.cut.len(),
            awaits_key: false,
            needs_restart: control.changes.needs_restart(),
        }),
        Ok(Err(error)) => refused(error.coded(), &error.to_string(), &error.causes()),
        Err(_) => refused(Code::environment("gateway.internal"), "the gateway failed", &[]),
    }
}

/// Waits for a key that is being opened, within reason: everything else has changed already.
async fn key_opened(control: &Control, connections_cut: usize) -> Value {
    let opened = async {
        while control.changes.awaits_key() {
            sleep(KEY_LOOK).await;
        }
    };
    let awaits_key = timeout(KEY_PATIENCE, opened).await.is_err();
    // Asked of the key and not of the last reload: any other may have found it, and a newer one have begun.
    match control.changes.key_failure() {
        Some((code, message)) => refused(code, &message, &[]),
        None => {
            let generation = control.shared.state.load().generation;
            let needs_restart = control.changes.needs_restart();
            done(&Reloaded { generation, connections_cut, awaits_key, needs_restart })
        }
    }
}

fn done(result: &impl Serialize) -> Value {
    json!({ "ok": true, "result": result })
}

fn refused(code: Code, message: &str, causes: &[String]) -> Value {
    let class = code.class();
    json!({ "ok": false, "error": { "code": code, "class": class, "message": message, "causes": causes } })
}

#[derive(Serialize)]
struct Closed {
    serial_number: SerialNumber,
    connections_closed: usize,
}

#[derive(Serialize)]
struct Reloaded {
    generation: u64,
    connections_cut: usize,
    /// Whether a key is being opened still, and the certificate before it stays until then.
    awaits_key: bool,
    /// The keys of the configuration that only a restart can follow.
    needs_restart: Vec<&'static str>,
}

/// One open connection.
#[derive(Serialize)]
struct SessionLine<'a> {
    session: u64,
    remote: String,
    /// Who is at the other end; nobody knows of a caller without a certificate.
    #[serde(flatten)]
    caller: Option<CallerFields<'a>>,
    tls_version: &'static str,
    alpn: &'static str,
    resumed: bool,
    /// Since it was opened.
    seconds_open: u64,
    requests_running: u32,
}

#[derive(Serialize)]
struct CallerFields<'a> {
    role: Role,
    name: &'a Name,
    serial_number: SerialNumber,
    /// The last second in which its certificate and every issuer of it hold.
    expires: String,
    /// Until then.
    seconds_left: i64,
}

impl<'a> SessionLine<'a> {
    fn of(session: &'a Session, now: time::OffsetDateTime) -> Self {
        let caller = session.peer.as_ref().map(|peer| CallerFields {
            role: peer.identity.role,
            name: &peer.identity.name,
            serial_number: peer.serial_number,
            expires: rfc3339(peer.expires),
            seconds_left: (peer.expires - now).whole_seconds(),
        });
        Self {
            session: session.id,
            remote: session.remote.to_string(),
            caller,
            tls_version: session.tls_version,
            alpn: session.protocol.as_str(),
            resumed: session.resumed,
            seconds_open: session.activity.age().as_secs(),
            requests_running: session.activity.in_flight(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_own_user_and_root_may_ask_and_nobody_else() {
        assert!(may_ask(1_000, 1_000) && may_ask(0, 1_000) && may_ask(0, 0));
        assert!(!may_ask(1_001, 1_000) && !may_ask(1_000, 0));
    }
}
