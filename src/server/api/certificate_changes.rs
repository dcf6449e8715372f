//! `certificates`: issue, renew, revoke, suspend, and lift a hold.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Extension, Path, State};
use axum::response::Response;
use http::StatusCode;
use http::header::HeaderMap;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::caller::RequestContext;
use super::certificate_body::CertificateBody;
use super::extract::{bad_body, body, json, respond, target};
use super::idempotent::{StoredResult, once};
use super::precondition::{check, etag, if_match};
use super::problem::Problem;
use crate::ca::{
    Authority, Cluster, IssueRequest, PublishedCrl, RecoveryOutcome, Renewal, RenewedKey, SubjectKey, Target,
    random_uuid,
};
use crate::clock::{parse_duration, rfc3339};
use crate::identity::{Host, Name, NameSyntax, Role};
use crate::profile::ProfileSet;
use crate::revocation::RevocationReason;
use crate::server::shared::ServerShared;
use crate::store::Record;
use crate::x509::{Csr, SerialNumber, pem};

/// Certificate to issue.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct IssueBody {
    /// `control-service`, `node-agent` or `api-user`.
    role: String,
    /// Name within the role. A control service is named by its first host; a node without a name gets a random UUID.
    name: Option<String>,
    /// Names and addresses that it serves on.
    #[serde(default)]
    hosts: Vec<String>,
    /// Label of the machine of a node, such as its host name. The inventory keeps it; no certificate contains it.
    label: Option<String>,
    /// Certificate signing request (PKCS#10) in PEM.
    csr: String,
    /// Validity, such as `90d`; that of the profile by default.
    validity: Option<String>,
    /// Reason for the audit log.
    reason: Option<String>,
}

/// Renewal of a certificate.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RenewBody {
    /// Certificate signing request with a new key, in PEM; without it, the key stays.
    csr: Option<String>,
    /// New label of the machine of a node; without it, the label stays.
    label: Option<String>,
    /// Validity, such as `90d`; that of the profile by default.
    validity: Option<String>,
    /// Reason for the audit log.
    reason: Option<String>,
}

/// Revocation of a certificate.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RevokeBody {
    /// Reason, such as `key-compromise` or `superseded`.
    reason: String,
    /// Text for the audit log.
    comment: Option<String>,
}

/// Suspension of a certificate, or its end.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct HoldBody {
    /// Text for the audit log.
    comment: Option<String>,
}

/// Issued certificate.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct IssuedBody {
    /// The certificate as the inventory has it.
    certificate: CertificateBody,
    /// The certificate in PEM.
    pem: String,
    /// Hosts in the subject alternative names.
    hosts: Vec<String>,
    /// Attributes of the CSR that were not granted.
    not_granted: Vec<NotGrantedBody>,
}

/// Attribute of a CSR that was not granted.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct NotGrantedBody {
    /// Name of the field.
    field: String,
    /// Value in the CSR.
    found: String,
    /// Value in the certificate.
    planned: String,
}

/// Change of the revocation of a certificate.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct RevocationBody {
    /// The certificate after the change.
    certificate: CertificateBody,
    /// True if it was so before.
    already: bool,
    /// The CRL in force.
    crl: PublishedCrlBody,
}

/// CRL that was signed for a change.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct PublishedCrlBody {
    /// CRL number.
    number: String,
    /// Issue time.
    #[schema(format = DateTime)]
    this_update: String,
    /// Time by which the next one is issued.
    #[schema(format = DateTime)]
    next_update: String,
}

impl From<&PublishedCrl> for PublishedCrlBody {
    fn from(crl: &PublishedCrl) -> Self {
        Self {
            number: crl.crl_number.to_string(),
            this_update: rfc3339(crl.this_update),
            next_update: rfc3339(crl.next_update),
        }
    }
}

