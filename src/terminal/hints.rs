//! What to do next, by the stable code of an error.

/// What to do about a certificate that a server presents, by error code.
pub(crate) fn server_hint(code: &str) -> Option<&'static str> {
    Some(match code {
        "chain.expired" => "issue the server a new certificate: cluster-ca renew, then distribute",
        "chain.unknown_issuer" | "chain.bad_signature" | "identity.foreign_trust_domain" => {
            "another cluster answers there, or something in between: check the address, and cluster.crt on this machine"
        }
        "chain.wrong_name" => {
            "call it by a name that its certificate has, or issue one that names this host: --san"
        }
        "revocation.revoked" => "issue the server a new certificate; until then nobody should call it",
        _ => return hint(code),
    })
}

/// What to do next, by error code.
pub(crate) fn hint(code: &str) -> Option<&'static str> {
    Some(match code {
        "file.exists" => "nothing was overwritten; move the file away, or choose another name or place",
        "file.exposed" => "close it to others: chmod 0700 for a directory, chmod 0600 for a key",
        "file.writable_by_all" => "close it to others' writing: chmod o-w",
        "file.foreign_owner" => "run as the owner, or chown it to yourself",
        "file.disk_full" | "store.disk_full" => {
            "make room on the file system and run the command again; nothing half-written was kept"
        }
        "file.permission" => "run as the owner of the file, or make the directory one that you can write to",
        "file.read_only" | "store.read_only" => {
            "the file system is read-only; work in a home that can be written to (--home DIR)"
        }
        "file.locked" => "wait until it has finished, or see who it is: fuser -v DIRECTORY",
        "home.missing" => "make one with `cluster-ca initialize NAME`, or say where it is with --home DIR",
        "home.occupied" => {
            "choose an empty directory with --home DIR, or go on with the cluster that is here"
        }
        "home.exposed_directory" => {
            "choose an empty or new directory with --home DIR, or close this one: chmod 0700"
        }
        "home.inventory_behind" => {
            "an old copy of ca.db was put back, and lacks what was issued and revoked since; put back the newest"
        }
        "home.inventory_missing" => {
            "put ca.db back, or restore a backup into this home: cluster-ca restore FILE --reconcile takes in what is still here"
        }
        "home.key_mismatch" => {
            "put back the cluster.key and cluster.crt that belong together; nothing was signed"
        }
        "home.held_key_mismatch" => {
            "put back the kms.json and cluster.crt that belong together, or the key that the root was made with; nothing was signed"
        }
        "home.root_expired" => "the root must be replaced; nothing can be issued under it any more",
        "name.trust_domain" => "give one with --trust-domain, for example --trust-domain prod.example.com",
        "key.envelope_damaged" | "key.envelope_unreadable" => {
            "put back the key file from a backup; an envelope opens only as it was written"
        }
        "key.envelope_version" => "use the version of cluster-ca that wrote the file, or a newer one",
        "ca.unprotects" => {
            "take the protection off first (cluster-ca key unprotect FILE), or put the new pair elsewhere: --output DIR"
        }
        "key.not_protected" => "protect it with: cluster-ca key protect",
        "key.passphrase_needed" => {
            "give --passphrase-file FILE or --passphrase-fd FD, or run the command on a terminal"
        }
        "key.protected_by_kms" => "see cluster-ca kms show; cluster-ca kms unset ends it",
        "key.protected_by_passphrase" => "change it with: cluster-ca key change-passphrase",
        "key.unsupported_encryption" => {
            "write it anew: openssl pkcs8 -topk8 -scrypt -in KEY -out NEW; chmod 0600 NEW"
        }
        "key.weak_passphrase" => {
            "take several random words: whoever steals the file guesses as long as they like"
        }
        "ca.keys_wrapped" => {
            "with --allow-downgrade they are protected by --passphrase-file FILE instead, or by their file's mode alone"
        }
        "ca.no_kms" => "set one: cluster-ca kms set vault https://HOST:8200 KEY",
        "ca.no_service_ca" => {
            "the CAs that the system believes are used; set one: cluster-ca ca-cert set FILE"
        }
        "kms.address" => "give a Vault as https://HOST:8200, a KMIP server as HOST:5696",
        "kms.certificate_untrusted" => {
            "set the CA that the server's certificate comes from: cluster-ca ca-cert set FILE"
        }
        "kms.client_certificate" => "give --client-cert and --client-key that belong together, both in PEM",
        "kms.client_certificate_refused" => {
            "see that it is registered at the server, not expired, and allows clientAuth"
        }
        "kms.operation_missing" => "choose a server, or a profile of it, that encrypts and decrypts",
        "kms.too_old" => "update the server to KMIP 1.2 or later",
        "kms.configuration" => {
            "put kms.json back from a backup, or set the service again: cluster-ca kms set"
        }
        "kms.credential_missing" => {
            "give it in CLUSTER_CA_KMS_TOKEN or CLUSTER_CA_KMS_SECRET_ID, in a file, or run the command on a terminal"
        }
        "kms.denied" => {
            "the policy of the token or role must grant that capability there (cluster-ca kms set vault --help shows a policy); \
             a key that does not exist reads as denied too"
        }
        "kms.key_missing" => {
            "see that the name, the namespace and --transit-path are right; a deleted key is lost"
        }
        "kms.key_unfit" => {
            "make one that encrypts (Vault: bao write -f transit/keys/KEY; KMIP: AES, activated, usage mask Encrypt and Decrypt)"
        }
        "kms.key_version_refused" => {
            "lower the key's min_decryption_version in the service, then: cluster-ca kms rewrap"
        }
        "kms.login_refused" => {
            "see that role id, secret id and --auth-path are right and that the secret id is not used up"
        }
        "kms.mount_missing" => {
            "see that the engine is enabled there (bao secrets list), or give --transit-path, --auth-path"
        }
        "kms.namespace_missing" => "see that --namespace is right",
        "kms.not_configured" => "put back the kms.json that knows the service, or set it: cluster-ca kms set",
        "kms.sealed" => "unseal it (bao operator unseal), then run the command again",
        "kms.token_refused" => {
            "it is expired, revoked or wrong: set a new one with cluster-ca kms set vault; or its policies lack that capability,              and `read` on auth/token/lookup-self, which would tell the two apart"
        }
        "kms.unavailable" => {
            "see that the service runs and can be reached from here, then run the command again"
        }
        "input.gateways" => "cluster-ca crl push --help shows what belongs in gateways.yaml",
        "pkcs11.failed" => {
            "see what the token's own tool says, such as pkcs11-tool --module MODULE --login --test-ec"
        }
        "pkcs11.key_ambiguous" => "say in the URI which: id=%XX, object=LABEL, or both",
        "pkcs11.key_missing" => {
            "see that object and id are right: pkcs11-tool --module MODULE --login --list-objects; a deleted key is lost"
        }
        "pkcs11.key_unfit" => {
            "make one that is fit: pkcs11-tool --module MODULE --login --keypairgen --key-type EC:prime256v1 --usage-sign --id 01 --label root"
        }
        "pkcs11.module_exposed" => {
            "it would run in this program: chown it to root, and chmod go-w the file and its directories"
        }
        "pkcs11.module_missing" | "pkcs11.not_a_module" => {
            "give the library of the token's vendor as module-path, such as /usr/lib/softhsm/libsofthsm2.so"
        }
        "pkcs11.pin_expired" => "change it: pkcs11-tool --module MODULE --login --change-pin",
        "pkcs11.pin_in_uri" => {
            "leave it out and change the PIN, if it was a real one; give it with --pin-file FILE, in CLUSTER_CA_PKCS11_PIN, or as pin-source=file:/PATH"
        }
        "pkcs11.pin_last_try" => {
            "log in once with the right PIN by the token's own tool, such as pkcs11-tool --module MODULE --login --list-objects; that clears the count"
        }
        "pkcs11.pin_locked" => {
            "its security officer unlocks it: pkcs11-tool --module MODULE --login --login-type so --init-pin"
        }
        "pkcs11.pin_needed" => {
            "give it with --pin-file FILE or in CLUSTER_CA_PKCS11_PIN, or run the command on a terminal"
        }
        "pkcs11.pin_not_set" => "set one: pkcs11-tool --module MODULE --login --login-type so --init-pin",
        "pkcs11.pin_wrong" => {
            "find the right PIN before the next try: --pin-file, CLUSTER_CA_PKCS11_PIN, the URI's pin-source and kms.json are looked at in this order"
        }
        "pkcs11.token_ambiguous" => "say in the URI which: token=LABEL, serial=NUMBER or slot-id=NUMBER",
        "pkcs11.token_gone" => "put it back, then run the command again; what was not signed was not issued",
        "pkcs11.token_missing" => {
            "see that it is connected and its label right (pkcs11-tool --module MODULE --list-slots), and that the module's own settings, such as SOFTHSM2_CONF, are there"
        }
        "pkcs11.uri" => {
            "give it like pkcs11:token=LABEL;object=LABEL?module-path=/usr/lib/softhsm/libsofthsm2.so, in quotes"
        }
        "key.held" => "see cluster-ca key show; there is no file of it to protect",
        "key.encrypted" => "an unencrypted key was expected here",
        "policy.validity" => "choose a duration within the bounds that `cluster-ca profiles show ROLE` lists",
        "policy.outlives_issuer" => "ask for a shorter --validity",
        "policy.key_algorithm" => "choose one of those that `cluster-ca profiles show ROLE` lists",
        "request.bad_signature" => "make the request again with the key it is for: openssl req -new -key KEY",
        "trust.expired" | "trust.not_yet_valid" => {
            "the root does not hold then; choose another time with --at TIME"
        }
        "chain.expired" => "issue a new one; to judge as of an earlier time, use --at TIME",
        "chain.not_yet_valid" => {
            "check the clock of this machine, or judge as of a later time with --at TIME"
        }
        "chain.unknown_issuer" | "chain.bad_signature" => {
            "another cluster's root signed it, or nobody's; issue one in this cluster"
        }
        "chain.wrong_purpose" => "it is of a role that is not used for this; issue one of the right role",
        "chain.wrong_name" => "issue one that names this host: cluster-ca create-control HOST --san NAME",
        "identity.foreign_trust_domain" => "it belongs to another cluster; issue one in this cluster",
        "revocation.revoked" => "it is out for good; issue a new one if its holder is still to be let in",
        "revocation.crl_expired" | "crl.not_yet_valid" | "ca.crl_not_current" => {
            "write a fresh list: cluster-ca crl publish"
        }
        "ca.crl_not_recorded" | "ca.crl_incomplete" => {
            "an older copy is in its place; write a fresh list: cluster-ca crl publish"
        }
        "ca.crl_not_written" => {
            "make the directory writable; then any command that signs, such as cluster-ca crl publish, writes the list"
        }
        "ca.identity_revoked" => {
            "if its holder is to be let in again, issue a new one with cluster-ca create-..."
        }
        "ca.key_compromised" => {
            "make a new key, and request a certificate for that (rekey does both for a key made here)"
        }
        "ca.root_key" => "make another key, and find out who has used cluster.key for a request",
        "ca.key_elsewhere" => "have a new request made where the key is kept, and give it with --csr FILE",
        "ca.root_on_own_crl" => {
            "machines stop trusting a root when it is taken out of their cluster.crt, not by a list it signs"
        }
        "ca.same_key" => "make the request with a new key, or keep the key with cluster-ca renew",
        "ca.superseded" => "renew the newest of its line; cluster-ca show SERIAL tells which",
        "verify.not_in_inventory" => {
            "find out who else has cluster.key, or whether ca.db is an old copy, before anything else"
        }
        "verify.crl_behind" => "run any issuing command in this home: it writes the list that is owed",
        "backup.crl_differs" => "see what is wrong with the home first: cluster-ca doctor",
        "backup.format" => "use the version of cluster-ca that made it, or a newer one",
        "doctor.anonymous_callers" => {
            "have it require client certificates, or put cluster-gateway in front of it"
        }
        "doctor.no_certificate_served" => "see what listens there: cluster-ca explain-failure HOST:PORT",
        "doctor.served_ends_soon" => "renew it, and distribute it: cluster-ca renew, cluster-ca distribute",
        "doctor.served_superseded" => {
            "distribute the newer one, and have the service reload: cluster-ca distribute"
        }
        "explain.alert_denied" => "your role or name may not connect there; ask who runs it",
        "explain.alert_expired" => "compare the clocks: the server's is ahead, or the one here is behind",
        "explain.alert_revoked" => {
            "it was revoked, and the list here is older than the server's; ask for a new one"
        }
        "explain.alert_unknown_ca" => {
            "the server has another cluster.crt: copy this cluster's there and have it reload"
        }
        "explain.certificate_demanded" => "call with a certificate of this cluster: --cert FILE --key FILE",
        "explain.key_mismatch" => "give the key that was made with this certificate; they come as a pair",
        "explain.not_tls" => "something else listens on this port, or the service speaks plain HTTP there",
        "explain.refused_early" => "call it by a name that its certificate has, or by its address",
        "gateways.ahead" => {
            "take what the gateway knows in: cluster-ca restore BACKUP --reconcile --crl FILE, FILE being the list in its state_directory"
        }
        "gateways.behind" => {
            "see the gateway's log; until it enforces the list, rely on nothing that it says"
        }
        "gateways.crl_ends_soon" => {
            "write a fresh list and push it: cluster-ca crl publish, cluster-ca crl push"
        }
        "gateways.cut_off" => "see the gateway's log at this moment, then: cluster-ca crl push",
        "gateways.no_certificate" => "see what listens there: cluster-ca explain-failure HOST:PORT",
        "gateways.no_crl" => {
            "it has `revocation: disabled` in its configuration, or trusts another root than this home's"
        }
        "gateways.not_a_gateway" => "give the address at which callers of the API call the gateway",
        "gateways.not_an_operator" => {
            "name the caller in the gateway's configuration, such as operators: [{ role: api-user, name: admin }], or call as another with --operator"
        }
        "gateways.number_reused" => {
            "two homes sign for this cluster: find the other one, and put back here what it knows: cluster-ca restore --reconcile"
        }
        "gateways.operator_revoked" => {
            "renew it first, and revoke the old one by its serial number; or call as somebody else with --operator"
        }
        "gateways.other_bundle" => "copy this home's cluster.crt there: cluster-ca distribute",
        "gateways.outdated" => "have it enforce the newest: cluster-ca crl push",
        "gateways.oversized" | "gateways.unreadable" => {
            "something else than cluster-gateway answers there: correct the address"
        }
        "gateways.refused" => "see to what it says there, then: cluster-ca crl push",
        "gateways.reload_failed" => {
            "mend there what it names; until then what it loaded before stays in force"
        }
        "gateways.wrong_name" => "correct the address, or `identity` in gateways.yaml",
        "gateways.wrong_role" => {
            "give the gateway the certificate of a control service: cluster-ca create-control"
        }
        "network.refused" => "start the service, or correct the port",
        "network.silent" => "check the address, the route and the firewalls on the way",
        "network.unresolved" => "correct the name, or the resolver of this machine",
        "restore.forgets" => {
            "with --reconcile the inventory that is there stays, or what it knows is taken in; nothing was changed"
        }
        "restore.list_missing" => {
            "copy the list here from the gateway's state_directory, and give it with --crl FILE; nothing was changed"
        }
        "restore.list_unreadable" => {
            "put an intact copy of it in its place, such as a gateway's, or move it away and say with --gateway, --crl or --no-newer-list what else is known; nothing was changed"
        }
        "restore.newest_list_unknown" => {
            "ask a gateway with --gateway HOST:PORT, or give its list, or the cluster.crl of another machine, with --crl FILE; if you know that nothing was revoked since, say so with --no-newer-list; nothing was changed"
        }
        "restore.other_cluster" => "choose an empty directory with --home DIR; nothing was changed",
        "restore.revoked_unknown" => {
            "give the directories of their certificates with --certificates DIR; nothing was changed"
        }
        "restore.unrevokes" => {
            "take a newer backup, or take in what was revoked since with --reconcile (and --crl FILE for a gateway's list); nothing was changed"
        }
        "sealed.altered" => "the file was damaged or changed: take another copy of it; nothing was changed",
        "sealed.weak_passphrase" => {
            "take several random words: whoever has the file guesses as long as they like"
        }
        "doctor.bundle_lacks_root" => "put back the cluster.crt of this cluster: `cluster-ca restore` has it",
        "doctor.clock_behind" => {
            "set this machine's clock before anything is issued: certificates would be dated in the past"
        }
        "doctor.crl_differs" | "doctor.crl_incomplete" => {
            "find out who replaced cluster.crl, then write a fresh one: cluster-ca crl publish"
        }
        "doctor.crl_ends_soon" => "write a fresh list and give it to every gateway: cluster-ca crl publish",
        "doctor.crl_owed" | "doctor.leftover" | "doctor.reserved" | "doctor.unplaced" => {
            "cluster-ca doctor --fix does it"
        }
        "doctor.key_without_certificate" => {
            "fetch the certificate with `cluster-ca show`, or remove the key if nobody uses it"
        }
        "doctor.leftover_of_issued" => {
            "it may be the only copy of its key: move it to its name, or revoke the certificate and remove it"
        }
        "doctor.pair_mismatch" => "put back the files that belong together, or issue the certificate anew",
        "doctor.unknown_certificate" => {
            "find out who else has cluster.key, or whether ca.db is an old copy, before anything else"
        }
        "doctor.writable" => "close it to others: chmod 0644",
        "audit.broken" | "store.corrupt" | "store.inconsistent" => {
            "somebody changed ca.db by other means; compare it with a backup"
        }
        "ca.not_valid" => "issue a new one; what is revoked or expired is not handed over",
        "ca.file_foreign" => {
            "nothing was touched; put the files back that belong to it, or issue a new one elsewhere with --output DIR"
        }
        "store.no_key" => "it was made elsewhere, or removed here after it was delivered",
        "network.cut" | "network.timeout" | "network.unreachable" => {
            "the machine has its old files; run the command again when `ssh` reaches it"
        }
        "network.unsure" => "run the command again: it puts the same files there",
        "network.denied" => "let `ssh` log in there: its key or agent, or USER@ in the destination",
        "network.host_key_unknown" => {
            "log in there once by hand with `ssh`, and compare the key's fingerprint"
        }
        "network.host_key_changed" => {
            "nothing was sent; find out whether the machine was replaced before removing its old key with ssh-keygen -R"
        }
        "remote.write" | "remote.place" | "remote.read" => {
            "the machine has its old files; look at its disk and its permissions"
        }
        "remote.rollback" => {
            "in the directory there, rename each .NAME.cluster-ca-*.old to NAME, or deliver again"
        }
        "remote.shared_directory" => {
            "choose a directory that is for these files alone, such as /etc/cluster; if this one is, close it there first: chmod 0700 DIRECTORY"
        }
        "remote.other_key" => {
            "no key is sent, because none is kept here: deliver under another name with --as, or put this certificate's key there first and remove the certificate beside it"
        }
        "remote.foreign_owner" => "log in as the owner of the directory, or choose another directory",
        "remote.reload" => "look at the service there; the new files stay in their places",
        "system.ssh" => "install OpenSSH's client",
        "x509.serial_number" => {
            "a certificate is named by its serial number, or as ROLE/NAME: api-user/alice"
        }
        "ca.unknown_certificate" => "see what there is: cluster-ca list",
        "ca.ambiguous" => "name one of them by its serial number: cluster-ca list tells them",
        _ => return None,
    })
}
