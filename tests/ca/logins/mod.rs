//! Users who log in to the server: the real program on a real socket, called by curl and by its own commands. The
//! users of directories are in a real OpenLDAP server.

mod attacks;
mod commands;
mod directory_logins;
mod directory_settings;
mod gateways;
mod harness;
mod remote;
mod rights;
mod server_certificate;
mod sessions;
mod slapd;
