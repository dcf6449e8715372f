//! Client of the gateways' administration resources: CRL push and status query.
//!
//! [`GatewayList`] is the content of `gateways.yaml`. A [`CallContext`] holds the client credentials, the
//! trust and the time limit of a call. All gateways are called at once, over mutual TLS. A gateway's
//! certificate is verified before the client presents its own. Reading the CA's home and reacting to a
//! [`CallError`] are left to the caller.

mod acknowledged;
mod context;
mod error;
mod fan_out;
mod list;
mod messages;
mod push;
mod sanitized_text;
mod session;
mod status;
mod trust;

pub use acknowledged::{AcknowledgedCrl, AcknowledgedCrls, AcknowledgedCrlsError};
pub use context::CallContext;
pub use error::{CallError, CallStage, RefusalReason};
pub use list::{GATEWAY_LIST_FILE, GatewayEntry, GatewayList, GatewayListError};
pub use messages::{ReloadFailure, ReportedCrl, ReportedReload, ReportedTrust, StatusReport};
pub use push::{CrlToPush, PushReceipt, push_crl};
pub use sanitized_text::SanitizedText;
pub use status::{GatewayStatus, query_status};
pub use trust::GatewayTrust;
