//! Check of the access token of a request (RFC 6750): its user, or the reason for refusing it.
//!
//! A token counts once it is presented: a wrong one refuses the request, whatever the client certificate permits. On a
//! listener that requires a certificate, a client without one needs a token, even where a route allows `anyone`.

use std::sync::Arc;

use http::header::{AUTHORIZATION, HeaderMap, HeaderValue};

use crate::gateway::config::TokenClients;
use crate::gateway::policy::{Denial, Subject};
use crate::gateway::request::context::ConnectionContext;
use crate::gateway::request::problem::RequestProblem;
use crate::gateway::state::{State, TokenState};
use crate::gateway::telemetry::request_record::RequestRecord;
use crate::gateway::tokens::TokenHolder;
use crate::mtls::Peer;
use crate::tokens::TokenError;

/// Authentication scheme of tokens.
const SCHEME: &str = "Bearer";

/// User of a request on `connection` with the header `headers`; `None` without a token. Recorded in `record`.
///
/// # Errors
/// [`RequestProblem`] for a token that is refused, and for a client without a token that has no certificate where one
/// is required.
pub fn user(
    connection: &ConnectionContext,
    headers: &HeaderMap,
    record: &mut RequestRecord,
) -> Result<Option<Arc<TokenHolder>>, RequestProblem> {
    let state = connection.worker.gateway.state.load();
    let peer = connection.session.peer.as_deref();
    let user = match &state.tokens {
        Some(tokens) => holder(connection, &state, tokens, headers, peer)?,
        None => None,
    };
    if let Some(user) = &user {
        record.has_user(user);
    }
    let stands_in = || state.tokens.as_ref().is_some_and(|tokens| tokens.clients == TokenClients::Any);
    let may_call = peer.is_some() || !connection.requires_certificate || (user.is_some() && stands_in());
    if may_call { Ok(user) } else { Err(RequestProblem::Denied(Denial::NO_CERTIFICATE)) }
}

/// Caller of a request, for the policy.
pub fn subject<'a>(peer: Option<&'a Peer>, user: Option<&'a TokenHolder>) -> Subject<'a> {
    Subject { certificate: peer.map(|peer| &peer.identity), user: user.map(|user| &user.account) }
}

/// Check whether the user of a request in flight may go on under `state`.
///
/// # Errors
/// [`TokenError`] for a token that is revoked, or whose key is no longer accepted.
pub fn recheck(state: &State, user: &TokenHolder) -> Result<(), TokenError> {
    state.tokens.as_ref().ok_or(TokenError::Statement)?.judge()?.check_revocation(user)
}

fn holder(
    connection: &ConnectionContext,
    state: &State,
    tokens: &TokenState,
    headers: &HeaderMap,
    peer: Option<&Peer>,
) -> Result<Option<Arc<TokenHolder>>, RequestProblem> {
    let Some(authorization) = headers.get(AUTHORIZATION) else { return Ok(None) };
    let now = connection.worker.gateway.clock.now();
    if headers.get_all(AUTHORIZATION).iter().nth(1).is_some() {
        return Err(RequestProblem::SeveralCredentials);
    }
    if let Some(known) = connection.last_token.get(authorization, state.generation) {
        known.token.claims.check_time(now).map_err(RequestProblem::Token)?;
        tokens.judge().and_then(|judge| judge.check_end(now)).map_err(RequestProblem::Token)?;
        return Ok(Some(known));
    }
    let Some(token) = bearer(authorization)? else { return Ok(None) };
    let holder =
        verified(tokens, connection.worker.index, token, peer, now).map_err(RequestProblem::Token)?;
    connection.last_token.keep(authorization, state.generation, &holder);
    Ok(Some(holder))
}

/// User of `token`, presented by `peer`.
///
/// # Errors
/// [`TokenError`] with the violated rule.
pub fn verified(
    tokens: &TokenState,
    worker: usize,
    token: &str,
    peer: Option<&Peer>,
    at: time::OffsetDateTime,
) -> Result<Arc<TokenHolder>, TokenError> {
    let holder = tokens.judge()?.holder(worker, token, at)?;
    let claims = &holder.token.claims;
    if claims.cnf.is_some() {
        claims.check_certificate(peer.map(|peer| peer.chain.leaf.fingerprint()))?;
    }
    Ok(holder)
}

/// Token in a value of `Authorization`; `None` for another scheme, which is the upstream's.
fn bearer(authorization: &HeaderValue) -> Result<Option<&str>, RequestProblem> {
    let bytes = authorization.as_bytes();
    let (scheme, rest) = bytes.split_at_checked(SCHEME.len()).unwrap_or_default();
    if !scheme.eq_ignore_ascii_case(SCHEME.as_bytes()) {
        return Ok(None);
    }
    match rest.first() {
        // Another scheme that begins with the same letters.
        Some(next) if *next != b' ' && *next != b'\t' => Ok(None),
        _ => {
            let token = std::str::from_utf8(rest.trim_ascii()).map_err(|_| TokenError::Malformed);
            token.map(Some).map_err(RequestProblem::Token)
        }
    }
}
