//! Logins as time passes.

use std::sync::Arc;

use time::Duration;
use time::macros::datetime;

use super::directory::Accounts;
use super::login::{IssuedTokens, LoginService, PasswordLogin, TokenUse};
use super::principal::Principal;
use super::security::LifetimeChange;
use super::users::NewUser;
use crate::ca::{self, Context, Home, NewCluster};
use crate::clock::{ManualClock, SystemEntropy};
use crate::error::Coded;
use crate::identity::{AccountRole, Name, OrganizationName};
use crate::keys::NoUnlock;
use crate::profile::ProfileSet;
use crate::secret::Secret;

const PASSWORD: &str = "Tulip-hedge-9";

struct Fixture {
    clock: Arc<ManualClock>,
    logins: LoginService,
    _directory: tempfile::TempDir,
}

impl Fixture {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let clock = Arc::new(ManualClock::new(datetime!(2027-01-31 12:00 UTC)));
        let context = Context {
            clock: Arc::<ManualClock>::clone(&clock),
            entropy: Arc::new(SystemEntropy),
            actor: "alice@ops1".parse().unwrap(),
            unlock: Arc::new(NoUnlock),
        };
        let home = Home::new(directory.path().join("ca"));
        let cluster = NewCluster {
            name: "prod".parse().unwrap(),
            trust_domain: None,
            key_algorithm: None,
            validity: None,
            passphrase: None,
            signer: None,
        };
        ca::initialize(&home, &cluster, &ProfileSet::built_in().unwrap(), &context).unwrap();
        let logins = LoginService::open(home, context).unwrap();
        let new = NewUser {
            organization: OrganizationName::root(),
            name: Name::of_user("alice").unwrap(),
            role: AccountRole::ClusterAdmin,
            password: &secret(PASSWORD),
            must_change_password: false,
        };
        logins.accounts().add_user(Principal::Operator, &new).unwrap();
        Self { clock, logins, _directory: directory }
    }

    fn accounts(&self) -> &Accounts {
        self.logins.accounts()
    }

    fn log_in(&self, password: &str) -> Result<IssuedTokens, &'static str> {
        let password = secret(password);
        let login = PasswordLogin {
            organization: "Root",
            user: "alice",
            password: &password,
            certificate: None,
            address: None,
        };
        self.logins.login(self.accounts(), &login).map_err(|error| error.code())
    }

    fn authenticate(&self, token: &Secret) -> Result<(), &'static str> {
        let token = std::str::from_utf8(token.expose()).unwrap();
        self.logins.authenticate(token, None, TokenUse::Any).map(drop).map_err(|error| error.code())
    }

    fn refresh(&self, token: &Secret) -> Result<IssuedTokens, &'static str> {
        let token = std::str::from_utf8(token.expose()).unwrap();
        self.logins.refresh(self.accounts(), token, None).map_err(|error| error.code())
    }
}

fn secret(text: &str) -> Secret {
    Secret::new(text.as_bytes().to_vec())
}

#[test]
fn a_lock_ends_with_its_duration_and_no_attempt_extends_it() {
    let fixture = Fixture::new();
    for _ in 0..5 {
        assert_eq!(fixture.log_in("wrong").unwrap_err(), "account.login_refused");
    }
    fixture.clock.advance(std::time::Duration::from_secs(119));
    assert_eq!(fixture.log_in(PASSWORD).unwrap_err(), "account.login_refused", "locked");
    fixture.clock.advance(std::time::Duration::from_secs(1));
    assert!(fixture.log_in(PASSWORD).is_ok());
    for _ in 0..4 {
        assert!(fixture.log_in("wrong").is_err());
    }
    assert!(fixture.log_in(PASSWORD).is_ok(), "the count began again");
}

#[test]
fn tokens_expire_as_the_settings_say() {
    let fixture = Fixture::new();
    let change = LifetimeChange { refresh_token: Some(Duration::minutes(10)), ..LifetimeChange::default() };
    fixture.accounts().set_token_lifetimes(Principal::Operator, change).unwrap();
    let first = fixture.log_in(PASSWORD).unwrap();
    assert_eq!(first.expires_in, 300);
    fixture.clock.advance(std::time::Duration::from_secs(298));
    assert_eq!(fixture.authenticate(&first.access_token), Ok(()));
    fixture.clock.advance(std::time::Duration::from_secs(3));
    assert_eq!(fixture.authenticate(&first.access_token), Err("token.expired"));
    let second = fixture.refresh(&first.refresh_token).unwrap();
    assert_eq!(fixture.authenticate(&second.access_token), Ok(()));
    fixture.clock.advance(std::time::Duration::from_secs(601));
    assert_eq!(fixture.refresh(&second.refresh_token).unwrap_err(), "account.refresh_refused");
}

#[test]
fn a_user_keeps_a_bounded_number_of_sessions() {
    let fixture = Fixture::new();
    let tokens: Vec<_> = (0..101).map(|_| fixture.log_in(PASSWORD).unwrap()).collect();
    assert_eq!(fixture.authenticate(&tokens[0].access_token), Err("account.token_revoked"));
    assert_eq!(fixture.authenticate(&tokens[1].access_token), Ok(()));
    assert_eq!(fixture.authenticate(&tokens[100].access_token), Ok(()));
}
