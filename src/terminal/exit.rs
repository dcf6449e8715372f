//! With which exit code a program ends for an error, by the error's stable code: the README's table, for both
//! programs.

/// The exit code for an error: 1 refused by a rule or by the state of things, 2 wrong arguments, 3 files or
/// database, 4 network or KMS.
#[must_use]
pub fn exit_code(code: &str) -> u8 {
    match code {
        // An argument that means nothing, or a secret that no argument led to.
        "admin.request" | "gateway.no_listener" => 2,
        "key.passphrase_needed" | "kms.credential_missing" | "pkcs11.pin_needed" => 2,
        "kms.address" | "kms.name" | "pkcs11.pin_in_uri" | "pkcs11.uri" => 2,
        "x509.digest" | "x509.key_algorithm" | "x509.key_identifier" | "x509.serial_number" => 2,

        // A file that is missing, or that holds nothing which could be read as what it should be.
        "admin.exposed" | "admin.in_use" | "admin.io" | "admin.occupied" | "admin.open_directory" => 3,
        "admin.unreachable" | "ca.crl_not_written" | "crl.malformed" | "home.missing" => 3,
        "backup.inconsistent" | "backup.missing_part" | "backup.unknown_part" => 3,
        "gateway.access_log" | "gateway.environment" | "gateway.thread" => 3,
        "gateway.internal" | "gateway.no_access_log" | "gateway.panicked" => 3,
        "key.envelope_damaged" | "key.envelope_unreadable" | "key.not_pem" | "key.unsupported" => 3,
        "key.passphrase_empty" | "key.passphrase_unreadable" | "kms.credential_unreadable" => 3,
        "kms.configuration" | "pkcs11.module_missing" | "pkcs11.not_a_module" => 3,
        "pkcs11.pin_unreadable" | "profile.directory" | "sealed.altered" | "sealed.foreign" => 3,
        "x509.malformed" | "x509.no_block" | "x509.pem" => 3,

        // An address that is taken, or that this machine does not have.
        "gateway.bind" => 4,

        // A file, record, key or service that is there, and that a rule does not accept.
        "file.exists" | "file.exposed" | "file.foreign_owner" | "file.writable_by_all" => 1,
        "gateways.ahead" | "gateways.number_reused" | "gateways.operator_revoked" => 1,
        "kms.ca_certificate" | "kms.client_certificate" | "kms.key_unfit" | "kms.not_configured" => 1,
        "pkcs11.key_ambiguous" | "pkcs11.key_unfit" | "pkcs11.module_exposed" => 1,
        "pkcs11.pin_last_try" | "pkcs11.token_ambiguous" => 1,
        "store.already_revoked" | "store.no_key" | "store.not_issued" | "store.not_on_hold" => 1,
        "store.not_supersedable" | "store.unknown_serial" => 1,

        code => match code.split_once('.').map_or(code, |(module, _)| module) {
            "input" | "name" | "usage" => 2,
            "file" | "store" | "system" => 3,
            "gateways" | "kms" | "network" | "pkcs11" | "remote" => 4,
            _ => 1,
        },
    }
}
