//! Errors of values in the configuration.

/// Value that violates a rule of the configuration itself, not of another module's type.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ConfigError {
    #[error("must be from 1s to 10m")]
    AssertionLifetime,
    #[error("`{given}`: either `flocker` or `spiffe` was expected")]
    IdentityForm { given: String },
    #[error("`{given}`: only `allowed` was expected")]
    Body { given: String },
    #[error("has no effect: a request with one of these methods always may have a body")]
    BodyUnused,
    #[error("1 to 255 visible ASCII characters were expected")]
    Claim,
    #[error("`{given}`: either `optional` or `required` was expected")]
    ClientCertificate { given: String },
    #[error("`{given}` is not a cluster's UUID, in lower case and with hyphens")]
    Cluster { given: String },
    #[error("has no effect without `identity: flocker`")]
    ClusterUnused,
    #[error("`{given}`: either `absent`, `present` or a list of values was expected")]
    Condition { given: String },
    #[error("has no effect because revocation is disabled: remove it")]
    UnusedWhenDisabled,
    #[error("revocation is disabled, but `trust` has a `crl`: remove one of them")]
    DisabledWithCrl,
    #[error("must be from 8KiB to 1MiB")]
    HeaderBytes,
    #[error("a whole number from 1 to 10000 was expected")]
    ResponseFields,
    #[error(
        "must be more than {held_back} bytes, which is `http2_streams` times `http2_stream_window`, and less than 2GiB: else uploads wait for each other"
    )]
    Http2ConnectionWindow { held_back: u64 },
    #[error("must be from 16KiB to 16MiB")]
    Http2StreamWindow,
    #[error("must be from 1 to 1000")]
    Http2Streams,
    #[error(
        "`http2_streams` times `http2_stream_window` are {held_back} bytes: no connection can have a window of that size, which is less than 2GiB"
    )]
    Http2Windows { held_back: u64 },
    #[error("must be from 1s to 1h")]
    KmsTimeout,
    #[error("has no effect without `kms`")]
    KmsTimeoutUnused,
    #[error(
        "`{given}` is not a supported method; supported are GET, HEAD, POST, PUT, PATCH, DELETE and OPTIONS"
    )]
    Method { given: String },
    #[error("`{given}`: methods are written in upper case: {upper}")]
    MethodCase { given: String, upper: String },
    #[error("a listener has this address: choose another address or port")]
    MetricsAddress,
    #[error("{method} is never forwarded")]
    NeverForwarded { method: &'static str },
    #[error("no address is given")]
    NoAddress,
    #[error("`identity: flocker` needs the UUID of the `cluster`")]
    NoCluster,
    #[error("no condition is given")]
    NoConditions,
    #[error("`crl` is missing; to disable revocation checking, write `revocation: disabled`")]
    NoCrl,
    #[error("no issuer is given")]
    NoIssuers,
    #[error("has no effect without `key`")]
    NoKey,
    #[error("no method is given")]
    NoMethods,
    #[error("no route is given, so that every request would be denied")]
    NoRoutes,
    #[error("pushed CRLs must survive a restart: give a `state_directory` to keep them")]
    NoStateDirectory,
    #[error("no value is given")]
    NoValues,
    #[error("the path has no variable of this name")]
    NoVariable,
    #[error("clients without a certificate are accepted, but no route allows `anyone`")]
    NothingForAnyone,
    #[error("`{given}`: `disabled` was expected")]
    OnlyDisabled { given: String },
    #[error("this is given twice")]
    Repeated,
    #[error(
        "no listener accepts clients without a certificate: one must have `client_certificate: optional`"
    )]
    AnyoneUnreachable,
    #[error(
        "either a `role`, with or without a `name`, a `user`, a `group`, or the word `anyone` was expected"
    )]
    RoleOrGroup,
    #[error("either a `role`, with or without a `name`, or a `user` was expected")]
    RoleOrUser,
    #[error("`{given}`: either `refuse` or `{{ grace: 7d }}` was expected")]
    Staleness { given: String },
    #[error("`revocation: disabled` belongs at the top level, beside `trust`")]
    RevocationInTrust,
    #[error("a key is opened by `kms` or by a passphrase: remove one of them")]
    TwoOpeners,
    #[error("`{given}`: either `certificate` or `any` was expected")]
    TokenClients { given: String },
    #[error("`{given}`: only `forwarded` was expected")]
    TokenForwarding { given: String },
    #[error("the route allows no user, whose token could be forwarded")]
    TokenUnused,
    #[error("no route allows a user")]
    TokensUnused,
    #[error("`{given}`: either `exclude` or `refuse` was expected")]
    UnfitAnchors { given: String },
    #[error("no {what} is called `{name}`")]
    Undeclared { what: &'static str, name: String },
    #[error("no route uses it")]
    Unused,
    #[error("`{given}`: the only supported upgrade is `websocket`")]
    Upgrade { given: String },
    #[error("`{given}` is not `http://HOST:PORT`; a path, a query and user information are not allowed")]
    Url { given: String },
    #[error("https to an upstream is not supported: use http to a service on this machine or network")]
    UrlScheme,
    #[error("the name of an upstream consists of 1 to 64 lower-case letters, digits, `-` and `_`")]
    UpstreamName,
    #[error("users are allowed by their tokens: give the statement that judges them as `tokens`")]
    UserWithoutTokens,
    #[error("a variable is allowed only in a route, where its path has it")]
    VariableInGroup,
}
