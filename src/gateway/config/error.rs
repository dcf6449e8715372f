//! Problems of the configuration.

/// The rules of the configuration that are not another module's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ConfigError {
    #[error("`{given}` is not an address and port, such as 127.0.0.1:4523 or [::1]:4523")]
    Address { given: String },
    #[error("from 1s to 10m is possible")]
    AssertionLifetime,
    #[error("`{given}`: either `flocker` or `spiffe` was expected")]
    CallerIdentity { given: String },
    #[error("1 to 255 visible ASCII characters were expected")]
    Claim,
    #[error("`{given}`: either `optional` or `required` was expected")]
    ClientCertificate { given: String },
    #[error("`{given}` is not a cluster's UUID, in lower case and with hyphens")]
    Cluster { given: String },
    #[error("only `identity: flocker` reads it")]
    ClusterUnused,
    #[error("`{given}`: either `absent`, `present` or a list of values was expected")]
    Condition { given: String },
    #[error("a whole number from 1 to 1000000 was expected")]
    Count,
    #[error("revocation is disabled, so that nothing depends on this: leave it away")]
    DisabledAnyway,
    #[error("revocation is disabled, yet `trust` has a `crl`: leave one of them away")]
    DisabledWithCrl,
    #[error(
        "`{given}` is not a duration: write a whole number and a unit (s, m, h, d, w or y), such as {given}s or {given}h"
    )]
    DurationWithoutUnit { given: u64 },
    #[error("from 8KiB to 1MiB is possible")]
    HeaderBytes,
    #[error("from 1s to 1h is possible")]
    KmsTimeout,
    #[error("only a key that `kms` opens is waited for")]
    KmsTimeoutUnused,
    #[error(
        "`{given}` is not a method that a route can be for; those are GET, HEAD, POST, PUT, PATCH, DELETE and OPTIONS"
    )]
    Method { given: String },
    #[error("`{given}`: methods are written in upper case: {upper}")]
    MethodCase { given: String, upper: String },
    #[error("a listener has this address: choose another one, or another port")]
    MetricsAddress,
    #[error("{method} is never passed on")]
    NeverPassed { method: &'static str },
    #[error("no address is given")]
    NoAddress,
    #[error("`identity: flocker` needs the UUID of the `cluster`")]
    NoCluster,
    #[error("no condition is given")]
    NoConditions,
    #[error("`crl` is missing; a gateway that shall not know what is revoked says `revocation: disabled`")]
    NoCrl,
    #[error("no file is given")]
    NoFile,
    #[error("no issuer is given")]
    NoIssuers,
    #[error("there is no `key` for it to open")]
    NoKey,
    #[error("no method is given")]
    NoMethods,
    #[error("no route is given, so that nobody could do anything")]
    NoRoutes,
    #[error("a CRL that an operator pushes must outlive a restart: `state_directory` says where to keep it")]
    NoStateDirectory,
    #[error("no value is given")]
    NoValues,
    #[error("the path has no variable of this name")]
    NoVariable,
    #[error("callers without a certificate are let in, but no route is for `anyone`")]
    NothingForAnyone,
    #[error("`{given}`: the only word for it is `disabled`")]
    OnlyDisabled { given: String },
    #[error("this stands twice")]
    Repeated,
    #[error("no listener lets callers without a certificate in: one must say `client_certificate: optional`")]
    NobodyIsAnyone,
    #[error("either a `role`, with or without a `name`, or a `group`, or the word `anyone` was expected")]
    RoleOrGroup,
    #[error("`{given}` is not a size: write a whole number and a unit (B, KiB, MiB or GiB), such as 64KiB")]
    Size { given: String },
    #[error("`{given}`: either `refuse` or `{{ grace: 7d }}` was expected")]
    Staleness { given: String },
    #[error("`revocation: disabled` stands by itself, beside `trust`, and not in it")]
    RevocationInTrust,
    #[error("a key is opened by `kms` or by a passphrase: leave one of them away")]
    TwoOpeners,
    #[error("no {what} is called `{name}`")]
    Undeclared { what: &'static str, name: String },
    #[error("no route uses it")]
    Unused,
    #[error("`{given}`: the only upgrade that is passed on is `websocket`")]
    Upgrade { given: String },
    #[error("`{given}` is not `http://HOST:PORT`; a path, a query or user information cannot be given")]
    Url { given: String },
    #[error("https to an upstream is not supported: write http, to a service on this machine or network")]
    UrlScheme,
    #[error("the name of an upstream has 1 to 64 lower-case letters, digits, `-` and `_`")]
    UpstreamName,
    #[error("only a route can name its callers by a variable of its path")]
    VariableInGroup,
}