/// Issue a certificate for the key in a CSR.
pub(super) async fn issue(
    State(shared): State<Arc<ServerShared>>,
    Extension(context): Extension<RequestContext>,
    headers: HeaderMap,
    content: Body,
) -> Result<Response, Problem> {
    let bytes = body(&headers, content, shared.limits.request_body).await?;
    let IssueBody { role, name, hosts, label, csr, validity, reason } = json(&bytes)?;
    let role: Role = role.parse().map_err(bad_body)?;
    let hosts: Vec<Host> =
        hosts.iter().map(|host| host.parse()).collect::<Result<_, _>>().map_err(bad_body)?;
    let name = name_of(&shared, role, name.as_deref(), &hosts)?;
    let label = label.as_deref().map(str::parse).transpose().map_err(bad_body)?;
    let validity = validity.as_deref().map(parse_duration).transpose().map_err(bad_body)?;
    let key = SubjectKey::Csr(Box::new(Csr::from_bytes(csr.as_bytes())?));
    let request = IssueRequest { role, name, hosts, key, validity, label };
    let now = shared.clock.now();
    let output = shared.home.home().issued();
    let work = move |authority: &mut Authority, profiles: &ProfileSet| {
        let issued = authority.issue(profiles, &[request], &output, reason.as_deref(), &|_| ())?;
        let one = issued.into_iter().next().ok_or_else(no_result)?;
        let not_granted = one.not_granted.into_iter().map(|mismatch| NotGrantedBody {
            field: mismatch.field.to_owned(),
            found: mismatch.found,
            planned: mismatch.planned,
        });
        created(authority.cluster(), one.serial_number, one.hosts, not_granted.collect(), now)
    };
    once(&shared, &context, &headers, "certificates", &bytes, work).await
}

/// Name of a certificate to issue, by the rule of its role.
fn name_of(shared: &ServerShared, role: Role, given: Option<&str>, hosts: &[Host]) -> Result<Name, Problem> {
    let given = given.map(|text| Name::parse(role, text)).transpose().map_err(bad_body)?;
    let name = match (role.name_syntax(), hosts.first()) {
        (NameSyntax::Host, Some(first)) => Some(Name::of_host(first)),
        (NameSyntax::Host, None) => return Err(bad_body(format_args!("a {role} needs a host in `hosts`"))),
        (NameSyntax::Uuid, _) if given.is_none() => {
            let uuid = random_uuid(shared.home.context().entropy.as_ref())?;
            Some(Name::of_node(uuid).map_err(bad_body)?)
        }
        (NameSyntax::Uuid | NameSyntax::User, _) => None,
    };
    match (given, name) {
        (Some(given), Some(name)) if given != name => {
            Err(bad_body(format_args!("a {role} is named by its first host: {name}")))
        }
        (_, Some(name)) | (Some(name), None) => Ok(name),
        (None, None) => Err(bad_body(format_args!("a {role} needs a `name`"))),
    }
}

/// Renew a certificate.
pub(super) async fn renew(
    State(shared): State<Arc<ServerShared>>,
    Extension(context): Extension<RequestContext>,
    Path(text): Path<String>,
    headers: HeaderMap,
    content: Body,
) -> Result<Response, Problem> {
    let ChangeRequest { target, if_match, bytes, body } =
        ChangeRequest::read(&shared, &text, &headers, content).await?;
    let RenewBody { csr, label, validity, reason } = body;
    let key = match csr {
        Some(csr) => RenewedKey::Csr(Box::new(Csr::from_bytes(csr.as_bytes())?)),
        None => RenewedKey::Same,
    };
    let label = label.as_deref().map(str::parse).transpose().map_err(bad_body)?;
    let validity = validity.as_deref().map(parse_duration).transpose().map_err(bad_body)?;
    let renewal = Renewal { key, validity, output: None, hosts: None, label };
    let now = shared.clock.now();
    let work = move |authority: &mut Authority, profiles: &ProfileSet| {
        let record = authority.cluster().find(&target)?;
        check(if_match.as_deref(), &record)?;
        let (renewed, refused) =
            authority.renew(profiles, &[record], &renewal, reason.as_deref(), &|_| ())?;
        if let Some(refused) = refused.into_iter().next() {
            return Err(refused.error.into());
        }
        let one = renewed.into_iter().next().ok_or_else(no_result)?.issued;
        created(authority.cluster(), one.serial_number, one.hosts, Vec::new(), now)
    };
    once(&shared, &context, &headers, &format!("renew {text}"), &bytes, work).await
}

/// Revoke a certificate permanently.
pub(super) async fn revoke(
    State(shared): State<Arc<ServerShared>>,
    Extension(context): Extension<RequestContext>,
    Path(text): Path<String>,
    headers: HeaderMap,
    content: Body,
) -> Result<Response, Problem> {
    let ChangeRequest { target, if_match, body, .. } =
        ChangeRequest::read(&shared, &text, &headers, content).await?;
    let RevokeBody { reason, comment } = body;
    let reason: RevocationReason = reason.parse().map_err(bad_body)?;
    if !RevocationReason::FOR_LEAVES.contains(&reason) {
        return Err(bad_body(format_args!("{reason} is not a reason for revoking a leaf certificate")));
    }
    RevocationChange { target, if_match, comment }
        .run(&shared, &context, Cluster::find_to_revoke, move |authority, record, comment| {
            let (revoked, crl) = authority.revoke(&[record], reason, comment)?;
            Ok((revoked.first().is_some_and(|one| one.already), crl))
        })
        .await
}

