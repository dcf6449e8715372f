//! Explanation of one decision, step by step, without a connection. Each step calls the code that serves
//! connections and requests, and decides nothing itself.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use http::header::HOST;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri, Version};
use rustls_pki_types::CertificateDer;
use serde::Serialize;
use time::OffsetDateTime;

use crate::clock::{Clock, TimeTextError, parse_time, rfc3339};
use crate::error::{Coded, with_causes};
use crate::files::{self, SMALL_FILE};
use crate::gateway::config::{Config, TokenClients};
use crate::gateway::message::forwarding_rules::ForwardingRules;
use crate::gateway::message::framing::{self, RequestHost};
use crate::gateway::message::headers::{self, ConnectionFields};
use crate::gateway::message::hosts::AllowedHosts;
use crate::gateway::message::path::{PathError, RequestPath};
use crate::gateway::policy;
use crate::gateway::policy::{Decision, Methods, Policy, Verdict};
use crate::gateway::process::RunError;
use crate::gateway::process::load::{load_state, load_unguarded};
use crate::gateway::request::problem::RequestProblem;
use crate::gateway::request::well_known::Resource;
use crate::gateway::request::{service, token_check};
use crate::gateway::state::State;
use crate::gateway::tokens::TokenHolder;
use crate::mtls::{ClientCertificate, Listener, Peer, PeerError};
use crate::secret::Secret;
use crate::x509::{Certificate, SerialNumber, Sha256, pem};

/// Request to explain.
#[derive(Clone, Debug)]
pub struct Question {
    /// File with the caller's certificate, followed by its issuers; `None` for a client without one.
    pub certificate: Option<PathBuf>,
    /// File with the access token; `None` for a request without one.
    pub token: Option<PathBuf>,
    /// Method and target of the request.
    pub request: RequestLine,
    /// Time of the decision; now by default.
    pub at: Option<OffsetDateTime>,
    /// Address of the listener; by default the first that would accept the client.
    pub listener: Option<SocketAddr>,
    /// Address of the client.
    pub from: IpAddr,
    /// Set for a request with a body.
    pub body: bool,
}

/// Parse a time of the command line.
///
/// # Errors
/// [`TimeTextError`] with the accepted forms.
pub fn parse_moment(text: &str) -> Result<OffsetDateTime, TimeTextError> {
    parse_time(text)
}

/// Method, and path with query, as in `PUT /v1/nodes/7?x=1`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestLine {
    /// HTTP method; case-sensitive (RFC 9110, section 9.1).
    pub method: Method,
    /// Path with query, not validated yet.
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

/// Error of parsing a [`RequestLine`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a method and a path, such as `PUT /v1/nodes/7`")]
pub struct RequestLineError;

/// Explain the decision of a gateway with the configuration at `config` on `question`.
///
/// # Errors
/// [`RunError`] if the configuration, one of its files or the certificate cannot be read.
pub fn explain(config: &Path, question: &Question, clock: &Arc<dyn Clock>) -> Result<Explanation, RunError> {
    let config = load_unguarded(config)?;
    let state = load_state(&config, clock)?;
    let chain = question.certificate.as_deref().map(PresentedChain::read).transpose()?;
    let token = question.token.as_deref().map(files::read_private).transpose()?;
    let listener = listener(&config, question)?;
    let at = question.at.unwrap_or_else(|| clock.now());
    let mut explanation = Explanation {
        request: question.request.to_string(),
        at: rfc3339(at),
        listener: listener.address,
        certificate: chain.as_ref().and_then(PresentedChain::facts),
        steps: Vec::new(),
        identity: None,
        user: None,
        decision: "deny",
        code: None,
        status: None,
        rule: None,
        upstream: None,
        headers: Vec::new(),
        headers_of_each_request: Vec::new(),
        shadow: None,
    };
    if let Ok(peer) = explanation.handshake(&state, listener, chain.as_ref(), at) {
        explanation.identity = peer.as_ref().map(|peer| peer.identity.to_string());
        let user = explanation.token(&state, (listener, peer.as_deref()), token.as_ref(), at);
        if let Ok(user) = user {
            explanation.user = user.as_ref().map(|user| user.account.to_string());
            explanation.evaluate(&config, &state, (peer.as_deref(), user.as_deref()), question);
        }
    }
    Ok(explanation)
}

/// Certificates as a client presents them, read by the verifier only: an unreadable leaf is refused, and what issued
/// nothing has no consequence.
struct PresentedChain {
    leaf: CertificateDer<'static>,
    others: Vec<CertificateDer<'static>>,
}

