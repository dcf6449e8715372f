//! One decision, step by step, without a connection: what the gateway would make of a certificate and a
//! request. Nothing is decided here; each step asks what a connection and a request would ask.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use http::header::HOST;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri};
use serde::Serialize;
use time::OffsetDateTime;

use crate::clock::{Clock, TimeTextError, parse_time, rfc3339};
use crate::error::{Coded, with_causes};
use crate::files::{self, SMALL_FILE};
use crate::gateway::config::Config;
use crate::gateway::message::framing::RequestHost;
use crate::gateway::message::headers::{self, AddressHeaders};
use crate::gateway::message::hosts::AllowedHosts;
use crate::gateway::message::path::{PathError, RequestPath};
use crate::gateway::policy;
use crate::gateway::policy::{Policy, Verdict};
use crate::gateway::process::RunError;
use crate::gateway::process::load::{load_state, load_to_ask};
use crate::gateway::request::problem::Problem;
use crate::gateway::request::service;
use crate::gateway::request::well_known::Resource;
use crate::gateway::state::State;
use crate::identity::Identity;
use crate::mtls::{ClientCertificate, Listener, Peer, PeerError};
use crate::x509::{Certificate, SerialNumber, Sha256, pem};

/// Who asks for what, where and when.
#[derive(Clone, Debug)]
pub struct Question {
    /// The file of the caller's certificate, its issuers after it; `None` for a caller without one.
    pub certificate: Option<PathBuf>,
    /// What it asks for.
    pub request: RequestLine,
    /// When; now, unless given.
    pub at: Option<OffsetDateTime>,
    /// The listener that it calls; without it, the first that would let it in.
    pub listener: Option<SocketAddr>,
    /// The address that it calls from.
    pub from: IpAddr,
}

/// Reads a moment as people write it.
///
/// # Errors
/// [`TimeTextError`] saying what was expected.
pub fn moment(text: &str) -> Result<OffsetDateTime, TimeTextError> {
    parse_time(text)
}

/// A method and a path with its query, as in `PUT /v1/nodes/7?x=1`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestLine {
    /// The method.
    pub method: Method,
    /// The path with its query, not judged yet.
    pub target: String,
}

impl FromStr for RequestLine {
    type Err = RequestLineError;

    fn from_str(text: &str) -> Result<Self, RequestLineError> {
        let (method, target) = text.split_once(' ').ok_or(RequestLineError)?;
        let method = method.parse().map_err(|_| RequestLineError)?;
        Ok(Self { method, target: target.to_owned() })
    }
}

impl fmt::Display for RequestLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, self.target.escape_default())
    }
}

/// A text is not a [`RequestLine`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a method and a path were expected, such as `PUT /v1/nodes/7`")]
pub struct RequestLineError;

/// Explains what the gateway with the configuration in `config` makes of `question`.
///
/// # Errors
/// [`RunError`] when there is no such gateway, or when the certificate cannot be read.
pub fn explain(config: &Path, question: &Question, clock: &Arc<dyn Clock>) -> Result<Explanation, RunError> {
    let config = load_to_ask(config)?;
    let state = load_state(&config, clock)?;
    let chain = question.certificate.as_deref().map(read_chain).transpose()?;
    let listener = listener(&config, question)?;
    let at = question.at.unwrap_or_else(|| clock.now());
    let mut explanation = Explanation {
        request: question.request.to_string(),
        at: rfc3339(at),
        listener: listener.address,
        certificate: chain.as_deref().and_then(<[_]>::first).map(CertificateFacts::of),
        steps: Vec::new(),
        identity: None,
        decision: "deny",
        code: None,
        status: None,
        rule: None,
        upstream: None,
        headers: Vec::new(),
        headers_of_each_request: Vec::new(),
        shadow: None,
    };
    if let Ok(peer) = explanation.handshake(&state, listener, chain.as_deref(), at) {
        explanation.identity = peer.as_ref().map(|peer| peer.identity.to_string());
        explanation.ask(&config, &state, peer.as_deref(), question);
    }
    Ok(explanation)
}

