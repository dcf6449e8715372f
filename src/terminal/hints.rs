//! Hints: the next step after an error, by its code and by the reader.

use Audience::{Any, Ca, Gateway, Server};

use super::account_hints::account_hint;

/// The reader of a hint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Audience {
    /// A user of either program.
    Any,
    /// A user of `cluster-ca`.
    Ca,
    /// A user of `cluster-gateway`.
    Gateway,
    /// A user of `cluster-ca`, about the certificate that a server presents. [`Ca`] where no such hint exists.
    Server,
}

/// The hint for `reader` about an error of this code.
pub(crate) fn hint(reader: Audience, code: &str) -> Option<&'static str> {
    let readers: &[Audience] = match reader {
        Any => &[Any],
        Ca => &[Ca, Any],
        Gateway => &[Gateway, Any],
        Server => &[Server, Ca, Any],
    };
    let found = readers.iter().find_map(|reader| {
        HINTS.iter().find(|(key, of, _)| *key == code && of == reader).map(|(_, _, text)| *text)
    });
    found.or_else(|| readers.contains(&Ca).then(|| account_hint(code)).flatten())
}

/// About a trust anchor or intermediate CA that the gateway does not trust.
const UNFIT_AUTHORITY: &str = "replace the CA certificate in the files of `trust`, or remove it; `unfit_anchors: exclude` leaves it out, and the other authorities stay";

/// About a certificate that RFC 5280 forbids.
const REISSUE: &str = "have its CA issue it again with the extensions that RFC 5280, section 4.2 requires; `cluster-ca inspect FILE` prints them";

