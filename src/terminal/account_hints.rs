//! Hints about accounts, tokens and the API, for users of `cluster-ca`.

/// The hint about an error of this code.
pub(super) fn account_hint(code: &str) -> Option<&'static str> {
    ACCOUNT_HINTS.iter().find(|(key, _)| *key == code).map(|(_, text)| *text)
}

/// Code and hint, sorted. `tests/layers/codes.rs` checks that each code exists in the tree.
const ACCOUNT_HINTS: &[(&str, &str)] = &[
    ("account.certificate_linked", "remove it there first: cluster-ca user update USER --no-certificate"),
    ("account.directory_unavailable", "cluster-ca ldap test shows the cause; local users can log in"),
    ("account.last_cluster_admin", "add another one: cluster-ca user add USER --role cluster-admin"),
    ("account.ldap_role", "change the groups of the user in the directory"),
    (
        "account.login_refused",
        "an unknown user, a wrong password and a locked account give this answer: cluster-ca user show USER",
    ),
    ("account.no_certificate", "link one with --certificate api-user/NAME, in the same command"),
    ("account.no_ldap", "set one up: cluster-ca ldap setup, or cluster-ca ldap setup-ad"),
    ("account.not_local", "change the password in the directory"),
    ("account.organization_exists", "case distinguishes no two organizations: see cluster-ca org list"),
    ("account.organization_has_ldap", "remove it first: cluster-ca ldap reset --org ORG"),
    ("account.organization_not_empty", "delete its users first: cluster-ca user list --org ORG"),
    ("account.password_change_required", "change it: cluster-ca passwd"),
    ("account.password_hash", "set a new password: cluster-ca user passwd USER"),
    ("account.refresh_refused", "log in again: cluster-ca login USER"),
    ("account.role_outside_root", "create it without --org, or give it the role org-admin"),
    ("account.token_revoked", "log in again: cluster-ca login USER"),
    ("account.unknown_organization", "see which exist: cluster-ca org list"),
    ("account.unknown_user", "see which exist, and their organizations: cluster-ca user list"),
    ("account.user_exists", "change it with cluster-ca user update or cluster-ca user passwd"),
    ("api.not_logged_in", "log in: cluster-ca login USER --server https://HOST:14000"),
    ("api.token_file", "remove it, and log in again: cluster-ca login USER"),
    (
        "api.untrusted",
        "give the cluster.crt of its cluster with --ca FILE, and a name that its certificate has",
    ),
    (
        "ldap.ambiguous",
        "choose an attribute with unique values: cluster-ca ldap update --user-id-attribute ATTRIBUTE",
    ),
    ("ldap.changed", "look at the settings and repeat the change: cluster-ca ldap show"),
    ("ldap.clear_text", "use ldaps://, or ldap:// with --start-tls"),
    ("ldap.reader", "give the right name and password: cluster-ca ldap update --reader READER"),
    ("ldap.reader_password", "give the password again: cluster-ca ldap update --password-file FILE"),
    ("ldap.unavailable", "check address, port and firewall; --no-test stores settings untested"),
    (
        "ldap.untrusted",
        "give the CA of the directory with --ca-cert FILE, and a host that its certificate names",
    ),
    ("token.certificate", "present the client certificate that the login came with"),
    ("token.expired", "log in again: cluster-ca login USER"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn account_hints_are_sorted_and_unique() {
        assert!(ACCOUNT_HINTS.windows(2).all(|pair| pair[0].0 < pair[1].0));
    }
}
