//! Options that name a server, and the choice between a home and a server.

use std::env;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use clap::Args;

use crate::api_client::{ApiClientError, ApiServer, ApiSession, ServerUrl, TokenFile};
use crate::cli::session::CommandSession;
use crate::error::Code;
use crate::files;
use crate::secret::Secret;
use crate::terminal::report::Failure;

/// Environment variable with an access token.
const TOKEN_VARIABLE: &str = "CLUSTER_CA_TOKEN";

/// Environment variable with the path of the token file.
const TOKEN_FILE_VARIABLE: &str = "CLUSTER_CA_TOKEN_FILE";

/// Environment variable with the URL of the server.
const SERVER_VARIABLE: &str = "CLUSTER_CA_SERVER";

/// The server and the CA certificates that it is verified with.
#[derive(Debug, Args)]
pub(crate) struct ServerArgs {
    /// URL of the server: https://HOST:PORT
    #[arg(long, value_name = "URL", env = SERVER_VARIABLE, hide_env_values = true)]
    server: Option<String>,

    /// CA certificates that the server is verified with, in PEM [default: cluster.crt in the home]
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
}

impl ServerArgs {
    /// The server, with the CA certificates that it is verified with.
    pub(crate) fn open(&self, session: &CommandSession) -> Result<(ApiServer, Vec<u8>), Failure> {
        let Some(url) = &self.server else {
            let message = "the URL of the server is missing";
            return Err(Failure::new(Code::usage("usage.server"), message)
                .with_hint("give it with --server https://HOST:PORT, or in CLUSTER_CA_SERVER"));
        };
        let url: ServerUrl = url.parse().map_err(failure)?;
        let path = match &self.ca {
            Some(path) => path.clone(),
            None => session.home().certificate(),
        };
        if self.ca.is_none() && !files::occupied(&path) {
            let message = "the CA certificate that verifies the server is missing";
            return Err(Failure::new(Code::usage("usage.ca"), message)
                .with_hint("give the cluster's cluster.crt with --ca FILE"));
        }
        let anchors = files::read(&path, files::SMALL_FILE)?;
        let server = ApiServer::new(url, &anchors).map_err(|error| failure(error).about(&path))?;
        Ok((server, anchors))
    }

    /// Session with the token in the environment, or else with those of the login.
    pub(crate) fn session(&self, session: &CommandSession) -> Result<ApiSession, Failure> {
        match given_token() {
            Some(token) => Ok(ApiSession::with_token(self.open(session)?.0, token)),
            None => ApiSession::open(&token_file()?, &*session.context.clock).map_err(failure),
        }
    }
}

/// Options of commands that work on a home or on a server.
#[derive(Debug, Default, Args)]
pub(crate) struct ServerChoice {
    /// Work on this server, as the user who is logged in. Where there is no home, the server of the login is the default
    #[arg(long, value_name = "URL")]
    server: Option<String>,

    /// CA certificates that the server is verified with, for a token in CLUSTER_CA_TOKEN
    #[arg(long, value_name = "FILE", requires = "server")]
    ca: Option<PathBuf>,
}

impl ServerChoice {
    /// Session with the server to work on; `None` for the home. A home is never passed over unless a server is given.
    pub(crate) fn open(&self, session: &CommandSession) -> Result<Option<ApiSession>, Failure> {
        let is_given = self.server.is_some();
        if !is_given && files::occupied(&session.home().database()) {
            return Ok(None);
        }
        if let Some(token) = given_token() {
            let server = self.server.clone().or_else(|| env::var(SERVER_VARIABLE).ok());
            if server.is_none() {
                return Ok(None);
            }
            let (server, _) = ServerArgs { server, ca: self.ca.clone() }.open(session)?;
            return Ok(Some(ApiSession::with_token(server, token)));
        }
        let file = match token_file() {
            Ok(file) => file,
            Err(_) if !is_given => return Ok(None),
            Err(failure) => return Err(failure),
        };
        let api = match ApiSession::open(&file, &*session.context.clock) {
            Err(ApiClientError::NotLoggedIn) if !is_given => return Ok(None),
            opened => opened.map_err(failure)?,
        };
        if let Some(given) = &self.server {
            let given: ServerUrl = given.parse().map_err(failure)?;
            if given != *api.url() {
                let message = format!("the login is to {}, not to {given}", api.url());
                return Err(Failure::new(Code::refused("api.other_server"), message)
                    .with_hint(format!("log in there: cluster-ca login USER --server {given}")));
            }
        }
        Ok(Some(api))
    }
}

/// Refuse options that only a home can serve.
pub(crate) fn refuse_on_server(given: &[(&str, bool)]) -> Result<(), Failure> {
    match given.iter().find(|(_, is_given)| *is_given) {
        None => Ok(()),
        Some((option, _)) => {
            let message = format!("{option} needs the home of the CA, and the command works on a server");
            Err(Failure::new(Code::usage("usage.on_server"), message)
                .with_hint("leave the option out, or run the command on the machine of the CA"))
        }
    }
}

/// Token in the environment.
fn given_token() -> Option<Secret> {
    let token = env::var_os(TOKEN_VARIABLE).filter(|token| !token.is_empty())?;
    Some(Secret::new(token.into_vec()))
}

/// The file with the tokens.
pub(crate) fn token_file() -> Result<TokenFile, Failure> {
    let given = |name| env::var_os(name).filter(|path| !path.is_empty()).map(PathBuf::from);
    if let Some(path) = given(TOKEN_FILE_VARIABLE) {
        return Ok(TokenFile::new(files::absolute(&path)?));
    }
    let configuration = given("XDG_CONFIG_HOME").filter(|path| path.is_absolute());
    let directory = configuration.or_else(|| given("HOME").map(|home| home.join(".config")));
    let directory = directory.ok_or_else(|| {
        let message = "the environment has no HOME for the token file";
        Failure::new(Code::usage("usage.token_file"), message)
            .with_hint("name the file in CLUSTER_CA_TOKEN_FILE")
    })?;
    Ok(TokenFile::new(directory.join(Path::new("cluster-ca/auth-token.json"))))
}

/// A refusal of the server keeps its code.
pub(crate) fn failure(error: ApiClientError) -> Failure {
    match error.refusal() {
        Some((code, class)) => Failure::named(code.to_owned(), class, error.to_string()),
        None => Failure::of(&error),
    }
}
