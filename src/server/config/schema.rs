//! Keys of `server.yaml`: the reader takes no others, and the manual page lists them.

use crate::file_schema::{FileSchema, KeySchema, MappingSchema};

/// The file and its manual page.
pub static FILE: FileSchema = FileSchema {
    name: "server.yaml",
    about: "configuration of cluster-ca serve",
    notes: &[
        "Unknown keys are errors. cluster-ca serve --check reports all of them.",
        "Relative paths are relative to the configuration file. Maximum size: 64 KiB.",
        "A duration is a whole number and a unit (s, m, h, d, w, y), such as 90s or 1d12h. A size is a whole \
         number and a unit (B, KiB, MiB, GiB).",
        "The server reloads the file on SIGHUP. Keys marked (restart) need a restart.",
        "The home, the profiles, and the secrets that open the root key are options of the command, not keys of this \
         file: --home, --templates, --passphrase-file, --pin-file.",
    ],
    mappings: &[&ROOT, &OPERATOR, &LIMITS],
};

/// The outermost mapping.
pub(super) static ROOT: MappingSchema = MappingSchema {
    path: "",
    keys: &[
        KeySchema::with_default("listen", "IP:PORT", "0.0.0.0:14000", "Address to listen on.")
            .after_restart(),
        KeySchema::required(
            "hosts",
            "host name or IP address, or list of them",
            "Names that clients use. The server issues its certificate for them, and the first names it.",
        ),
        KeySchema::optional(
            "operators",
            "list of operators",
            "none",
            "Client certificates that may call the API, each with a role.",
        ),
        KeySchema::optional("limits", "mapping", "all defaults", "Limits and timeouts.").after_restart(),
        KeySchema::with_default(
            "access_log",
            "stdout, off or file",
            "stdout",
            "Destination of the access log; a file is reopened on SIGHUP.",
        )
        .after_restart(),
        KeySchema::optional("metrics", "IP:PORT", "none", "Plain HTTP listener for /metrics and /healthz.")
            .after_restart(),
    ],
};

pub(super) static OPERATOR: MappingSchema = MappingSchema {
    path: "operators[]",
    keys: &[
        KeySchema::required("identity", "ROLE/NAME", "Identity in the certificate, such as api-user/admin."),
        KeySchema::required("role", "cluster-admin, org-admin, regular or read-only", "Role of the caller."),
    ],
};

pub(super) static LIMITS: MappingSchema = MappingSchema {
    path: "limits",
    keys: &[
        KeySchema::with_default("connections", "whole number, 1 to 1000000", "1000", "Open connections."),
        KeySchema::with_default(
            "connections_per_address",
            "whole number, 1 to 1000000",
            "200",
            "Open connections of one address (IPv6: of one /64).",
        ),
        KeySchema::with_default(
            "handshakes_per_address",
            "whole number, 1 to 1000000",
            "64",
            "Handshakes of one address in progress.",
        ),
        KeySchema::with_default(
            "failed_handshakes_per_address",
            "whole number, 1 to 1000000",
            "600",
            "Failed handshakes of one address within a minute.",
        ),
        KeySchema::with_default("handshake_timeout", "duration", "10s", "Longest handshake."),
        KeySchema::with_default(
            "request_timeout",
            "duration",
            "1m",
            "Longest time of a request, from its header to its response.",
        ),
        KeySchema::with_default(
            "idle_timeout",
            "duration",
            "30s",
            "Longest time without a request; one whose header is incomplete does not count.",
        ),
        KeySchema::with_default(
            "drain_timeout",
            "duration",
            "30s",
            "Time for requests in flight after SIGTERM.",
        ),
        KeySchema::with_default("header_bytes", "size, 8KiB to 1MiB", "64KiB", "Bytes of a request header."),
        KeySchema::with_default("request_body", "size, 1KiB to 16MiB", "1MiB", "Bytes of a request body."),
    ],
};