fn read_chain(path: &Path) -> Result<Vec<Certificate>, RunError> {
    pem::certificates(&files::read(path, SMALL_FILE)?)
        .map_err(|source| RunError::Certificate { path: path.to_owned(), source })
}

fn listener(config: &Config, question: &Question) -> Result<Listener, RunError> {
    let found = match question.listener {
        Some(address) => config.listen.iter().find(|listener| listener.address == address),
        None => {
            let open = |listener: &&Listener| {
                question.certificate.is_some() || listener.client_certificate == ClientCertificate::Optional
            };
            config.listen.iter().find(open).or(config.listen.first())
        }
    };
    found.copied().ok_or(RunError::NoListener { address: question.listener })
}

/// What the gateway makes of one certificate and one request.
#[derive(Debug, Serialize)]
pub struct Explanation {
    /// What is asked for.
    pub request: String,
    /// When.
    pub at: String,
    /// Where.
    pub listener: SocketAddr,
    /// The caller's certificate.
    pub certificate: Option<CertificateFacts>,
    /// What was looked at, in this order; the last one decides.
    pub steps: Vec<Step>,
    /// Who the caller is.
    pub identity: Option<String>,
    /// `permit` or `deny`.
    pub decision: &'static str,
    /// Why not.
    pub code: Option<&'static str>,
    /// The status that answers the request; none where the handshake fails, or the service behind answers.
    pub status: Option<u16>,
    /// The rule that decides.
    pub rule: Option<RuleFacts>,
    /// Where the request goes.
    pub upstream: Option<String>,
    /// What the service behind is told, beside what the caller sends.
    pub headers: Vec<(String, String)>,
    /// The headers that it is sent too, and whose values are made for each request.
    pub headers_of_each_request: Vec<&'static str>,
    /// What the policy that is tried would do, where that is something else.
    pub shadow: Option<ShadowFacts>,
}

/// What is to be known of a certificate.
#[derive(Debug, Serialize)]
pub struct CertificateFacts {
    /// Whose it is, as a distinguished name.
    pub subject: String,
    /// Who signed it, as it says.
    pub issuer: String,
    /// Its serial number.
    pub serial_number: SerialNumber,
    /// SHA-256 of its DER.
    pub fingerprint: Sha256,
    /// From when it holds.
    pub not_before: String,
    /// Until when.
    pub not_after: String,
}

impl CertificateFacts {
    fn of(certificate: &Certificate) -> Self {
        Self {
            subject: certificate.subject.to_string(),
            issuer: certificate.issuer.to_string(),
            serial_number: certificate.serial_number,
            fingerprint: certificate.fingerprint(),
            not_before: rfc3339(certificate.not_before),
            not_after: rfc3339(certificate.not_after),
        }
    }
}

/// Something that was looked at.
#[derive(Debug, Serialize)]
pub struct Step {
    /// What.
    pub what: &'static str,
    /// Whether it was found good.
    pub good: bool,
    /// What was found.
    pub finding: String,
}

/// A rule, as it was written.
#[derive(Debug, Serialize)]
pub struct RuleFacts {
    /// Its place in the file.
    pub rule: String,
    /// Its paths.
    pub path: String,
    /// Its methods.
    pub methods: String,
}

impl RuleFacts {
    fn of(policy: &Policy, verdict: &Verdict) -> Option<Self> {
        let rule = verdict.rule()?;
        let route = policy.route(rule)?;
        Some(Self {
            rule: rule.to_string(),
            path: route.path.to_string(),
            methods: route.methods.to_string(),
        })
    }
}

/// What the policy that is tried would do.
#[derive(Debug, Serialize)]
pub struct ShadowFacts {
    /// `permit` or `deny`.
    pub decision: &'static str,
    /// Why not.
    pub code: Option<&'static str>,
    /// The rule that would decide.
    pub rule: Option<RuleFacts>,
}

impl Explanation {
    /// Whether the request is answered as it asks, by the service behind or the gateway itself.
    #[must_use]
    pub fn is_permit(&self) -> bool {
        self.decision == "permit"
    }

