//! Environment variables with secrets.

use super::pkcs11::PIN_VARIABLE;
use super::vault::{SECRET_ID, TOKEN};

/// Environment variables that supply secrets to `cluster-ca`. No program that it starts receives them.
pub fn secret_variables() -> impl Iterator<Item = &'static str> {
    let kinds = [SECRET_ID, TOKEN].into_iter();
    let of_services =
        kinds.flat_map(|kind| std::iter::once(kind.variable).chain(kind.others.iter().copied()));
    std::iter::once(PIN_VARIABLE).chain(of_services)
}