impl PresentedChain {
    fn read(path: &Path) -> Result<Self, RunError> {
        let refused = |source| RunError::Certificate { path: path.to_owned(), source };
        let blocks =
            pem::blocks_of(pem::ObjectKind::Certificate, &files::read(path, SMALL_FILE)?).map_err(refused)?;
        let mut blocks = blocks.iter().map(|block| CertificateDer::from(block.der().to_vec()));
        let leaf = blocks.next().unwrap_or_else(|| Vec::new().into());
        Ok(Self { leaf, others: blocks.collect() })
    }

    /// Fields of the leaf, if it can be read.
    fn facts(&self) -> Option<CertificateFacts> {
        Certificate::from_der(&self.leaf).ok().as_ref().map(CertificateFacts::of)
    }
}

fn listener(config: &Config, question: &Question) -> Result<Listener, RunError> {
    let found = match question.listener {
        Some(address) => config.listen.iter().find(|listener| listener.address == address),
        None => {
            let open = |listener: &&Listener| {
                question.certificate.is_some()
                    || listener.client_certificate == ClientCertificate::Optional
                    || config.tokens.as_ref().is_some_and(|tokens| tokens.clients == TokenClients::Any)
            };
            config.listen.iter().find(open).or(config.listen.first())
        }
    };
    found.copied().ok_or(RunError::NoListener { address: question.listener })
}

/// Explanation of a decision.
#[derive(Debug, Serialize)]
pub struct Explanation {
    /// Method and target.
    pub request: String,
    /// Time of the decision.
    pub at: String,
    /// Address of the listener.
    pub listener: SocketAddr,
    /// Certificate of the client.
    pub certificate: Option<CertificateFacts>,
    /// Steps, in their order; the last one decides.
    pub steps: Vec<DecisionStep>,
    /// Identity of the caller.
    pub identity: Option<String>,
    /// User of the access token, with its organization and role.
    pub user: Option<String>,
    /// `permit` or `deny`.
    pub decision: &'static str,
    /// Code of the refusal.
    pub code: Option<&'static str>,
    /// HTTP status of the gateway; `None` if the handshake fails or the upstream answers.
    pub status: Option<u16>,
    /// Deciding rule.
    pub rule: Option<RuleFacts>,
    /// Name of the upstream.
    pub upstream: Option<String>,
    /// Headers added for the upstream.
    pub headers: Vec<(String, String)>,
    /// Further headers for the upstream, with a new value for each request.
    pub headers_of_each_request: Vec<&'static str>,
    /// Decision of the shadow policy, if it differs.
    pub shadow: Option<ShadowFacts>,
}

/// Fields of a certificate.
#[derive(Debug, Serialize)]
pub struct CertificateFacts {
    /// Subject, as a distinguished name.
    pub subject: String,
    /// Issuer, as a distinguished name.
    pub issuer: String,
    /// Serial number, in hexadecimal.
    pub serial_number: SerialNumber,
    /// SHA-256 of the DER.
    pub fingerprint: Sha256,
    /// Start of the validity.
    pub not_before: String,
    /// End of the validity.
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

/// Check of a decision, with its result.
#[derive(Debug, Serialize)]
pub struct DecisionStep {
    /// Name of the step.
    pub what: &'static str,
    /// Set if the step passed.
    pub good: bool,
    /// Result as text.
    pub finding: String,
}

/// Rule of a policy, as configured.
#[derive(Debug, Serialize)]
pub struct RuleFacts {
    /// Position in the file.
    pub rule: String,
    /// Path pattern.
    pub path: String,
    /// Methods, separated by commas.
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

/// Decision of the shadow policy.
#[derive(Debug, Serialize)]
pub struct ShadowFacts {
    /// `permit` or `deny`.
    pub decision: &'static str,
    /// Code of the refusal.
    pub code: Option<&'static str>,
    /// Deciding rule.
    pub rule: Option<RuleFacts>,
}

impl Explanation {
    /// Return true if the upstream or the gateway itself serves the request.
    #[must_use]
    pub fn is_permit(&self) -> bool {
        self.decision == "permit"
    }

    fn pass(&mut self, what: &'static str, finding: impl fmt::Display) {
        self.steps.push(DecisionStep { what, good: true, finding: finding.to_string() });
    }

    fn fail(&mut self, what: &'static str, code: &'static str, finding: impl fmt::Display) {
        self.code = Some(code);
        self.steps.push(DecisionStep { what, good: false, finding: finding.to_string() });
    }

