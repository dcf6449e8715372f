//! Client of the gateways' administration resources: push of CRLs and statements, and status query.
//!
//! [`GatewayList`] is the content of `gateways.yaml`. A [`CallContext`] holds the client credentials, the
//! trust and the time limit of a call. All gateways are called at once, over mutual TLS. A gateway's
//! certificate is verified before the client presents its own. Reading the CA's home and reacting to a
//! [`CallError`] are left to the caller.
//!
//! | file | contents |
//! |---|---|
//! | `acknowledged` | CRLs that gateways have acknowledged, remembered in the home |
//! | `context` | Settings shared by all calls to gateways |
//! | `error` | Errors of a call to a gateway |
//! | `fan_out` | Concurrent calls to many gateways |
//! | `list` | Gateways of a cluster, as listed in `gateways.yaml` |
//! | `messages` | JSON bodies of gateway responses, parsed as untrusted input |
//! | `push` | Push of a CRL to every gateway |
//! | `push_statement` | Push of the statement about tokens to every gateway |
//! | `sanitized_text` | Text received from a gateway, made safe to display |
//! | `session` | One mutually authenticated HTTP/1.1 connection to a gateway |
//! | `status` | Status query to every gateway |
//! | `trust` | Verification of the certificate that a gateway presents |

mod acknowledged;
mod context;
mod error;
mod fan_out;
mod list;
mod messages;
mod push;
mod push_statement;
mod sanitized_text;
mod session;
mod status;
mod trust;

pub use acknowledged::{AcknowledgedCrl, AcknowledgedCrls, AcknowledgedCrlsError};
pub use context::CallContext;
pub use error::{CallError, CallStage, RefusalReason};
pub use list::{GATEWAY_LIST_FILE, GatewayEntry, GatewayList, GatewayListError};
pub use messages::{
    ReloadFailure, ReportedCrl, ReportedReload, ReportedStatement, ReportedTrust, StatusReport,
};
pub use push::{CrlToPush, PushReceipt, push_crl};
pub use push_statement::{StatementReceipt, StatementToPush, push_statement};
pub use sanitized_text::SanitizedText;
pub use status::{GatewayStatus, query_status};
pub use trust::GatewayTrust;
