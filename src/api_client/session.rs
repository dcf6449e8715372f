//! A server and the tokens for it.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::error::ApiClientError;
use super::https::{ApiServer, ServerUrl};
use super::token_file::{StoredTokens, TokenFile};
use crate::clock::Clock;
use crate::secret::Secret;

/// Access tokens are refreshed this long before they expire, in seconds.
const EARLY: i64 = 30;

/// Answer of the server to a login or a refresh.
#[derive(Deserialize)]
struct TokenAnswer {
    access_token: String,
    token_type: String,
    expires_in: i64,
    refresh_token: String,
    password_change_required: bool,
}

#[derive(Serialize)]
struct LoginFields<'a> {
    username: &'a str,
    password: &'a str,
    org: &'a str,
}

#[derive(Serialize)]
struct PasswordFields<'a> {
    old_password: &'a str,
    new_password: &'a str,
}

#[derive(Serialize)]
struct RefreshFields<'a> {
    refresh_token: &'a str,
}

/// Result of a login.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoginAnswer {
    /// True if the password must be changed before anything else.
    pub password_change_required: bool,
}

/// A server and the tokens for it.
pub struct ApiSession {
    server: ApiServer,
    access_token: Secret,
}

impl ApiSession {
    /// Banner that the server shows before a login; `None` if there is none.
    ///
    /// # Errors
    /// [`ApiClientError`].
    pub fn banner(server: &ApiServer) -> Result<Option<String>, ApiClientError> {
        let banner = server.get("/security/banner", None)?;
        let text = banner["text"].as_str().unwrap_or_default();
        Ok((banner["enabled"] == true && !text.is_empty()).then(|| text.to_owned()))
    }

    /// Log in and keep the tokens in `file`.
    ///
    /// # Errors
    /// [`ApiClientError`].
    pub fn log_in(
        server: &ApiServer,
        anchors: &[u8],
        (org, user, password): (&str, &str, &Secret),
        file: &TokenFile,
        clock: &dyn Clock,
    ) -> Result<LoginAnswer, ApiClientError> {
        let password = std::str::from_utf8(password.expose()).unwrap_or_default();
        let body = LoginFields { username: user, password, org };
        let answer = token_answer(server, server.post("/login", None, Some(&body))?)?;
        let _lock = file.lock(clock)?;
        let required = answer.password_change_required;
        file.write(&stored(server.url(), String::from_utf8_lossy(anchors).into_owned(), answer, clock))?;
        Ok(LoginAnswer { password_change_required: required })
    }

    /// Open the session of `file`, and refreshes the access token where it is about to expire.
    ///
    /// # Errors
    /// [`ApiClientError::NotLoggedIn`], and errors of the server.
    pub fn open(file: &TokenFile, clock: &dyn Clock) -> Result<Self, ApiClientError> {
        let _lock = file.lock(clock)?;
        let tokens = file.read()?.ok_or(ApiClientError::NotLoggedIn)?;
        let server = ApiServer::new(tokens.server.parse()?, tokens.ca.as_bytes())?;
        if tokens.expires_at.saturating_sub(EARLY) > clock.now().unix_timestamp() {
            return Ok(Self { server, access_token: Secret::new(tokens.access_token.into_bytes()) });
        }
        let body = RefreshFields { refresh_token: &tokens.refresh_token };
        let answer = match server.post("/login/refresh", None, Some(&body)) {
            Err(error) if error.refusal().is_some_and(|(code, _)| code == "account.refresh_refused") => {
                file.remove()?;
                return Err(error);
            }
            answer => token_answer(&server, answer?)?,
        };
        let renewed = stored(server.url(), tokens.ca, answer, clock);
        file.write(&renewed)?;
        Ok(Self { server, access_token: Secret::new(renewed.access_token.into_bytes()) })
    }

    /// A session with a token that was generated for scripts.
    #[must_use]
    pub fn with_token(server: ApiServer, access_token: Secret) -> Self {
        Self { server, access_token }
    }

    /// The account of the session.
    ///
    /// # Errors
    /// [`ApiClientError`].
    pub fn whoami(&self) -> Result<Value, ApiClientError> {
        self.server.get("/whoami", Some(&self.access_token))
    }

    /// Get a resource.
    ///
    /// # Errors
    /// [`ApiClientError`].
    pub fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ApiClientError> {
        self.typed(self.server.get(path, Some(&self.access_token))?)
    }