    /// Verify the client certificate as in the handshake.
    fn handshake(
        &mut self,
        state: &State,
        listener: Listener,
        chain: Option<&PresentedChain>,
        at: OffsetDateTime,
    ) -> Result<Option<Arc<Peer>>, PeerError> {
        let Some(PresentedChain { leaf, others }) = chain else {
            return match listener.client_certificate {
                ClientCertificate::Optional => {
                    self.pass("chain", "no certificate, which this listener does not require");
                    Ok(None)
                }
                ClientCertificate::Required if accepts_any(state) => {
                    self.pass("chain", "no certificate, for which a token stands in");
                    Ok(None)
                }
                ClientCertificate::Required => {
                    self.fail("chain", PeerError::Missing.code(), PeerError::Missing);
                    Err(PeerError::Missing)
                }
            };
        };
        match state.verifier.verify_client(leaf, others, listener.identity_form, at) {
            Ok(peer) => {
                let until = rfc3339(peer.expires);
                self.pass("chain", format_args!("valid to anchor {} until {until}", peer.chain.anchor));
                self.pass("revocation", revocation(state, &peer));
                self.pass("identity", &peer.identity);
                Ok(Some(peer))
            }
            Err(error) => {
                let refused = with_causes(&error);
                match &error {
                    PeerError::CrlExpired { .. } | PeerError::NoCrl { .. } | PeerError::Revoked { .. } => {
                        self.pass("chain", "valid to the trust bundle");
                        self.fail("revocation", error.code(), refused);
                    }
                    PeerError::Identity(_) | PeerError::IssuerRole { .. } | PeerError::NotHeaderSafe => {
                        self.pass("chain", "valid to the trust bundle");
                        self.pass("revocation", "not revoked");
                        self.fail("identity", error.code(), refused);
                    }
                    _ => self.fail("chain", error.code(), refused),
                }
                Err(error)
            }
        }
    }

    /// Verify the access token as in a request of `peer` on a listener.
    fn token(
        &mut self,
        state: &State,
        (listener, peer): (Listener, Option<&Peer>),
        token: Option<&Secret>,
        at: OffsetDateTime,
    ) -> Result<Option<Arc<TokenHolder>>, ()> {
        let user = match (token, &state.tokens) {
            (Some(token), Some(tokens)) => {
                let text = std::str::from_utf8(token.expose()).unwrap_or_default().trim();
                match token_check::verified(tokens, 0, text, peer, at) {
                    Ok(user) => {
                        self.pass("token", format_args!("valid for {}", user.account));
                        Some(user)
                    }
                    Err(error) => {
                        self.status = Some(StatusCode::UNAUTHORIZED.as_u16());
                        self.fail("token", error.code(), error);
                        return Err(());
                    }
                }
            }
            (Some(_), None) => {
                self.pass("token", "not read, since this gateway accepts no tokens");
                None
            }
            (None, _) => None,
        };
        if peer.is_none() && user.is_none() && listener.client_certificate == ClientCertificate::Required {
            self.status = Some(StatusCode::UNAUTHORIZED.as_u16());
            self.fail("token", PeerError::Missing.code(), "neither a certificate nor a token was presented");
            return Err(());
        }
        Ok(user)
    }

    /// Evaluate the request of `peer` with the token of `user`.
    fn evaluate(
        &mut self,
        config: &Config,
        state: &State,
        (peer, user): (Option<&Peer>, Option<&TokenHolder>),
        question: &Question,
    ) {
        let RequestLine { method, target } = &question.request;
        let (host, path) = match self.target(state, method, target) {
            Ok(target) => target,
            Err(problem) => {
                self.status = Some(problem.status().as_u16());
                self.fail("request", problem.code(), problem);
                return;
            }
        };
        match target.contains('#') {
            true => self.pass("request", format_args!("the fragment is never sent: {path}")),
            false => self.pass("request", "the path is unambiguous"),
        }
        let caller = peer.map(|peer| &peer.identity);
        if policy::is_reserved(path.path()) {
            match Resource::requested(state, caller, method, path.path()) {
                Ok(_) => {
                    self.decision = "permit";
                    self.status = Some(StatusCode::OK.as_u16());
                    self.pass("resource", "served by the gateway itself");
                }
                Err(problem) => {
                    self.status = Some(problem.status().as_u16());
                    self.fail("resource", problem.code(), problem);
                }
            }
            return;
        }
        let content = question.body && !Methods::define_content(method);
        let subject = token_check::subject(peer, user);
        let decision = state.settings.policy.decide(subject, method, &path).for_content(content);
        let forwards = matches!(&decision, Decision::Permit(grant) if grant.token());
        let verdict = decision.verdict();
        self.decide(config, state, verdict);
        if let Verdict::Permit { .. } = verdict {
            let caller = peer.map(|peer| &peer.headers);
            let ForwardingRules { reserved, via } = &*state.settings.forwarding;
            let fields = ConnectionFields::new(caller, question.from);
            let mut sent = headers::to_upstream(&HeaderMap::new(), reserved, &host, fields);
            if let Some(via) = via {
                via.append_to(&mut sent, Version::HTTP_11);
            }
            if let Some(user) = user {
                user.fields().for_each(|(name, value)| drop(sent.insert(name, value.clone())));
            }
            let text = |value: &HeaderValue| value.to_str().unwrap_or_default().to_owned();
            self.headers = sent.iter().map(|(name, value)| (name.to_string(), text(value))).collect();
            if user.is_some() && forwards {
                self.headers.push(("authorization".to_owned(), "Bearer (the token)".to_owned()));
            }
            self.headers_of_each_request.push("x-request-id");
            if content {
                self.pass("content", "forwarded; the connection to the upstream is closed after it");
                self.headers.push(("connection".to_owned(), "close".to_owned()));
            }
            if config.assertion.is_some() && !subject.is_anonymous() {
                self.headers_of_each_request.push("x-cluster-assertion");
            }
        }
        self.shadow = shadow(state, verdict, |policy| {
            policy.decide(subject, method, &path).for_content(content).verdict()
        });
    }

