//! `cluster-ca`: the certificate authority's command line. All of it is in the library's `cli` and `server`.

use std::process::ExitCode;
use std::sync::Arc;

use cluster_ca::clock::SystemClock;

fn main() -> ExitCode {
    cluster_ca::cli::main(Arc::new(SystemClock), cluster_ca::server::FUNCTIONS)
}
