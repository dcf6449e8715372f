//! Keys of `cluster-gateway.yaml`: the reader takes no others, and the manual page lists them.

use crate::file_schema::{FileSchema, KeySchema, MappingSchema};

/// The file and its manual page.
pub static FILE: FileSchema = FileSchema {
    name: "cluster-gateway.yaml",
    about: "configuration of cluster-gateway",
    notes: &[
        "Unknown keys are errors, and so are settings without effect. cluster-gateway check reports all of them.",
        "Relative paths are relative to the configuration file. Maximum size: 16 MiB.",
        "A duration is a whole number and a unit (s, m, h, d, w, y), such as 90s or 1d12h. A size is a whole \
         number and a unit (B, KiB, MiB, GiB).",
        "The gateway reloads the file when it changes and on SIGHUP. Keys marked (restart) need a restart.",
    ],
    mappings: &[
        &ROOT,
        &LISTENER,
        &IDENTITY,
        &TRUST,
        &STALENESS,
        &RESUMPTION,
        &TOKENS,
        &CALLER,
        &MEMBER,
        &UPSTREAM,
        &ROUTE,
        &ALLOW,
        &SHADOW,
        &LIMITS,
        &ASSERTION,
    ],
};

/// The outermost mapping.
pub(super) static ROOT: MappingSchema = MappingSchema {
    path: "",
    keys: &[
        KeySchema::required("listen", "address, listener, or list of them", "Addresses to listen on.")
            .after_restart(),
        KeySchema::required("identity", "mapping", "Certificate and private key of the gateway."),
        KeySchema::optional(
            "revocation",
            "disabled",
            "CRLs are required",
            "Turns revocation checking off; trust has no crl then.",
        ),
        KeySchema::required("trust", "mapping", "Trust anchors and CRLs."),
        KeySchema::optional(
            "trust_domain",
            "SPIFFE trust domain",
            "that of the gateway's certificate",
            "Trust domain of every client.",
        ),
        KeySchema::with_default(
            "resumption",
            "disabled or mapping",
            "{ max_age: 8h }",
            "Resumption of TLS sessions.",
        ),
        KeySchema::optional(
            "tokens",
            "mapping",
            "no token is accepted",
            "Access tokens of users, judged by a statement of the server.",
        ),
        KeySchema::optional(
            "operators",
            "list of callers",
            "none",
            "Callers that may push CRLs and statements, and read the status; needs state_directory.",
        ),
        KeySchema::optional(
            "state_directory",
            "directory",
            "none",
            "Directory for pushed CRLs and statements, and their newest numbers; no other user may write there.",
        ),
        KeySchema::optional(
            "remove_headers",
            "list of header names; a * at the end matches any suffix",
            "none",
            "Further header fields to remove from requests and responses, such as those of another proxy.",
        ),
        KeySchema::with_default(
            "via",
            "off, or a name of 1 to 64 characters",
            "cluster-gateway",
            "Name of the gateway in the Via field of forwarded requests and responses.",
        ),
        KeySchema::required("upstreams", "mapping of names to upstreams", "Services to forward to."),
        KeySchema::optional("groups", "mapping of names to lists of callers", "none", "Groups of callers."),
        KeySchema::required("routes", "list of routes", "Policy: the most specific matching route decides."),
        KeySchema::optional(
            "policy",
            "mapping",
            "none",
            "A second policy that is evaluated and logged only.",
        ),
        KeySchema::optional("limits", "mapping", "all defaults", "Limits and timeouts.").after_restart(),
        KeySchema::with_default(
            "access_log",
            "stdout, off or file",
            "stdout",
            "Destination of the access log; a file is reopened on SIGHUP.",
        )
        .after_restart(),
        KeySchema::optional("assertion", "mapping", "none is sent", "Signed JWT about the caller."),
        KeySchema::optional(
            "metrics",
            "address",
            "none",
            "Plain HTTP listener for /metrics, /healthz and the keys of assertions.",
        )
        .after_restart(),
        KeySchema::optional(
            "admin",
            "path of a socket",
            "none",
            "Socket for cluster-gateway status and others; mode 0600.",
        )
        .after_restart(),
        KeySchema::with_default(
            "http1_title_case",
            "true or false",
            "false",
            "Field names to HTTP/1.1 clients as Content-Type instead of content-type.",
        )
        .after_restart(),
        KeySchema::optional(
            "threads",
            "whole number, 1 to 1000000",
            "one for each processor",
            "Worker threads.",
        )
        .after_restart(),
    ],
};

pub(super) static LISTENER: MappingSchema = MappingSchema {
    path: "listen",
    keys: &[
        KeySchema::required("address", "IP:PORT", "Address to listen on."),
        KeySchema::with_default(
            "client_certificate",
            "required or optional",
            "required",
            "Client certificates; a client without one reaches only routes for anyone.",
        ),
        KeySchema::with_default("identity", "spiffe or flocker", "spiffe", "Form of the client's identity."),
        KeySchema::optional(
            "cluster",
            "UUID",
            "none",
            "Cluster whose Flocker certificates are accepted; required with identity: flocker.",
        ),
    ],
};

