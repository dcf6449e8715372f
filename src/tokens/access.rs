//! Signing and verification of access tokens.

use time::OffsetDateTime;

use super::claims::{AccessClaims, TokenScope};
use super::error::TokenError;
use super::jws::{JwsKey, VerificationKey, verify};
use super::statement::TokenStatement;
use super::statement_error::StatementError;
use crate::x509::Sha256;

/// Type of access tokens (RFC 9068, section 2.1), so that no other JWT is accepted as one.
const TYPE: &str = "at+jwt";

/// Private key that signs the access tokens of the cluster.
#[derive(Debug)]
pub struct AccessTokenSigner {
    key: JwsKey,
}

impl AccessTokenSigner {
    /// Sign with a private key in PKCS#8 (DER).
    ///
    /// # Errors
    /// [`TokenError::Key`] unless it is an ECDSA key on P-256.
    pub fn from_pkcs8(der: &[u8]) -> Result<Self, TokenError> {
        Ok(Self { key: JwsKey::from_pkcs8(der)? })
    }

    /// Sign an access token.
    ///
    /// # Errors
    /// [`TokenError::Signing`].
    pub fn sign(&self, claims: &AccessClaims) -> Result<String, TokenError> {
        let payload = serde_json::to_vec(claims).map_err(|_| TokenError::Signing)?;
        self.key.sign(TYPE, &payload)
    }

    /// Sign a statement about the tokens. `certificates` are that of this key and its issuers (DER).
    ///
    /// # Errors
    /// [`StatementError::Signing`].
    pub fn sign_statement(
        &self,
        statement: &TokenStatement,
        certificates: &[&[u8]],
    ) -> Result<String, StatementError> {
        statement.sign(&self.key, certificates)
    }

    /// Key that verifies the tokens.
    #[must_use]
    pub fn verification_key(&self) -> &VerificationKey {
        &self.key.public
    }
}

/// Verifier of access tokens.
#[derive(Clone, Debug)]
pub struct TokenVerifier {
    scope: TokenScope,
    keys: Vec<VerificationKey>,
}

impl TokenVerifier {
    /// Accept the tokens of `scope` that one of `keys` signed.
    #[must_use]
    pub fn new(scope: TokenScope, keys: Vec<VerificationKey>) -> Self {
        Self { scope, keys }
    }

    /// True for the ID of one of the keys.
    #[must_use]
    pub fn has_key(&self, id: &str) -> bool {
        self.keys.iter().any(|key| key.id == id)
    }

    /// Cluster whose tokens are accepted.
    #[must_use]
    pub fn scope(&self) -> &TokenScope {
        &self.scope
    }

    /// Verify a token that was presented over a connection with the client certificate of this SHA-256, and
    /// returns its claims. Revocation is not judged here.
    ///
    /// # Errors
    /// [`TokenError`] with the violated rule.
    pub fn verify(
        &self,
        token: &str,
        certificate: Option<Sha256>,
        now: OffsetDateTime,
    ) -> Result<AccessClaims, TokenError> {
        let (claims, _) = self.signed_claims(token)?;
        claims.check_time(now)?;
        claims.check_certificate(certificate)?;
        Ok(claims)
    }

    /// Verify the signature of a token and the cluster that it is for, and return its claims with the key.
    /// Its times and its certificate are not judged.
    ///
    /// # Errors
    /// [`TokenError`] with the violated rule.
    pub fn signed_claims(&self, token: &str) -> Result<(AccessClaims, &VerificationKey), TokenError> {
        let (payload, key) = verify(token, TYPE, &self.keys)?;
        let claims: AccessClaims = serde_json::from_slice(&payload).map_err(|_| TokenError::Malformed)?;
        if claims.iss != self.scope.issuer {
            return Err(TokenError::Issuer);
        }
        if claims.aud != self.scope.audience {
            return Err(TokenError::Audience);
        }
        Ok((claims, key))
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::rand::SystemRandom;
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
    use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};
    use serde_json::{Value, json};
    use time::Duration;
    use time::macros::datetime;

