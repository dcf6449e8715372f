//! `cluster-gateway`: the gateway's command line. All of it is in the library's `gateway::commands`.

use std::process::ExitCode;
use std::sync::Arc;

use cluster_ca::clock::SystemClock;

/// Least and steadiest memory under many connections; returns memory to the system after a burst.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    cluster_ca::gateway::commands::main(Arc::new(SystemClock))
}