pub(super) static IDENTITY: MappingSchema = MappingSchema {
    path: "identity",
    keys: &[
        KeySchema::required("certificate", "file (PEM)", "Certificate, followed by its issuers if any."),
        KeySchema::required("key", "file (PKCS#8 PEM, 0600)", "Private key."),
        KEY_KMS,
        KEY_PASSPHRASE_FILE,
        KEY_KMS_TIMEOUT,
    ],
};

const KEY_KMS: KeySchema = KeySchema::optional(
    "kms",
    "file (0600)",
    "the key is not wrapped",
    "Output of cluster-ca kms export that opens the key.",
);
const KEY_PASSPHRASE_FILE: KeySchema = KeySchema::optional(
    "passphrase_file",
    "file (0600)",
    "the key has no passphrase",
    "File with the passphrase of the key in its first line.",
);
const KEY_KMS_TIMEOUT: KeySchema = KeySchema::with_default(
    "kms_timeout",
    "duration, 1s to 1h",
    "60s",
    "Longest wait for the KMS at the start.",
);

pub(super) static TRUST: MappingSchema = MappingSchema {
    path: "trust",
    keys: &[
        KeySchema::required("bundle", "file (PEM)", "Trust anchors."),
        KeySchema::optional(
            "crl",
            "file or list of files (PEM or DER)",
            "refused, unless revocation: disabled",
            "CRLs, one of each trust anchor and intermediate CA.",
        ),
        KeySchema::optional(
            "intermediates",
            "file (PEM)",
            "none",
            "Certificates of CAs below the trust anchors; they complete chains, and each needs a CRL.",
        ),
        KeySchema::with_default(
            "unfit_anchors",
            "exclude or refuse",
            "exclude",
            "Unfit certificates in bundle and intermediates: leave them out, or refuse the file.",
        ),
        KeySchema::with_default(
            "crl_staleness",
            "refuse or mapping",
            "refuse",
            "Acceptance of a CRL that is past its nextUpdate.",
        ),
        KeySchema::optional(
            "issuers",
            "mapping of key identifiers to lists of roles",
            "every issuer may vouch for every role",
            "Roles that an issuer may vouch for.",
        ),
    ],
};

pub(super) static STALENESS: MappingSchema = MappingSchema {
    path: "trust.crl_staleness",
    keys: &[KeySchema::required(
        "grace",
        "duration",
        "Time after nextUpdate during which a CRL is accepted.",
    )],
};

pub(super) static RESUMPTION: MappingSchema = MappingSchema {
    path: "resumption",
    keys: &[KeySchema::required("max_age", "duration", "Greatest age of the full handshake.")],
};

pub(super) static TOKENS: MappingSchema = MappingSchema {
    path: "tokens",
    keys: &[
        KeySchema::required(
            "statement",
            "file (cluster.tokens of the CA)",
            "Keys of the tokens, and what is revoked; a newer one that was pushed counts instead.",
        ),
        KeySchema::with_default(
            "clients",
            "certificate or any",
            "certificate",
            "Clients that may present a token; with any, a token stands in for the certificate that a listener requires.",
        ),
    ],
};

pub(super) static CALLER: MappingSchema = MappingSchema {
    path: "operators[]",
    keys: &[
        KeySchema::required("role", "control-service, node-agent or api-user", "Role of the caller."),
        KeySchema::optional("name", "name", "any name", "Name of the caller."),
    ],
};

pub(super) static MEMBER: MappingSchema = MappingSchema {
    path: "groups.NAME[]",
    keys: &[
        KeySchema::optional(
            "role",
            "control-service, node-agent or api-user; with user, a role of an account",
            "a user is required",
            "Role of the caller.",
        ),
        KeySchema::optional("name", "name", "any name", "Name of the caller."),
        KeySchema::optional("user", "user name or *", "none", "User of an access token."),
        KeySchema::optional("org", "organization or *", "Root", "Organization of the user."),
    ],
};

pub(super) static UPSTREAM: MappingSchema = MappingSchema {
    path: "upstreams.NAME",
    keys: &[
        KeySchema::required("url", "http://HOST:PORT", "Address of the service; port 80 if none is given."),
        KeySchema::with_default("connect_timeout", "duration", "5s", "Time for connecting."),
        KeySchema::with_default(
            "response_timeout",
            "duration",
            "60s",
            "Time from the end of a request to the header of its response.",
        ),
        KeySchema::optional(
            "body_timeout",
            "duration",
            "no limit",
            "Longest silence of the service in the body of a response.",
        ),
        KeySchema::with_default(
            "response_fields",
            "whole number, 1 to 10000",
            "100",
            "Most header fields of a response; beyond it 502.",
        ),
    ],
};

