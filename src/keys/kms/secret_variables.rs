//! Environment variables with secrets.

use super::pkcs11::PIN_VARIABLE;
use super::vault::{SECRET_ID, TOKEN};

/// Environment variables that supply secrets to `cluster-ca`. No program that it starts receives them.
pub const SECRET_VARIABLES: [&str; 3] = [PIN_VARIABLE, SECRET_ID.variable, TOKEN.variable];
