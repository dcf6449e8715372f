//! `cluster-ca`: the certificate authority's command line. All of it is in the library's `cli` and `server`.

use std::process::ExitCode;
use std::sync::Arc;

use cluster_ca::clock::SystemClock;

/// Fastest where two threads sign and a third one records; returns memory to the system after a bulk.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    cluster_ca::cli::main(Arc::new(SystemClock), cluster_ca::server::FUNCTIONS)
}