pub(super) static ROUTE: MappingSchema = MappingSchema {
    path: "routes[]",
    keys: &[
        KeySchema::required("path", "path template, such as /v1/nodes/{name}/**", "Paths of the route."),
        KeySchema::required(
            "methods",
            "list of GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS",
            "Methods of the route.",
        ),
        KeySchema::optional(
            "query",
            "mapping of parameters to absent, present or a list of values",
            "no condition",
            "Conditions on the query.",
        ),
        KeySchema::required("allow", "list of callers, groups or the word anyone", "Permitted callers."),
        KeySchema::required("upstream", "name of an upstream", "Destination."),
        KeySchema::optional(
            "body",
            "allowed",
            "400 with policy.content_not_allowed",
            "Permits content with GET, HEAD, DELETE and OPTIONS; the connection to the upstream is closed after it.",
        ),
        KeySchema::optional("upgrade", "websocket", "none", "Upgrade that is permitted."),
        KeySchema::optional(
            "token",
            "forwarded",
            "the upstream gets no token",
            "Forwards the Authorization field with the access token of the user.",
        ),
    ],
};

pub(super) static ALLOW: MappingSchema = MappingSchema {
    path: "routes[].allow[]",
    keys: &[
        KeySchema::optional("group", "name of a group", "none", "Group of callers; excludes the other keys."),
        KeySchema::optional(
            "role",
            "control-service, node-agent or api-user; with user, a role of an account",
            "a group or user is required",
            "Role of the caller.",
        ),
        KeySchema::optional("name", "name, or {variable} of the path", "any name", "Name of the caller."),
        KeySchema::optional(
            "user",
            "user name, *, or {variable} of the path",
            "none",
            "User of an access token; needs tokens, excludes name.",
        ),
        KeySchema::optional(
            "org",
            "organization, *, or {variable} of the path",
            "Root",
            "Organization of the user.",
        ),
    ],
};

pub(super) static SHADOW: MappingSchema = MappingSchema {
    path: "policy",
    keys: &[KeySchema::required(
        "shadow",
        "file (YAML)",
        "File whose groups and routes are evaluated beside those in force.",
    )],
};

pub(super) static ASSERTION: MappingSchema = MappingSchema {
    path: "assertion",
    keys: &[
        KeySchema::optional(
            "issuer",
            "1 to 255 visible ASCII characters",
            "spiffe://TRUST-DOMAIN",
            "Claim iss.",
        ),
        KeySchema::optional(
            "audience",
            "1 to 255 visible ASCII characters",
            "name of the upstream",
            "Claim aud.",
        ),
        KeySchema::with_default("lifetime", "duration, 1s to 10m", "30s", "Validity of one assertion."),
        KeySchema::optional(
            "key",
            "file (PKCS#8 PEM, 0600)",
            "generated at the start",
            "P-256 private key that signs.",
        ),
        KEY_KMS,
        KEY_PASSPHRASE_FILE,
        KEY_KMS_TIMEOUT,
    ],
};

/// A count of the limits.
const fn count(name: &'static str, default: &'static str, about: &'static str) -> KeySchema {
    KeySchema::with_default(name, "whole number, 1 to 1000000", default, about)
}

/// A timeout of the limits.
const fn timeout(name: &'static str, default: &'static str, about: &'static str) -> KeySchema {
    KeySchema::with_default(name, "duration", default, about)
}

pub(super) static LIMITS: MappingSchema = MappingSchema {
    path: "limits",
    keys: &[
        count("connections", "10000", "Open connections, handshakes included."),
        count(
            "connections_per_identity",
            "1000",
            "Open connections of one identity; clients without a certificate count by address.",
        ),
        count(
            "requests_per_identity",
            "1000",
            "Requests of one identity in flight to upstreams; beyond it 503 with Retry-After.",
        ),
        count("connections_per_upstream", "5000", "Connections to one upstream, idle ones included."),
        count(
            "connections_per_address",
            "2500",
            "Open connections of one address; an IPv6 /64 counts as one.",
        ),
        count("handshakes_per_address", "512", "Handshakes in progress of one address."),
        count("failed_handshakes_per_address", "3000", "Failed handshakes of one address within a minute."),
        timeout("handshake_timeout", "10s", "From accepting a connection to the end of its handshake."),
        timeout("header_timeout", "10s", "From the first byte of a request to the end of its header."),
        timeout("idle_timeout", "1m", "Longest time of a connection without a request."),
        timeout("stall_timeout", "5m", "Longest time of a response that the client does not read."),
        timeout("tunnel_timeout", "1h", "Longest time of a WebSocket without traffic."),
        timeout("drain_timeout", "30s", "Time for requests in flight after SIGTERM."),
        KeySchema::with_default("header_bytes", "size, 8KiB to 1MiB", "32KiB", "Header of a request."),
        KeySchema::with_default("request_body", "size", "64MiB", "Body of a request, or a pushed CRL."),
        KeySchema::with_default(
            "http2_streams",
            "whole number, 1 to 1000",
            "128",
            "Concurrent requests on one HTTP/2 connection.",
        ),
        KeySchema::with_default(
            "http2_stream_window",
            "size, 16KiB to 16MiB",
            "128KiB",
            "Bytes that one HTTP/2 upload holds back while its upstream does not read.",
        ),
        KeySchema::with_default(
            "http2_connection_window",
            "size, more than http2_streams times http2_stream_window",
            "16512KiB",
            "Bytes that all uploads of one HTTP/2 connection hold back; by default, one stream more than there are.",
        ),
    ],
};