    use super::super::claims::CertificateBinding;
    use super::*;

    const NOW: OffsetDateTime = datetime!(2027-01-31 12:00 UTC);

    fn signer() -> AccessTokenSigner {
        let document =
            EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new()).unwrap();
        AccessTokenSigner::from_pkcs8(document.as_ref()).unwrap()
    }

    fn scope() -> TokenScope {
        TokenScope::of(&"prod.example.com".parse().unwrap())
    }

    fn verifier(signer: &AccessTokenSigner) -> TokenVerifier {
        TokenVerifier::new(scope(), vec![signer.verification_key().clone()])
    }

    fn claims() -> AccessClaims {
        AccessClaims {
            iss: scope().issuer,
            aud: scope().audience,
            sub: "Root/alice".to_owned(),
            jti: "0123456789abcdef".to_owned(),
            sid: None,
            iat: NOW.unix_timestamp(),
            exp: NOW.unix_timestamp() + 300,
            user: crate::identity::Name::of_user("alice").unwrap(),
            org: "Root".parse().unwrap(),
            role: crate::identity::AccountRole::Regular,
            password_change_required: false,
            cnf: None,
        }
    }

    fn encode(value: &Value) -> String {
        BASE64_URL_SAFE_NO_PAD.encode(value.to_string())
    }

    #[test]
    fn a_token_verifies_until_it_expires() {
        let signer = signer();
        let token = signer.sign(&claims()).unwrap();
        let at = |now| verifier(&signer).verify(&token, None, now);
        assert_eq!(at(NOW), Ok(claims()));
        assert_eq!(at(NOW + Duration::seconds(299)), Ok(claims()));
        assert_eq!(at(NOW + Duration::seconds(300)), Err(TokenError::Expired));
        assert_eq!(at(NOW - Duration::seconds(5)), Ok(claims()));
        assert_eq!(at(NOW - Duration::seconds(6)), Err(TokenError::NotYetValid));
    }

    #[test]
    fn a_header_chooses_neither_algorithm_nor_key() {
        let signer = signer();
        let token = signer.sign(&claims()).unwrap();
        let (signed, signature) = token.rsplit_once('.').unwrap();
        let payload = signed.split_once('.').unwrap().1;
        let kid = &signer.verification_key().id;
        let mine = super::tests::signer();
        let point = BASE64_URL_SAFE_NO_PAD.encode(&mine.verification_key().point);
        for (header, expected) in [
            (json!({"alg": "none", "typ": "at+jwt", "kid": kid}), TokenError::Algorithm),
            (json!({"alg": "HS256", "typ": "at+jwt", "kid": kid}), TokenError::Algorithm),
            (json!({"alg": "ES384", "typ": "at+jwt", "kid": kid}), TokenError::Algorithm),
            (json!({"alg": "es256", "typ": "at+jwt", "kid": kid}), TokenError::Algorithm),
            (
                json!({"alg": "ES256", "typ": "at+jwt", "kid": mine.verification_key().id}),
                TokenError::UnknownKey,
            ),
            (json!({"alg": "ES256", "typ": "at+jwt", "kid": ""}), TokenError::UnknownKey),
            (json!({"alg": "ES256", "typ": "at+jwt"}), TokenError::Malformed),
            (json!({"alg": "ES256", "typ": "cluster-assertion+jwt", "kid": kid}), TokenError::Malformed),
            (
                json!({"alg": "ES256", "typ": "at+jwt", "kid": kid, "jwk": {"x": point}}),
                TokenError::Malformed,
            ),
            (
                json!({"alg": "ES256", "typ": "at+jwt", "kid": kid, "jku": "https://e.test"}),
                TokenError::Malformed,
            ),
            (json!({"alg": "ES256", "typ": "at+jwt", "kid": kid, "x5c": []}), TokenError::Malformed),
            (json!({"alg": "ES256", "typ": "at+jwt", "kid": kid, "crit": ["exp"]}), TokenError::Malformed),
            (json!({"alg": ["ES256"], "typ": "at+jwt", "kid": kid}), TokenError::Malformed),
        ] {
            for signature in [signature, ""] {
                let forged = format!("{}.{payload}.{signature}", encode(&header));
                assert_eq!(verifier(&signer).verify(&forged, None, NOW), Err(expected), "{header}");
            }
        }
        // The public key as an HMAC key, and a signature by another key under this key's ID.
        let forged = format!("{signed}.{}", mine.sign(&claims()).unwrap().rsplit_once('.').unwrap().1);
        assert_eq!(verifier(&signer).verify(&forged, None, NOW), Err(TokenError::Signature));
    }

    #[test]
    fn a_changed_or_ambiguous_token_is_refused() {
        let signer = signer();
        let token = signer.sign(&claims()).unwrap();
        let parts: Vec<&str> = token.split('.').collect();
        let mut raised = serde_json::to_value(claims()).unwrap();
        raised["role"] = json!("cluster-admin");
        for (forged, expected) in [
            (String::new(), TokenError::Malformed),
            (parts[..2].join("."), TokenError::Malformed),
            (format!("{token}.{}", parts[2]), TokenError::Malformed),
            (format!("{token}="), TokenError::Malformed),
            (format!(" {token}"), TokenError::Malformed),
            (format!("{}.{}.", parts[0], parts[1]), TokenError::Signature),
            (format!("{}.{}.{}", parts[0], encode(&raised), parts[2]), TokenError::Signature),
            (format!("{}.{}.{}", parts[0], parts[1], "A".repeat(5000)), TokenError::Malformed),
        ] {
            assert_eq!(verifier(&signer).verify(&forged, None, NOW), Err(expected), "{forged:.60}");
        }
        let twice = r#"{"alg":"none","alg":"ES256","typ":"at+jwt","kid":"x"}"#;
        let forged = format!("{}.{}.{}", BASE64_URL_SAFE_NO_PAD.encode(twice), parts[1], parts[2]);
        assert_eq!(verifier(&signer).verify(&forged, None, NOW), Err(TokenError::Malformed));
    }

    #[test]
    fn a_token_of_another_cluster_audience_or_key_is_refused() {
        let (ours, theirs) = (signer(), signer());
        let verify = |token: &str| verifier(&ours).verify(token, None, NOW);
        assert_eq!(verify(&theirs.sign(&claims()).unwrap()), Err(TokenError::UnknownKey));
        let other = TokenScope::of(&"other.example.com".parse().unwrap());
        let token = ours.sign(&AccessClaims { iss: other.issuer, ..claims() }).unwrap();
        assert_eq!(verify(&token), Err(TokenError::Issuer));
        let token = ours.sign(&AccessClaims { aud: other.audience, ..claims() }).unwrap();
        assert_eq!(verify(&token), Err(TokenError::Audience));
    }

    #[test]
    fn a_bound_token_is_refused_from_another_certificate() {
        let signer = signer();
        let [own, other] = [Sha256::of(b"own"), Sha256::of(b"other")];
        let bound = AccessClaims { cnf: Some(CertificateBinding { certificate: own }), ..claims() };
        let token = signer.sign(&bound).unwrap();
        let verify = |certificate| verifier(&signer).verify(&token, certificate, NOW);
        assert_eq!(verify(Some(own)), Ok(bound));
        assert_eq!(verify(Some(other)), Err(TokenError::Certificate));
        assert_eq!(verify(None), Err(TokenError::Certificate));
        let unbound = signer.sign(&claims()).unwrap();
        assert!(verifier(&signer).verify(&unbound, Some(other), NOW).is_ok());
    }
}
