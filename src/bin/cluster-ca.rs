//! `cluster-ca`: the certificate authority's command line. All of it is in the library's `cli`.

use std::process::ExitCode;

fn main() -> ExitCode {
    cluster_ca::cli::main()
}