    /// Host and path of a request for `target`, as a connection finds them. A target without a host gets the
    /// address of the listener.
    fn target(
        &self,
        state: &State,
        method: &Method,
        target: &str,
    ) -> Result<(RequestHost, RequestPath), RequestProblem> {
        let uri = Uri::try_from(target).map_err(|_| PathError::Malformed)?;
        let host = uri.authority().map_or_else(|| self.listener.to_string(), ToString::to_string);
        let request = Request::builder().method(method).uri(uri).header(HOST, host).body(());
        let (head, ()) = request.map_err(|_| PathError::Malformed)?.into_parts();
        let leaf = Arc::clone(&state.credentials.own.leaf);
        let hosts = AllowedHosts::new(None, leaf, Some(self.listener.ip()));
        let host = framing::check(&head, None)?;
        let path = service::addressed_path(&head, &host, &hosts)?;
        Ok((host, path))
    }

    fn decide(&mut self, config: &Config, state: &State, verdict: Verdict) {
        self.rule = RuleFacts::of(&state.settings.policy, &verdict);
        let by = self.rule.as_ref().map(|rule| format!("{}: {} for {}", rule.rule, rule.path, rule.methods));
        let by = by.unwrap_or_else(|| "no rule".to_owned());
        match verdict {
            Verdict::Permit { upstream, .. } => {
                self.decision = "permit";
                self.upstream = config.upstreams.get(upstream.0).map(|upstream| upstream.name.clone());
                self.pass("policy", by);
            }
            Verdict::Deny(denial) => {
                self.status = Some(RequestProblem::Denied(denial).status().as_u16());
                self.fail("policy", denial.reason.code(), format_args!("{by}: {}", denial.reason));
            }
        }
    }
}

/// True if a token stands in for a certificate.
fn accepts_any(state: &State) -> bool {
    state.tokens.as_ref().is_some_and(|tokens| tokens.clients == TokenClients::Any)
}

fn revocation(state: &State, peer: &Peer) -> String {
    let issuer = peer.chain.links.first().map(|link| &link.issuer);
    match state.verifier.crls().find(|crl| Some(&crl.issuer) == issuer) {
        Some(crl) => format!("not in CRL {}, which expires at {}", crl.number, rfc3339(crl.next_update)),
        None => "not checked: revocation is disabled".to_owned(),
    }
}

fn shadow(state: &State, verdict: Verdict, decide: impl FnOnce(&Policy) -> Verdict) -> Option<ShadowFacts> {
    let policy = state.settings.shadow.as_ref()?;
    let shadow = decide(policy);
    shadow.differs_from(&verdict).then(|| ShadowFacts {
        decision: shadow.as_str(),
        code: shadow.reason().map(|reason| reason.code()),
        rule: RuleFacts::of(policy, &shadow),
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
        for DecisionStep { what, good, finding } in &self.steps {
            writeln!(f, "  {what:<10} {}  {finding}", if *good { "ok  " } else { "FAIL" })?;
        }
        match self.status {
            Some(status) => writeln!(f, "response of the gateway: {status}")?,
            None if !self.is_permit() => writeln!(f, "the handshake fails: there is no response")?,
            None => {}
        }
        if let Some(upstream) = &self.upstream {
            writeln!(f, "forwarded to {upstream} with")?;
        }
        for (name, value) in &self.headers {
            writeln!(f, "  {name}: {value}")?;
        }
        for name in &self.headers_of_each_request {
            writeln!(f, "  {name}: (new for each request)")?;
        }
        if let Some(ShadowFacts { decision, rule, .. }) = &self.shadow {
            let by = rule.as_ref().map_or("no rule", |rule| rule.rule.as_str());
            writeln!(f, "shadow policy: {decision}, by {by}")?;
        }
        Ok(())
    }
}
