//! What the server of the CA signs, made by a test: tokens, and the statement about them.

use cluster_ca::identity::{AccountRole, Name};
use cluster_ca::tokens::{
    AccessClaims, AccessTokenSigner, CertificateBinding, PublishedKey, TokenScope, TokenStatement,
};
use cluster_ca::x509::Sha256;
use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, KeyPair};
use time::{Duration, OffsetDateTime};

use crate::cluster::{Cluster, Leaf, leaf_params, now, uri};

/// `id-kp-oauthAccessTokenSigning` (RFC 9509).
const TOKEN_SIGNING: &[u64] = &[1, 3, 6, 1, 5, 5, 7, 3, 39];

/// Signer of tokens of a cluster.
pub(crate) struct TokenServer {
    scope: TokenScope,
    signer: AccessTokenSigner,
    certificate: Vec<u8>,
}

impl TokenServer {
    /// The server of `cluster`.
    pub(crate) fn of(cluster: &Cluster) -> Self {
        Self::with(cluster, |_| {})
    }

    /// The same, with something changed in the certificate of its key.
    pub(crate) fn with(cluster: &Cluster, change: impl FnOnce(&mut CertificateParams)) -> Self {
        let mut params = leaf_params(&cluster.trust_domain, "api-user", "token-signer");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::Other(TOKEN_SIGNING.to_vec())];
        params.subject_alt_names = vec![uri(&format!("spiffe://{}/cluster-ca", cluster.trust_domain))];
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &cluster.root).unwrap().der().to_vec();
        Self {
            scope: TokenScope::of(&cluster.trust_domain.parse().unwrap()),
            signer: AccessTokenSigner::from_pkcs8(&key.serialize_der()).unwrap(),
            certificate,
        }
    }

    /// The statement with this number, that revokes the tokens of these users of `Root` issued before now.
    pub(crate) fn statement(&self, number: u64, revoked: &[&str]) -> String {
        self.statement_with(number, |statement| {
            for user in revoked {
                let name = Name::of_user(user).unwrap();
                statement.revoke_user(&"Root".parse().unwrap(), &name, now() + Duration::SECOND);
            }
        })
    }

    /// A statement with something changed.
    pub(crate) fn statement_with(&self, number: u64, change: impl FnOnce(&mut TokenStatement)) -> String {
        let mut statement = TokenStatement {
            iss: self.scope.issuer().to_owned(),
            aud: self.scope.audience().to_owned(),
            number,
            iat: now().unix_timestamp(),
            exp: (now() + Duration::days(7)).unix_timestamp(),
            audit: 1,
            keys: vec![PublishedKey::of(self.signer.verification_key()).unwrap()],
            users: Vec::new(),
            organizations: Vec::new(),
            sessions: Vec::new(),
        };
        change(&mut statement);
        self.signer.sign_statement(&statement, &[&self.certificate]).unwrap()
    }

    /// Claims of a token of this user, issued a minute ago.
    pub(crate) fn claims(&self, org: &str, user: &str, role: AccountRole) -> AccessClaims {
        let issued: OffsetDateTime = now() - Duration::MINUTE;
        AccessClaims {
            iss: self.scope.issuer().to_owned(),
            aud: self.scope.audience().to_owned(),
            sub: format!("{org}/{user}"),
            jti: "0123456789abcdef0123456789abcdef".to_owned(),
            sid: None,
            iat: issued.unix_timestamp(),
            exp: (now() + Duration::minutes(5)).unix_timestamp(),
            user: Name::of_user(user).unwrap(),
            org: org.parse().unwrap(),
            role,
            password_change_required: false,
            cnf: None,
        }
    }

    /// A token with these claims.
    pub(crate) fn sign(&self, claims: &AccessClaims) -> String {
        self.signer.sign(claims).unwrap()
    }

    /// A token of a regular user of `Root`.
    pub(crate) fn token(&self, user: &str) -> String {
        self.sign(&self.claims("Root", user, AccountRole::Regular))
    }

    /// A token of a regular user of `Root` that is bound to a certificate.
    pub(crate) fn bound(&self, user: &str, leaf: &Leaf) -> String {
        let certificate = Sha256::of(&leaf.chain[0]);
        let claims = self.claims("Root", user, AccountRole::Regular);
        self.sign(&AccessClaims { cnf: Some(CertificateBinding { certificate }), ..claims })
    }

    /// ID of the key, as tokens name it.
    pub(crate) fn key_id(&self) -> &str {
        &self.signer.verification_key().id
    }
}