    /// Get a resource that is a text, such as PEM.
    ///
    /// # Errors
    /// [`ApiClientError`].
    pub fn get_text(&self, path: &str) -> Result<String, ApiClientError> {
        self.server.get_text(path, &self.access_token)
    }

    /// Post a JSON body.
    ///
    /// # Errors
    /// [`ApiClientError`].
    pub fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, ApiClientError> {
        self.typed(self.server.post(path, Some(&self.access_token), Some(body))?)
    }

    /// Get all items of a list, page by page, and pass each to `each`. A page has `limit` items.
    ///
    /// # Errors
    /// [`ApiClientError`] as `failed` makes it, or the first error of `each`, which ends the list.
    pub fn get_pages<T: DeserializeOwned, E>(
        &self,
        path: &str,
        conditions: &[(&str, String)],
        limit: u64,
        failed: impl Fn(ApiClientError) -> E,
        each: &mut dyn FnMut(T) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut cursor = None;
        loop {
            let paging = [("limit", Some(limit.to_string())), ("cursor", cursor)];
            let paging = paging.into_iter().filter_map(|(key, value)| Some((key, value?)));
            let query = conditions.iter().map(|(key, value)| (*key, value.clone())).chain(paging);
            let query: Vec<String> = query.map(|(key, value)| format!("{key}={}", encoded(&value))).collect();
            let page: Page<T> = self.get(&format!("{path}?{}", query.join("&"))).map_err(&failed)?;
            page.items.into_iter().try_for_each(&mut *each)?;
            if page.next.is_none() {
                return Ok(());
            }
            cursor = page.next;
        }
    }

    fn typed<T: DeserializeOwned>(&self, answer: Value) -> Result<T, ApiClientError> {
        serde_json::from_value(answer).map_err(|_| self.server.protocol())
    }

    /// Change the password of the session's account, which ends its sessions.
    ///
    /// # Errors
    /// [`ApiClientError`].
    pub fn change_password(
        file: &TokenFile,
        (present, new): (&Secret, &Secret),
        clock: &dyn Clock,
    ) -> Result<Value, ApiClientError> {
        let session = Self::open(file, clock)?;
        let account = session.whoami()?;
        let name = account["name"].as_str().ok_or(ApiClientError::NotLoggedIn)?;
        let [present, new] = [present, new].map(|one| std::str::from_utf8(one.expose()).unwrap_or_default());
        let body = PasswordFields { old_password: present, new_password: new };
        let changed = session.server.put(&format!("/users/{name}/password"), &session.access_token, &body)?;
        file.remove()?;
        Ok(changed)
    }

    /// URL of the server.
    #[must_use]
    pub fn url(&self) -> &ServerUrl {
        self.server.url()
    }

    /// End the session on the server, and remove the file in any case.
    ///
    /// # Errors
    /// [`ApiClientError`]; a session that has ended already is none.
    pub fn log_out(file: &TokenFile, clock: &dyn Clock) -> Result<(), ApiClientError> {
        let ended = Self::open(file, clock)
            .and_then(|session| session.server.post("/logout", Some(&session.access_token), None::<&()>));
        file.remove()?;
        match ended {
            Ok(_) => Ok(()),
            Err(error) if error.refusal().is_some_and(|(code, _)| is_ended(code)) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// Page of a list.
#[derive(Deserialize)]
struct Page<T> {
    items: Vec<T>,
    next: Option<String>,
}

/// Text for a path segment or the value of a query (RFC 3986, section 2.1).
#[must_use]
pub fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => encoded.push(byte.into()),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

fn is_ended(code: &str) -> bool {
    matches!(
        code,
        "account.refresh_refused" | "account.token_revoked" | "token.expired" | "token.unknown_key"
    )
}

fn token_answer(server: &ApiServer, answer: Value) -> Result<TokenAnswer, ApiClientError> {
    let protocol = || ApiClientError::Protocol { server: server.url().to_string() };
    let answer: TokenAnswer = serde_json::from_value(answer).map_err(|_| protocol())?;
    if answer.token_type == "Bearer" { Ok(answer) } else { Err(protocol()) }
}

fn stored(server: &ServerUrl, ca: String, answer: TokenAnswer, clock: &dyn Clock) -> StoredTokens {
    StoredTokens {
        server: server.to_string(),
        ca,
        access_token: answer.access_token,
        refresh_token: answer.refresh_token,
        token_type: answer.token_type,
        expires_at: clock.now().unix_timestamp().saturating_add(answer.expires_in),
    }
}