/// Suspend a certificate.
pub(super) async fn hold(
    State(shared): State<Arc<ServerShared>>,
    Extension(context): Extension<RequestContext>,
    Path(text): Path<String>,
    headers: HeaderMap,
    content: Body,
) -> Result<Response, Problem> {
    let change = RevocationChange::read(&shared, &text, &headers, content).await?;
    change
        .run(&shared, &context, Cluster::find_to_revoke, |authority, record, comment| {
            let (held, crl) = authority.revoke(&[record], RevocationReason::CertificateHold, comment)?;
            Ok((held.first().is_some_and(|one| one.already), crl))
        })
        .await
}

/// Lift the hold on a certificate.
pub(super) async fn release(
    State(shared): State<Arc<ServerShared>>,
    Extension(context): Extension<RequestContext>,
    Path(text): Path<String>,
    headers: HeaderMap,
    content: Body,
) -> Result<Response, Problem> {
    let change = RevocationChange::read(&shared, &text, &headers, content).await?;
    change
        .run(&shared, &context, Cluster::find_to_release, |authority, record, comment| {
            let (released, crl) = authority.release(&[record], comment)?;
            Ok((released.first().is_some_and(|one| one.already), crl))
        })
        .await
}

/// Request to change one certificate.
struct ChangeRequest<B> {
    target: Target,
    if_match: Option<String>,
    /// The body as received.
    bytes: Vec<u8>,
    body: B,
}

impl<B: DeserializeOwned> ChangeRequest<B> {
    async fn read(
        shared: &ServerShared,
        text: &str,
        headers: &HeaderMap,
        content: Body,
    ) -> Result<Self, Problem> {
        let target = target(text)?;
        let bytes = body(headers, content, shared.limits.request_body).await?;
        Ok(Self { target, if_match: if_match(headers), body: json(&bytes)?, bytes })
    }
}

/// Change of the revocation of one certificate.
struct RevocationChange {
    target: Target,
    if_match: Option<String>,
    comment: Option<String>,
}

impl RevocationChange {
    async fn read(
        shared: &ServerShared,
        text: &str,
        headers: &HeaderMap,
        content: Body,
    ) -> Result<Self, Problem> {
        let ChangeRequest { target, if_match, body, .. } =
            ChangeRequest::read(shared, text, headers, content).await?;
        let HoldBody { comment } = body;
        Ok(Self { target, if_match, comment })
    }

    async fn run(
        self,
        shared: &Arc<ServerShared>,
        context: &RequestContext,
        find: impl FnOnce(&Cluster, &Target) -> Result<Record, crate::ca::CaError> + Send + 'static,
        change: impl FnOnce(&mut Authority, Record, Option<&str>) -> Result<(bool, PublishedCrl), Problem>
        + Send
        + 'static,
    ) -> Result<Response, Problem> {
        let now = shared.clock.now();
        let changed =
            shared.home.change(context.actor(), move |authority: &mut Authority, _: &ProfileSet| {
                let record = find(authority.cluster(), &self.target)?;
                check(self.if_match.as_deref(), &record)?;
                let id = record.id();
                let (already, crl) = change(authority, record, self.comment.as_deref())?;
                for issuer in &crl.left_out {
                    tracing::info!("{}", RecoveryOutcome::CrlLeftOut { issuer: issuer.clone() });
                }
                let cluster = authority.cluster();
                let record = cluster.find(&Target::Serial(id.serial_number))?;
                let certificate = CertificateBody::new(&record, cluster, now);
                Ok::<_, Problem>(RevocationBody { certificate, already, crl: (&crl).into() })
            });
        respond(StatusCode::OK, &changed.await?)
    }
}

/// Result of an issued certificate.
fn created(
    cluster: &Cluster,
    serial_number: SerialNumber,
    hosts: Vec<String>,
    not_granted: Vec<NotGrantedBody>,
    now: time::OffsetDateTime,
) -> Result<StoredResult, Problem> {
    let record = cluster.find(&Target::Serial(serial_number))?;
    let certificate = cluster.inventory().certificate(&record.issuer, serial_number)?;
    let body = IssuedBody {
        certificate: CertificateBody::new(&record, cluster, now),
        pem: pem::pem(pem::ObjectKind::Certificate.label(), &certificate.der),
        hosts,
        not_granted,
    };
    let body = serde_json::to_string(&body).map_err(bad_body)?;
    Ok(StoredResult { body, location: format!("/api/v1/certificates/{serial_number}"), etag: etag(&record) })
}

fn no_result() -> Problem {
    let code = crate::error::Code::environment("server.no_result");
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, code, "the change had no result")
}