    fn good(&mut self, what: &'static str, finding: impl fmt::Display) {
        self.steps.push(Step { what, good: true, finding: finding.to_string() });
    }

    fn bad(&mut self, what: &'static str, code: &'static str, finding: impl fmt::Display) {
        self.code = Some(code);
        self.steps.push(Step { what, good: false, finding: finding.to_string() });
    }

    /// What the verifier says in the handshake.
    fn handshake(
        &mut self,
        state: &State,
        listener: Listener,
        chain: Option<&[Certificate]>,
        at: OffsetDateTime,
    ) -> Result<Option<Arc<Peer>>, PeerError> {
        let Some((leaf, intermediates)) = chain.and_then(<[_]>::split_first) else {
            return match listener.client_certificate {
                ClientCertificate::Optional => {
                    self.good("chain", "no certificate, and none is demanded here");
                    Ok(None)
                }
                ClientCertificate::Required => {
                    self.bad("chain", PeerError::Missing.code(), PeerError::Missing);
                    Err(PeerError::Missing)
                }
            };
        };
        let intermediates: Vec<_> = intermediates.iter().map(|certificate| certificate.der.clone()).collect();
        match state.verifier.verify_client(&leaf.der, &intermediates, listener.identity_form, at) {
            Ok(peer) => {
                let until = rfc3339(peer.expires);
                self.good("chain", format_args!("to anchor {}, until {until}", peer.chain.anchor));
                self.good("revocation", revocation(state, &peer));
                self.good("identity", &peer.identity);
                Ok(Some(peer))
            }
            Err(error) => {
                let refused = with_causes(&error);
                match &error {
                    PeerError::CrlExpired { .. } | PeerError::NoCrl { .. } | PeerError::Revoked { .. } => {
                        self.good("chain", "to the trust bundle");
                        self.bad("revocation", error.code(), refused);
                    }
                    PeerError::Identity(_) | PeerError::IssuerRole { .. } | PeerError::NotHeaderSafe => {
                        self.good("chain", "to the trust bundle");
                        self.good("revocation", "not revoked");
                        self.bad("identity", error.code(), refused);
                    }
                    _ => self.bad("chain", error.code(), refused),
                }
                Err(error)
            }
        }
    }

    /// What a request of `peer` meets.
    fn ask(&mut self, config: &Config, state: &State, peer: Option<&Peer>, question: &Question) {
        let RequestLine { method, target } = &question.request;
        let (host, path) = match self.target(state, method, target) {
            Ok(sound) => sound,
            Err(problem) => {
                self.status = Some(problem.status().as_u16());
                self.bad("request", problem.code(), problem);
                return;
            }
        };
        match target.contains('#') {
            true => self.good("request", format_args!("without its fragment, which is for nobody: {path}")),
            false => self.good("request", "its path can be read in one way only"),
        }
        let caller = peer.map(|peer| &peer.identity);
        if policy::is_reserved(path.path()) {
            match Resource::requested(state, caller, method, path.path()) {
                Ok(_) => {
                    self.decision = "permit";
                    self.status = Some(StatusCode::OK.as_u16());
                    self.good("resource", "the gateway itself answers here");
                }
                Err(problem) => {
                    self.status = Some(problem.status().as_u16());
                    self.bad("resource", problem.code(), problem);
                }
            }
            return;
        }
        let verdict = state.settings.policy.decide(caller, method, &path).verdict();
        self.decide(config, state, verdict);
        if let Verdict::Permit { .. } = verdict {
            let mut sent = HeaderMap::new();
            let caller = peer.map(|peer| &peer.headers);
            headers::to_upstream(&mut sent, &host, caller, &AddressHeaders::new(question.from));
            let text = |value: &HeaderValue| value.to_str().unwrap_or_default().to_owned();
            self.headers = sent.iter().map(|(name, value)| (name.to_string(), text(value))).collect();
            self.headers_of_each_request.push("x-request-id");
            if config.assertion.is_some() && caller.is_some() {
                self.headers_of_each_request.push("x-cluster-assertion");
            }
        }
        self.shadow = shadow(state, caller, method, &path, verdict);
    }