/// Code, reader and hint, sorted. `tests/layers/codes.rs` checks that each code exists in the tree.
const HINTS: &[(&str, Audience, &str)] = &[
    ("admin.in_use", Gateway, "stop the gateway that listens on it, or choose another `admin` socket"),
    ("admin.no_socket", Gateway, "add `admin: /run/cluster-gateway.sock` to it and restart the gateway"),
    ("admin.not_allowed", Gateway, "run the command as the user of the gateway, or as root"),
    (
        "admin.occupied",
        Gateway,
        "choose a path for `admin` in a directory that only the gateway's user can write, such as /run/cluster-gateway",
    ),
    (
        "admin.open_directory",
        Gateway,
        "choose a path for `admin` in a directory that only the gateway's user can write, such as /run/cluster-gateway",
    ),
    (
        "admin.unreachable",
        Gateway,
        "pass the gateway's socket with --socket, or its configuration with --config; only its own user and root have access",
    ),
    ("audit.broken", Ca, "ca.db was changed by another program; compare it with a backup"),
    ("backup.crl_differs", Ca, "see what is wrong with the home first: cluster-ca doctor"),
    ("backup.format", Ca, "use the version of cluster-ca that made it, or a newer one"),
    ("ca.ambiguous", Ca, "name one of them by its serial number: cluster-ca list tells them"),
    ("ca.crl_incomplete", Ca, "an older copy is in its place; write a fresh list: cluster-ca crl publish"),
    (
        "ca.crl_lacks_change",
        Ca,
        "ca.db was changed by another program meanwhile: find out which, then see cluster-ca doctor",
    ),
    ("ca.crl_not_current", Ca, "write a fresh list: cluster-ca crl publish"),
    ("ca.crl_not_recorded", Ca, "an older copy is in its place; write a fresh list: cluster-ca crl publish"),
    (
        "ca.crl_not_written",
        Ca,
        "make the directory writable; then any command that signs, such as cluster-ca crl publish, writes the list",
    ),
    (
        "ca.file_foreign",
        Ca,
        "nothing was touched; put the files back that belong to it, or issue a new one elsewhere with --output DIR",
    ),
    (
        "ca.identity_revoked",
        Ca,
        "if its holder is to be let in again, issue a new one with cluster-ca create-...: the old files move to superseded/",
    ),
    (
        "ca.key_compromised",
        Ca,
        "make a new key, and request a certificate for that (rekey does both for a key made here)",
    ),
    ("ca.key_elsewhere", Ca, "have a new request made where the key is kept, and give it with --csr FILE"),
    (
        "ca.keys_wrapped",
        Ca,
        "with --allow-downgrade they are protected by --passphrase-file FILE instead, or by their file's mode alone",
    ),
    (
        "ca.label_without_machine",
        Ca,
        "leave the label out: control services and users are found by their names",
    ),
    ("ca.no_kms", Ca, "set one: cluster-ca kms set vault https://HOST:8200 KEY"),
    ("ca.no_service_ca", Ca, "the CAs that the system trusts are used; set one: cluster-ca ca-cert set FILE"),
    ("ca.no_vault_signer", Ca, "see where the root key is: cluster-ca key show"),
    ("ca.not_valid", Ca, "issue a new one; what is revoked or expired is not handed over"),
    ("ca.protected_key", Ca, "first: cluster-ca key unprotect FILE; or bundle --format p12, which opens it"),
    (
        "ca.record_differs",
        Ca,
        "nothing was signed; find out who changed ca.db, then restore a backup: cluster-ca restore FILE --reconcile",
    ),
    (
        "ca.revocation_lost",
        Ca,
        "nothing was signed; find out who changed ca.db, then restore a backup: cluster-ca restore FILE --reconcile",
    ),
    ("ca.root_key", Ca, "make another key, and find out who has used cluster.key for a request"),
    (
        "ca.root_on_own_crl",
        Ca,
        "machines stop trusting a root when it is taken out of their cluster.crt, not by a list it signs",
    ),
    ("ca.same_key", Ca, "make the request with a new key, or keep the key with cluster-ca renew"),
    ("ca.superseded", Ca, "renew the newest of its line; cluster-ca show SERIAL tells which"),
    ("ca.unknown_certificate", Ca, "see what there is: cluster-ca list"),
    (
        "ca.unprotects",
        Ca,
        "take the protection off first (cluster-ca key unprotect FILE), or put the new pair elsewhere: --output DIR",
    ),
    ("chain.authority_key_identifier", Any, REISSUE),
    ("chain.bad_signature", Ca, "another cluster's root signed it, or nobody's; issue one in this cluster"),
    (
        "chain.bad_signature",
        Gateway,
        "the gateway's certificate and `trust.bundle` must belong to the same cluster; to replace a root, trust both, replace the certificate, and remove the old root last",
    ),
    (
        "chain.bad_signature",
        Server,
        "another cluster answers there, or something in between: check the address, and cluster.crt on this machine",
    ),
    ("chain.basic_constraints", Any, REISSUE),
    ("chain.cert_sign_without_ca", Any, REISSUE),
    ("chain.expired", Ca, "issue a new one"),
    ("chain.expired", Gateway, "issue a new certificate for the gateway with `cluster-ca create-control`"),
    ("chain.expired", Server, "issue the server a new certificate: cluster-ca renew, then distribute"),
    ("chain.issuer_key_usage", Any, REISSUE),
    (
        "chain.issuer_purpose",
        Any,
        "use a certificate of a CA whose extended key usage includes this purpose, or has none",
    ),
    ("chain.name_constraint", Any, "use a certificate whose names the name constraints of its CA permit"),
    ("chain.name_constraints", Any, REISSUE),
    ("chain.no_policy", Any, "use a certificate with a policy that its CA requires"),
    ("chain.no_subject", Any, REISSUE),
    ("chain.not_yet_valid", Ca, "check the clock of this machine"),
    ("chain.policy_constraints", Any, REISSUE),
    ("chain.serial_number", Any, REISSUE),
    ("chain.subject_key_identifier", Any, REISSUE),
    ("chain.unknown_issuer", Ca, "another cluster's root signed it, or nobody's; issue one in this cluster"),
    (
        "chain.unknown_issuer",
        Gateway,
        "the gateway's certificate and `trust.bundle` must belong to the same cluster; to replace a root, trust both, replace the certificate, and remove the old root last",
    ),
    (
        "chain.unknown_issuer",
        Server,
        "another cluster answers there, or something in between: check the address, and cluster.crt on this machine",
    ),
    (
        "chain.unsupported_key",
        Any,
        "use a key on P-256, P-384 or P-521, of Ed25519, or RSA of 2048 to 8192 bits",
    ),
    ("chain.wrong_name", Ca, "issue one that names this host: cluster-ca create-control HOST --san NAME"),
    (
        "chain.wrong_name",
        Server,
        "call it by a name that its certificate has, or issue one that names this host: --san",
    ),
    ("chain.wrong_purpose", Ca, "it is of a role that is not used for this; issue one of the right role"),
    ("chain.wrong_purpose", Gateway, "use a certificate of `cluster-ca create-control`"),
    (
        "crl.bad_signature",
        Gateway,
        "`trust.crl` and `trust.bundle` must belong to the same cluster: copy both from the CA's home; each authority in `trust.intermediates` needs its own CRL",
    ),
    (
        "crl.malformed",
        Gateway,
        "the file is of another kind than the configuration expects, or truncated: copy it again",
    ),
    (
        "crl.missing_for_issuer",
        Ca,
        "for the root of this CA: cluster-ca crl publish; for another one, append its CRL to cluster.crl, or remove it from cluster.crt",
    ),
    (
        "crl.missing_for_issuer",
        Gateway,
        "`trust.crl` and `trust.bundle` must belong to the same cluster: copy both from the CA's home; each authority in `trust.intermediates` needs its own CRL",
    ),
    ("crl.not_yet_valid", Ca, "write a fresh list: cluster-ca crl publish"),
    (
        "crl.record_damaged",
        Gateway,
        "install the newest CRL, then remove the record: the next CRL that is read counts as the newest",
    ),
    (
        "crl.rollback",
        Gateway,
        "a newer CRL was in force: copy the CA's cluster.crl again; `state_directory` has the newer one",
    ),
    (
        "crl.unknown_issuer",
        Gateway,
        "`trust.crl` and `trust.bundle` must belong to the same cluster: copy both from the CA's home; each authority in `trust.intermediates` needs its own CRL",
    ),
    (
        "doctor.anonymous_callers",
        Ca,
        "have it require client certificates, or put cluster-gateway in front of it",
    ),
    ("doctor.bundle_lacks_root", Ca, "put back the cluster.crt of this cluster: `cluster-ca restore` has it"),
    (
        "doctor.clock_behind",
        Ca,
        "set this machine's clock before anything is issued: certificates would be dated in the past",
    ),
    (
        "doctor.crl_differs",
        Ca,
        "find out who replaced cluster.crl, then write a fresh one: cluster-ca crl publish",
    ),
    ("doctor.crl_ends_soon", Ca, "write a fresh list and give it to every gateway: cluster-ca crl publish"),
    (
        "doctor.crl_incomplete",
        Ca,
        "find out who replaced cluster.crl, then write a fresh one: cluster-ca crl publish",
    ),
    ("doctor.crl_owed", Ca, "cluster-ca doctor --fix does it"),
    (
        "doctor.expired",
        Ca,
        "renew them: cluster-ca renew --expires-within 1h; or revoke those of machines and users that are gone",
    ),
    ("doctor.gateway_outdated", Ca, "have it enforce the newest: cluster-ca crl push"),
    (
        "doctor.key_without_certificate",
        Ca,
        "fetch the certificate with `cluster-ca show`, or remove the key if it is unused",
    ),
    ("doctor.leftover", Ca, "cluster-ca doctor --fix does it"),
    (
        "doctor.leftover_of_issued",
        Ca,
        "it may be the only copy of its key: move it to its name, or revoke the certificate and remove it",
    ),
    ("doctor.no_certificate_served", Ca, "see what listens there: cluster-ca explain-failure HOST:PORT"),
    ("doctor.pair_mismatch", Ca, "put back the files that belong together, or issue the certificate again"),
    ("doctor.reserved", Ca, "cluster-ca doctor --fix does it"),
    ("doctor.served_ends_soon", Ca, "renew it, and distribute it: cluster-ca renew, cluster-ca distribute"),
    (
        "doctor.served_superseded",
        Ca,
        "distribute the newer one, and have the service reload: cluster-ca distribute",
    ),
    (
        "doctor.unknown_certificate",
        Ca,
        "find out who else has cluster.key, or whether ca.db is an old copy, before anything else",
    ),
    ("doctor.unplaced", Ca, "cluster-ca doctor --fix does it"),
    ("doctor.writable", Ca, "close it to others: chmod 0644"),
    ("explain.alert_denied", Ca, "your role or name may not connect there; ask who runs it"),
    ("explain.alert_expired", Ca, "compare the clocks: the server's is ahead, or the one here is behind"),
    ("explain.alert_name", Ca, "call it by a name that its certificate has, or by its address"),
    (
        "explain.alert_revoked",
        Ca,
        "it was revoked, and the list here is older than the server's; ask for a new one",
    ),
    (
        "explain.alert_unknown_ca",
        Ca,
        "the server has another cluster.crt: copy this cluster's there and have it reload",
    ),
    ("explain.certificate_demanded", Ca, "call with a certificate of this cluster: --cert FILE --key FILE"),
    ("explain.key_mismatch", Ca, "give the key that was made with this certificate; they come as a pair"),
    ("explain.not_tls", Ca, "something else listens on this port, or the service speaks plain HTTP there"),
    ("explain.refused_early", Ca, "call it by a name that its certificate has, or by its address"),
    (
        "file.disk_full",
        Ca,
        "make room on the file system and run the command again; nothing half-written was kept",
    ),
    ("file.exists", Ca, "nothing was overwritten; move the file away, or choose another name or place"),
    ("file.exposed", Ca, "close it to others: chmod 0700 for a directory, chmod 0600 for a key"),
    (
        "file.exposed",
        Gateway,
        "make it accessible to the owner only: chmod 0600; on a read-only mount, let root own it with mode 0440 or 0640 and the gateway's group: `fsGroup` with `defaultMode: 0400` in Kubernetes, `LoadCredential` in systemd",
    ),
    ("file.foreign_owner", Any, "run as the owner, or chown it to yourself"),
    ("file.locked", Ca, "wait until it has finished, or see who it is: fuser -v DIRECTORY"),
    ("file.permission", Ca, "run as the owner of the file, or make the directory one that you can write to"),
    (
        "file.read_only",
        Ca,
        "the file system is read-only; work in a home that can be written to (--home DIR)",
    ),
    ("file.writable_by_all", Ca, "close it to others' writing: chmod o-w"),
    (
        "file.writable_by_all",
        Gateway,
        "it decides on access: chmod o-w, or move it to a directory that only its owner can write",
    ),
    (
        "gateway.bind",
        Gateway,
        "stop the process that listens there, or choose another `listen` or `metrics` address",
    ),
    ("gateways.acknowledged_damaged", Ca, "remove the file; `cluster-ca crl push` makes a new one"),
    (
        "gateways.ahead",
        Ca,
        "take what the gateway knows in: cluster-ca restore BACKUP --reconcile --crl FILE, FILE being the list in its state_directory",
    ),
    (
        "gateways.behind",
        Ca,
        "see the gateway's log; until it enforces the list, rely on nothing that it says",
    ),
    (
        "gateways.crl_ends_soon",
        Ca,
        "write a fresh list and push it: cluster-ca crl publish, cluster-ca crl push",
    ),
    ("gateways.cut_off", Ca, "see the gateway's log at this moment, then: cluster-ca crl push"),
    ("gateways.no_certificate", Ca, "see what listens there: cluster-ca explain-failure HOST:PORT"),
    (
        "gateways.no_crl",
        Ca,
        "it has `revocation: disabled` in its configuration, or trusts another root than this home's",
    ),
    ("gateways.not_a_gateway", Ca, "give the address at which callers of the API call the gateway"),
    (
        "gateways.not_an_operator",
        Ca,
        "name the caller in the gateway's configuration, such as operators: [{ role: api-user, name: admin }], or call as another with --operator",
    ),
    (
        "gateways.number_reused",
        Ca,
        "two homes sign for this cluster: find the other one, and put back here what it knows: cluster-ca restore --reconcile",
    ),
    (
        "gateways.operator_revoked",
        Ca,
        "renew it first, and revoke the old one by its serial number; or choose another operator with --operator",
    ),
    ("gateways.other_bundle", Ca, "copy this home's cluster.crt there: cluster-ca distribute"),
    ("gateways.outdated", Ca, "have it enforce the newest: cluster-ca crl push"),
    ("gateways.oversized", Ca, "something else than cluster-gateway answers there: correct the address"),
    ("gateways.refused", Ca, "see to what it says there, then: cluster-ca crl push"),
    (
        "gateways.reload_failed",
        Ca,
        "mend there what it names; until then what it loaded before stays in force",
    ),
    ("gateways.unreadable", Ca, "something else than cluster-gateway answers there: correct the address"),
    ("gateways.wrong_name", Ca, "correct the address, or `identity` in gateways.yaml"),
    (
        "gateways.wrong_role",
        Ca,
        "give the gateway the certificate of a control service: cluster-ca create-control",
    ),
    (
        "home.clock_behind",
        Ca,
        "set the clock of this machine and run the command again; the root is not the cause, and nothing was changed",
    ),
    (
        "home.exposed_directory",
        Ca,
        "choose an empty or new directory with --home DIR, or close this one: chmod 0700",
    ),
    (
        "home.held_key_mismatch",
        Ca,
        "put back the kms.json and cluster.crt that belong together, or the key that the root was made with; nothing was signed",
    ),
    (
        "home.inventory_behind",
        Ca,
        "an old copy of ca.db was put back, and lacks what was issued and revoked since; put back the newest",
    ),
    (
        "home.inventory_missing",
        Ca,
        "put ca.db back, or restore a backup into this home: cluster-ca restore FILE --reconcile takes in what is still here",
    ),
    (
        "home.key_mismatch",
        Ca,
        "put back the cluster.key and cluster.crt that belong together; nothing was signed",
    ),
    ("home.missing", Ca, "make one with `cluster-ca initialize NAME`, or say where it is with --home DIR"),
    (
        "home.occupied",
        Ca,
        "choose an empty directory with --home DIR, or go on with the cluster that is here",
    ),
    (
        "home.root_differs",
        Ca,
        "nothing was signed; find out who changed ca.db, then restore a backup: cluster-ca restore FILE --reconcile",
    ),
    ("home.root_expired", Ca, "the root must be replaced; nothing can be issued under it any more"),
    ("home.root_not_yet_valid", Ca, "check the clock of this machine: the root itself is in order"),
    ("identity.foreign_trust_domain", Ca, "it belongs to another cluster; issue one in this cluster"),
    (
        "identity.foreign_trust_domain",
        Server,
        "another cluster answers there, or something in between: check the address, and cluster.crt on this machine",
    ),
    ("input.gateways", Ca, "cluster-ca crl push --help shows what belongs in gateways.yaml"),
    ("inspect.archive", Ca, "the archive is truncated or damaged: copy it again"),
    ("key.encrypted", Ca, "an unencrypted key was expected here"),
    (
        "key.envelope_damaged",
        Ca,
        "put back the key file from a backup; an envelope opens only as it was written",
    ),
    (
        "key.envelope_damaged",
        Gateway,
        "restore the key file, or issue a new pair with `cluster-ca create-control`",
    ),
    (
        "key.envelope_unreadable",
        Ca,
        "put back the key file from a backup; an envelope opens only as it was written",
    ),
    (
        "key.envelope_unreadable",
        Gateway,
        "restore the key file, or issue a new pair with `cluster-ca create-control`",
    ),
    ("key.envelope_version", Ca, "use the version of cluster-ca that wrote the file, or a newer one"),
    ("key.held", Ca, "see cluster-ca key show; there is no file of it to protect"),
    (
        "key.legacy_encryption",
        Any,
        "write it again: openssl pkcs8 -topk8 -scrypt -in KEY -out NEW; chmod 0600 NEW",
    ),
    ("key.not_protected", Ca, "protect it with: cluster-ca key protect"),
    (
        "key.passphrase_needed",
        Ca,
        "give --passphrase-file FILE or --passphrase-fd FD, or run the command on a terminal",
    ),
    ("key.passphrase_needed", Gateway, "set `passphrase_file` next to `key` to a file with the passphrase"),
    ("key.protected_by_kms", Ca, "see cluster-ca kms show; cluster-ca kms unset ends it"),
    ("key.protected_by_passphrase", Ca, "change it with: cluster-ca key change-passphrase"),
    (
        "key.unsupported_encryption",
        Ca,
        "write it again: openssl pkcs8 -topk8 -scrypt -in KEY -out NEW; chmod 0600 NEW",
    ),
    ("key.weak_passphrase", Ca, "use several random words: a thief of the file can guess without a limit"),
    ("key.wrong_passphrase", Gateway, "write the key's passphrase into the first line of `passphrase_file`"),
    ("key_store.password", Ca, "give the password that it was made with: --password-file FILE"),
    ("key_store.unreadable", Ca, "convert it first: openssl pkcs12 -legacy reads what is older than 2020"),
    ("kms.address", Ca, "give a Vault as https://HOST:8200, a KMIP server as HOST:5696"),
    (
        "kms.certificate_untrusted",
        Ca,
        "set the CA that issued it, or the certificate itself if it is self-signed: cluster-ca ca-cert set FILE, or --ca-cert of kms set kmip",
    ),
    (
        "kms.certificate_untrusted",
        Gateway,
        "set the CA of the service's certificate with `cluster-ca ca-cert set`, then `cluster-ca kms export` again",
    ),
    ("kms.client_certificate", Ca, "give --client-cert and --client-key that belong together, both in PEM"),
    (
        "kms.client_certificate_refused",
        Ca,
        "see that it is registered at the server, not expired, and allows clientAuth",
    ),
    (
        "kms.configuration",
        Ca,
        "put kms.json back from a backup, or set the service again: cluster-ca kms set",
    ),
    (
        "kms.configuration",
        Gateway,
        "set `kms` next to `key` to the file that `cluster-ca kms export KEY FILE` wrote for this key",
    ),
    (
        "kms.credential_missing",
        Ca,
        "give it in CLUSTER_CA_KMS_TOKEN or CLUSTER_CA_KMS_SECRET_ID, in a file, or run the command on a terminal",
    ),
    (
        "kms.credential_missing",
        Gateway,
        "store the secret, then export it: `cluster-ca kms set` without --do-not-keep-secrets, then `cluster-ca kms export`",
    ),
    (
        "kms.denied",
        Ca,
        "allow it to the login in use: cluster-ca guide kms lists what a login needs; a key that does not exist may be reported as denied too",
    ),
    (
        "kms.denied",
        Gateway,
        "allow the login in use to decrypt with that key; a missing key may be reported as denied too",
    ),
    ("kms.key_missing", Ca, "see that the key and the options of kms set are right; a deleted key is lost"),
    ("kms.key_unfit", Ca, "cluster-ca guide kms lists what the key must allow, and how to make one"),
    (
        "kms.key_version_refused",
        Ca,
        "lower the key's min_decryption_version in the service, then: cluster-ca kms rewrap",
    ),
    (
        "kms.key_version_refused",
        Gateway,
        "lower the key's min_decryption_version in the KMS, then run `cluster-ca kms rewrap --all` and copy the key here",
    ),
    ("kms.login_refused", Ca, "see that role id, secret id and --auth-path are right, and not used up"),
    (
        "kms.login_refused",
        Gateway,
        "it is expired, revoked or wrong: set a new one with `cluster-ca kms set`, then `cluster-ca kms export` again",
    ),
    ("kms.mount_missing", Ca, "enable the engine (bao secrets list), or give --transit-path, --auth-path"),
    ("kms.namespace_missing", Ca, "see that --namespace is right"),
    ("kms.not_configured", Ca, "put back the kms.json that knows the service, or set it: cluster-ca kms set"),
    (
        "kms.not_configured",
        Gateway,
        "set `kms` next to `key` to the file that `cluster-ca kms export KEY FILE` wrote for this key",
    ),
    ("kms.operation_missing", Ca, "choose a server, or a profile of it, that encrypts and decrypts"),
    (
        "kms.refused",
        Any,
        "its log has the reason; a key that it cannot decrypt was wrapped by one that it no longer has: put its backup back; a bare status 502 to 504 is that of a balancer",
    ),
    ("kms.sealed", Ca, "unseal it (bao operator unseal), then run the command again"),
    ("kms.sealed", Gateway, "unseal it (bao operator unseal); the gateway opens its key as soon as it can"),
    ("kms.tls_incompatible", Any, "allow TLS 1.3, or TLS 1.2 with ECDHE and AES-GCM, at the server"),
    (
        "kms.token_refused",
        Ca,
        "it is expired, revoked or wrong: set a new one with cluster-ca kms set vault, or kms set signer for the root's; or its policies lack that capability, and `read` on auth/token/lookup-self, which would tell the two apart",
    ),
    (
        "kms.token_refused",
        Gateway,
        "it is expired, revoked or wrong: set a new one with `cluster-ca kms set`, then `cluster-ca kms export` again",
    ),
    ("kms.too_old", Ca, "update the server to KMIP 1.2 or later"),
    ("kms.unavailable", Ca, "see that the service runs and can be reached from here, then try again"),
    (
        "kms.unavailable",
        Gateway,
        "check that the KMS runs and is reachable from here; `kms_timeout` limits the wait at the start",
    ),
    ("name.trust_domain", Ca, "give one with --trust-domain, for example --trust-domain prod.example.com"),
    ("network.cut", Ca, "the machine has its old files; run the command again when `ssh` reaches it"),
    ("network.denied", Ca, "let `ssh` log in there: its key or agent, or USER@ in the destination"),
    (
        "network.host_key_changed",
        Ca,
        "nothing was sent; find out whether the machine was replaced before removing its old key with ssh-keygen -R",
    ),
    (
        "network.host_key_unknown",
        Ca,
        "log in there once by hand with `ssh`, and compare the key's fingerprint",
    ),
    ("network.refused", Ca, "start the service, or correct the port"),
    ("network.silent", Ca, "check the address, the route and the firewalls on the way"),
    ("network.timeout", Ca, "the machine has its old files; run the command again when `ssh` reaches it"),
    ("network.unreachable", Ca, "the machine has its old files; run the command again when `ssh` reaches it"),
    ("network.unresolved", Ca, "correct the name, or the resolver of this machine"),
    ("network.unsure", Ca, "run the command again: it puts the same files there"),
    ("own_certificate.revoked", Gateway, "use a certificate of `cluster-ca create-control`"),
    ("own_certificate.role", Gateway, "use a certificate of `cluster-ca create-control`"),
    (
        "pkcs11.failed",
        Ca,
        "see what the token's own tool says, such as pkcs11-tool --module MODULE --login --test-ec",
    ),
    ("pkcs11.key_ambiguous", Ca, "say in the URI which: id=%XX, object=LABEL, or both"),
    (
        "pkcs11.key_missing",
        Ca,
        "see that object and id are right: pkcs11-tool --module MODULE --login --list-objects; a deleted key is lost",
    ),
    (
        "pkcs11.key_unfit",
        Ca,
        "make one that is fit: pkcs11-tool --module MODULE --login --keypairgen --key-type EC:prime256v1 --usage-sign --id 01 --label root",
    ),
    (
        "pkcs11.module_exposed",
        Ca,
        "it would run in this program: chown it to root, and chmod go-w the file and its directories",
    ),
    (
        "pkcs11.module_missing",
        Ca,
        "give the library of the token's vendor as module-path, such as /usr/lib/softhsm/libsofthsm2.so",
    ),
    (
        "pkcs11.not_a_module",
        Ca,
        "give the library of the token's vendor as module-path, such as /usr/lib/softhsm/libsofthsm2.so",
    ),
    ("pkcs11.pin_expired", Ca, "change it: pkcs11-tool --module MODULE --login --change-pin"),
    (
        "pkcs11.pin_in_uri",
        Ca,
        "leave it out and change the PIN, if it was a real one; give it with --pin-file FILE, in CLUSTER_CA_PKCS11_PIN, or as pin-source=file:/PATH",
    ),
    (
        "pkcs11.pin_last_try",
        Ca,
        "log in once with the right PIN by the token's own tool, such as pkcs11-tool --module MODULE --login --list-objects; that clears the count",
    ),
    (
        "pkcs11.pin_locked",
        Ca,
        "its security officer unlocks it: pkcs11-tool --module MODULE --login --login-type so --init-pin",
    ),
    (
        "pkcs11.pin_needed",
        Ca,
        "give it with --pin-file FILE or in CLUSTER_CA_PKCS11_PIN, or run the command on a terminal",
    ),
    ("pkcs11.pin_not_set", Ca, "set one: pkcs11-tool --module MODULE --login --login-type so --init-pin"),
    (
        "pkcs11.pin_wrong",
        Ca,
        "find the right PIN before the next try: --pin-file, CLUSTER_CA_PKCS11_PIN, the URI's pin-source and kms.json are looked at in this order",
    ),
    ("pkcs11.token_ambiguous", Ca, "say in the URI which: token=LABEL, serial=NUMBER or slot-id=NUMBER"),
    ("pkcs11.token_gone", Ca, "put it back, then run the command again; what was not signed was not issued"),
    (
        "pkcs11.token_missing",
        Ca,
        "see that it is connected and its label right (pkcs11-tool --module MODULE --list-slots), and that the module's own settings, such as SOFTHSM2_CONF, are there",
    ),
    (
        "pkcs11.uri",
        Ca,
        "give it like pkcs11:token=LABEL;object=LABEL?module-path=/usr/lib/softhsm/libsofthsm2.so, in quotes",
    ),
    ("policy.key_algorithm", Ca, "choose one of those that `cluster-ca profiles show ROLE` lists"),
    ("policy.outlives_issuer", Ca, "ask for a shorter --validity"),
    ("policy.validity", Ca, "choose a duration within the bounds that `cluster-ca profiles show ROLE` lists"),
    (
        "remote.account",
        Ca,
        "see that the account and the group exist there; only root, or a login with --become sudo, writes files of another account",
    ),
    (
        "remote.foreign_owner",
        Ca,
        "log in as the owner of the directory or as root (--become sudo), correct --owner, or choose another directory",
    ),
    (
        "remote.other_key",
        Ca,
        "no key is sent, because none is kept here: deliver under another name with --as, or put this certificate's key there first and remove the certificate beside it",
    ),
    ("remote.place", Ca, "the machine has its old files; look at its disk and its permissions"),
    ("remote.read", Ca, "the machine has its old files; look at its disk and its permissions"),
    ("remote.reload", Ca, "look at the service there; the new files stay in their places"),
    (
        "remote.rollback",
        Ca,
        "in the directory there, rename each .NAME.cluster-ca-*.old to NAME, or deliver again",
    ),
    (
        "remote.shared_directory",
        Ca,
        "choose a directory that is for these files alone, such as /etc/cluster; if this one is, close it there first: chmod 0700 DIRECTORY",
    ),
    ("remote.write", Ca, "the machine has its old files; look at its disk and its permissions"),
    ("request.bad_signature", Ca, "make the request again with the key it is for: openssl req -new -key KEY"),
    (
        "restore.forgets",
        Ca,
        "with --reconcile the inventory that is there stays, or what it knows is taken in; nothing was changed",
    ),
    (
        "restore.list_missing",
        Ca,
        "copy the list here from the gateway's state_directory, and give it with --crl FILE; nothing was changed",
    ),
    (
        "restore.list_unreadable",
        Ca,
        "put an intact copy of it in its place, such as a gateway's, or move it away and say with --gateway, --crl or --no-newer-list what else is known; nothing was changed",
    ),
    (
        "restore.newest_list_unknown",
        Ca,
        "ask a gateway with --gateway HOST:PORT, or give its list, or the cluster.crl of another machine, with --crl FILE; if you know that nothing was revoked since, say so with --no-newer-list; nothing was changed",
    ),
    ("restore.other_cluster", Ca, "choose an empty directory with --home DIR; nothing was changed"),
    (
        "restore.revoked_unknown",
        Ca,
        "give the directories of their certificates with --certificates DIR; nothing was changed",
    ),
    (
        "restore.unrevokes",
        Ca,
        "take a newer backup, or take in what was revoked since with --reconcile (and --crl FILE for a gateway's list); nothing was changed",
    ),
    ("revocation.crl_expired", Ca, "write a fresh list: cluster-ca crl publish"),
    (
        "revocation.crl_expired",
        Gateway,
        "sign a new CRL on the CA's machine (`cluster-ca crl publish`), and copy cluster.crl here",
    ),
    (
        "revocation.revoked",
        Ca,
        "the revocation is permanent; issue a new certificate if its holder still needs access",
    ),
    (
        "revocation.revoked",
        Server,
        "issue the server a new certificate; until then clients should not connect to it",
    ),
    ("sealed.altered", Ca, "the file was damaged or changed: take another copy of it; nothing was changed"),
    (
        "sealed.weak_passphrase",
        Ca,
        "use several random words: a holder of the file can guess without a limit",
    ),
    ("server.access_log", Ca, "name a file in a directory that the server can write"),
    ("server.bind", Ca, "choose another address, or stop the program that has it"),
    ("server.certificate_host", Ca, "list only its hosts, or revoke it: the server issues another one"),
    ("server.certificate_key", Ca, "put the key back, or revoke it: the server issues another one"),
    ("server.configuration", Ca, "see cluster-ca man server.yaml for the keys of the file"),
    ("store.corrupt", Ca, "ca.db was changed by another program; compare it with a backup"),
    (
        "store.disk_full",
        Ca,
        "make room on the file system and run the command again; nothing half-written was kept",
    ),
    ("store.inconsistent", Ca, "ca.db was changed by another program; compare it with a backup"),
    ("store.no_key", Ca, "it was made elsewhere, or removed here after it was delivered"),
    (
        "store.read_only",
        Ca,
        "the file system is read-only; work in a home that can be written to (--home DIR)",
    ),
    (
        "store.schema",
        Ca,
        "nothing was read or signed; find out who changed ca.db, then restore a backup: cluster-ca restore FILE --reconcile",
    ),
    ("system.panic", Any, "this is a defect of the program: report it with this line and the command"),
    ("system.ssh", Ca, "install OpenSSH's client"),
    (
        "tls.key_mismatch",
        Gateway,
        "`identity.certificate` and `identity.key` must be written by the same command",
    ),
    ("trust.authority_key_identifier", Gateway, UNFIT_AUTHORITY),
    ("trust.duplicate", Gateway, UNFIT_AUTHORITY),
    (
        "trust.expired",
        Ca,
        "no certificate of that root is valid at that time: replace the root, or check the time",
    ),
    ("trust.expired", Gateway, UNFIT_AUTHORITY),
    ("trust.key_identifier_taken", Gateway, UNFIT_AUTHORITY),
    ("trust.key_usage", Gateway, UNFIT_AUTHORITY),
    ("trust.name_constraints", Gateway, UNFIT_AUTHORITY),
    (
        "trust.no_issuer",
        Gateway,
        "list every authority between the roots of `trust.bundle` and the certificates in `trust.intermediates`",
    ),
    ("trust.no_key_identifier", Gateway, UNFIT_AUTHORITY),
    ("trust.no_subject", Gateway, UNFIT_AUTHORITY),
    ("trust.not_an_authority", Gateway, UNFIT_AUTHORITY),
    ("trust.not_self_issued", Gateway, UNFIT_AUTHORITY),
    (
        "trust.not_yet_valid",
        Ca,
        "no certificate of that root is valid at that time: check the clock of this machine",
    ),
    ("trust.not_yet_valid", Gateway, UNFIT_AUTHORITY),
    (
        "trust.path_too_long",
        Gateway,
        "list every authority between the roots of `trust.bundle` and the certificates in `trust.intermediates`",
    ),
    ("trust.policy_constraints", Gateway, UNFIT_AUTHORITY),
    (
        "trust.self_signed",
        Gateway,
        "list every authority between the roots of `trust.bundle` and the certificates in `trust.intermediates`",
    ),
    ("trust.signature", Gateway, UNFIT_AUTHORITY),
    ("trust.subject_key_identifier", Gateway, UNFIT_AUTHORITY),
    ("trust.unknown_critical_extension", Gateway, UNFIT_AUTHORITY),
    ("trust.unreadable", Gateway, UNFIT_AUTHORITY),
    ("trust.version", Gateway, UNFIT_AUTHORITY),
    ("verify.crl_behind", Ca, "run any issuing command in this home: it writes the list that is owed"),
    (
        "verify.not_in_inventory",
        Ca,
        "find out who else has cluster.key, or whether ca.db is an old copy, before anything else",
    ),
    (
        "x509.malformed",
        Gateway,
        "the file is of another kind than the configuration expects, or truncated: copy it again",
    ),
    (
        "x509.no_block",
        Gateway,
        "the file is of another kind than the configuration expects, or truncated: copy it again",
    ),
    (
        "x509.pem",
        Gateway,
        "the file is of another kind than the configuration expects, or truncated: copy it again",
    ),
    (
        "x509.private_key",
        Gateway,
        "use the certificate that was written with the key: its file name ends in .crt",
    ),
    (
        "x509.serial_number",
        Ca,
        "a certificate is named by its serial number, or as ROLE/NAME: api-user/alice",
    ),
    (
        "x509.serial_number_range",
        Any,
        "have its CA issue it again: a serial number is positive and has at most 20 octets",
    ),
    (
        "x509.unexpected_block",
        Gateway,
        "the file is of another kind than the configuration expects, or truncated: copy it again",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hints_are_sorted_and_unique() {
        for pair in HINTS.windows(2) {
            let [(code, reader, _), (next, of, _)] = pair else { unreachable!() };
            assert!((code, reader) < (next, of), "{code} for {reader:?} stands before {next} for {of:?}");
        }
    }

    #[test]
    fn a_hint_is_the_readers_own_or_one_for_any() {
        assert!(hint(Ca, "chain.expired").is_some_and(|text| text.starts_with("issue a new one")));
        assert!(hint(Gateway, "chain.expired").is_some_and(|text| text.contains("for the gateway")));
        assert!(hint(Server, "chain.expired").is_some_and(|text| text.contains("the server")));
        assert_eq!(hint(Server, "file.exists"), hint(Ca, "file.exists"));
        assert_eq!(hint(Gateway, "file.exists"), None);
        assert_eq!(hint(Gateway, "file.foreign_owner"), hint(Ca, "file.foreign_owner"));
    }
}
