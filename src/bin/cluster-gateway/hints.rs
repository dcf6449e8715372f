//! What to do next, by the stable code of an error.

/// What to do next about the error of this code, whether a command of its own or a running gateway met it.
pub(crate) fn of(code: &str) -> Option<&'static str> {
    Some(match code {
        "admin.in_use" => "stop the gateway that listens there, or choose another `admin` socket",
        "admin.no_socket" => "add `admin: /run/cluster-gateway.sock` to it and restart the gateway",
        "admin.not_allowed" => "ask as the user that the gateway runs as, or as root",
        "admin.occupied" | "admin.open_directory" => {
            "choose a path for `admin` in a directory of the gateway's own, such as /run/cluster-gateway"
        }
        "admin.unreachable" => {
            "name the gateway's socket with --socket, or its configuration with --config; it answers its own \
             user and root alone"
        }
        "chain.expired" => "issue a new certificate for the gateway with `cluster-ca create-control`",
        "chain.unknown_issuer" | "chain.bad_signature" => {
            "the gateway's certificate and `trust.bundle` must come from the same cluster; to change roots, trust both, \
             replace the certificate, and take out the old root last"
        }
        "crl.bad_signature" | "crl.missing_for_issuer" | "crl.unknown_issuer" => {
            "`trust.crl` and `trust.bundle` must come from the same cluster: copy both from the CA's home; \
             each authority in `trust.intermediates` needs its own list there"
        }
        "crl.record_damaged" => {
            "put the newest list in place, then remove the record: the list that is read next counts as the newest"
        }
        "crl.rollback" => {
            "a newer list has been in force here: copy the CA's cluster.crl here again; `state_directory` has what was"
        }
        "trust.no_issuer" | "trust.path_too_long" | "trust.self_signed" => {
            "`trust.intermediates` has the authorities below the roots of `trust.bundle`, and all of those between"
        }
        "file.exposed" => "close it to others: chmod 0600",
        "file.writable_by_all" => {
            "what it says decides who is let in: chmod o-w, or move it where only its owner writes"
        }
        "file.foreign_owner" => "run as the owner, or chown it to yourself",
        "gateway.bind" => "stop what listens there, or choose another `listen` or `metrics` address",
        "key.envelope_damaged" | "key.envelope_unreadable" => {
            "put back the key file as it was written, or issue a new pair with `cluster-ca create-control`"
        }
        "key.passphrase_needed" => "name the file that holds the passphrase: `passphrase_file` beside `key`",
        "key.wrong_passphrase" => "write the key's passphrase into the first line of `passphrase_file`",
        "kms.certificate_untrusted" => {
            "set the CA of the service's certificate with `cluster-ca ca-cert set`, then `cluster-ca kms export` anew"
        }
        "kms.configuration" | "kms.not_configured" => {
            "name what `cluster-ca kms export KEY FILE` wrote for this key: `kms` beside `key`"
        }
        "kms.credential_missing" => {
            "export it where its secret is kept: `cluster-ca kms set` without --do-not-keep-secrets, then `cluster-ca kms export`"
        }
        "kms.denied" => {
            "the policy of the token or role must let it decrypt with that key; a key that does not exist reads as denied too"
        }
        "kms.key_version_refused" => {
            "lower the key's min_decryption_version in the service, then `cluster-ca kms rewrap --all` and copy the key here"
        }
        "kms.login_refused" | "kms.token_refused" => {
            "it is expired, revoked or wrong: set a new one with `cluster-ca kms set`, then `cluster-ca kms export` anew"
        }
        "kms.sealed" => "unseal it (bao operator unseal); the gateway opens its key as soon as it can",
        "kms.unavailable" => {
            "see that the service runs and can be reached from here; `kms_timeout` says how long a start waits"
        }
        "chain.wrong_purpose" | "own_certificate.revoked" | "own_certificate.role" => {
            "use a certificate that `cluster-ca create-control` made"
        }
        "revocation.crl_expired" => {
            "sign a fresh list on the CA's machine (`cluster-ca crl publish`), and copy cluster.crl here"
        }
        "crl.malformed" | "x509.malformed" | "x509.no_block" | "x509.pem" | "x509.unexpected_block" => {
            "the file is not what the configuration takes it for, or not whole: copy it here again"
        }
        "x509.private_key" => "name the certificate that was written beside the key: its file ends with .crt",
        "tls.key_mismatch" => "`identity.certificate` and `identity.key` must be written by the same command",
        _ => return None,
    })
}