    /// The host and the path that a request for `target` is for, as a connection finds them: where the target
    /// names no host, it is for the listener.
    fn target(
        &self,
        state: &State,
        method: &Method,
        target: &str,
    ) -> Result<(RequestHost, RequestPath), Problem> {
        let uri = Uri::try_from(target).map_err(|_| PathError::Malformed)?;
        let host = uri.authority().map_or_else(|| self.listener.to_string(), ToString::to_string);
        let request = Request::builder().method(method).uri(uri).header(HOST, host).body(());
        let (head, ()) = request.map_err(|_| PathError::Malformed)?.into_parts();
        let leaf = Arc::clone(&state.credentials.own.leaf);
        service::target(&head, &AllowedHosts::Ours { leaf, local: Some(self.listener.ip()) })
    }

    fn decide(&mut self, config: &Config, state: &State, verdict: Verdict) {
        self.rule = RuleFacts::of(&state.settings.policy, &verdict);
        let by = self.rule.as_ref().map(|rule| format!("{}: {} for {}", rule.rule, rule.path, rule.methods));
        let by = by.unwrap_or_else(|| "no rule".to_owned());
        match verdict {
            Verdict::Permit { upstream, .. } => {
                self.decision = "permit";
                self.upstream = config.upstreams.get(upstream.0).map(|upstream| upstream.name.clone());
                self.good("policy", by);
            }
            Verdict::Deny(denial) => {
                self.status = Some(Problem::Denied(denial).status().as_u16());
                self.bad("policy", denial.reason.code(), format_args!("{by}: {}", denial.reason));
            }
        }
    }
}

fn revocation(state: &State, peer: &Peer) -> String {
    let issuer = peer.chain.links.first().map(|link| &link.issuer);
    match state.verifier.crls().find(|crl| Some(&crl.issuer) == issuer) {
        Some(crl) => format!("not in CRL {}, which holds until {}", crl.number, rfc3339(crl.next_update)),
        None => "not looked at: revocation is disabled".to_owned(),
    }
}

fn shadow(
    state: &State,
    caller: Option<&Identity>,
    method: &Method,
    path: &RequestPath,
    verdict: Verdict,
) -> Option<ShadowFacts> {
    let policy = state.settings.shadow.as_ref()?;
    let tried = policy.decide(caller, method, path).verdict();
    tried.differs_from(&verdict).then(|| ShadowFacts {
        decision: tried.as_str(),
        code: tried.reason().map(|reason| reason.code()),
        rule: RuleFacts::of(policy, &tried),
    })
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.code {
            None => writeln!(f, "{}: {}", self.decision, self.request)?,
            Some(code) => writeln!(f, "{} ({code}): {}", self.decision, self.request)?,
        }
        writeln!(f, "at {}, on {}", self.at, self.listener)?;
        if let Some(certificate) = &self.certificate {
            writeln!(f, "certificate {} of {}", certificate.serial_number, certificate.subject)?;
        }
        for Step { what, good, finding } in &self.steps {
            writeln!(f, "  {what:<10} {}  {finding}", if *good { "good" } else { "BAD " })?;
        }
        match self.status {
            Some(status) => writeln!(f, "the gateway answers {status}")?,
            None if !self.is_permit() => writeln!(f, "the handshake fails, and nothing is answered")?,
            None => {}
        }
        if let Some(upstream) = &self.upstream {
            writeln!(f, "sent to {upstream} with")?;
        }
        for (name, value) in &self.headers {
            writeln!(f, "  {name}: {value}")?;
        }
        for name in &self.headers_of_each_request {
            writeln!(f, "  {name}: (made for each request)")?;
        }
        if let Some(ShadowFacts { decision, rule, .. }) = &self.shadow {
            let by = rule.as_ref().map_or("no rule", |rule| rule.rule.as_str());
            writeln!(f, "the policy that is tried would {decision} it, by {by}")?;
        }
        Ok(())
    }
}
