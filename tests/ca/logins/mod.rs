//! Users who log in to the server: the real program on a real socket, called by curl and by its own commands.

mod attacks;
mod commands;
mod harness;
mod remote;
mod rights;
mod sessions;
