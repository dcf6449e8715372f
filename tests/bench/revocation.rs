//! What revocation, reload and resumption cost a gateway: the real program, called over loopback.
//!
//! Two processes that differ in the one thing measured are asked in turn, and their CPU time is compared:
//! a ratio holds on any machine, a number of seconds does not.

#![expect(clippy::disallowed_methods, reason = "a benchmark measures real time")]
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::as_conversions,
    reason = "a measurement that cannot go on ends"
)]

#[expect(dead_code, reason = "another benchmark needs more of it")]
mod caller;
#[path = "../common/cluster.rs"]
#[expect(dead_code, reason = "the tests need more of it")]
mod cluster;
mod gateway;

use std::process::ExitCode;
use std::time::Instant;

use crate::caller::{Caller, Keep, Sessions};
use crate::cluster::{Cluster, Leaf};
use crate::gateway::Gateway;

/// How many connections are open while one is cut.
const OPEN: usize = 10_000;

/// How many certificates the large CRL revokes.
const REVOKED: u64 = 1_000_000;

fn main() -> ExitCode {
    let wanted: Vec<String> =
        std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let is_wanted = |name: &str| wanted.is_empty() || wanted.iter().any(|wanted| wanted == name);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut figures = Vec::new();
    if is_wanted("cut") {
        figures.extend(runtime.block_on(cut()));
    }
    if is_wanted("crl") {
        figures.extend(runtime.block_on(crl()));
    }
    if is_wanted("resume") {
        figures.extend(runtime.block_on(resume()));
    }
    if is_wanted("reload") {
        figures.extend(runtime.block_on(reload()));
    }
    println!("{:<62} {:>12} {:>12}", "figure", "measured", "at most");
    for figure in &figures {
        println!(
            "{:<62} {:>12.3} {:>12.3}  {}",
            figure.what,
            figure.measured,
            figure.at_most,
            figure.verdict()
        );
    }
    if figures.iter().all(Figure::is_met) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

struct Figure {
    what: &'static str,
    measured: f64,
    at_most: f64,
}

impl Figure {
    fn is_met(&self) -> bool {
        self.measured <= self.at_most
    }

    fn verdict(&self) -> &'static str {
        if self.is_met() { "met" } else { "MISSED" }
    }
}

/// One of many connections is cut, by file and by push.
async fn cut() -> Vec<Figure> {
    let cluster = Cluster::new("prod");
    let operator = cluster.leaf("control-service", "127.0.0.1");
    let gateway = Gateway::start(&cluster, &cluster.crl(1, &[]), 2);
    let others = cluster.leaf("api-user", "bob");
    let mut open = Vec::with_capacity(OPEN);
    for _ in 1..OPEN {
        open.push(call(&gateway, &others).await);
    }
    let mut revoked: Vec<Leaf> = Vec::new();
    let mut delays = [Vec::new(), Vec::new()];
    let mut touched = 0;
    for round in 0..10 {
        let victim = cluster.leaf("api-user", "mallory");
        let mut connection = call(&gateway, &victim).await;
        let mut pusher = Caller::connect(gateway.address, &cluster, &operator, Sessions::none()).await;
        revoked.push(victim);
        let crl = cluster.crl(2 + round, &revoked.iter().collect::<Vec<_>>());
        let by_push = round % 2 == 1;
        let begun = Instant::now();
        if by_push {
            pusher.send("PUT", "/.well-known/cluster/crl", crl.as_bytes()).await;
        } else {
            gateway.replace("cluster.crl", &crl);
        }
        connection.ended().await;
        delays[usize::from(by_push)].push(begun.elapsed().as_secs_f64());
        for other in &mut open {
            touched += u32::from(!other.is_answered("/.well-known/cluster/whoami").await);
        }
    }
    let worst = |delays: &[f64]| delays.iter().copied().fold(0.0, f64::max) * 1_000.0;
    vec![
        Figure {
            what: "one of 10,000 cut by file change, worst of 5, ms",
            measured: worst(&delays[0]),
            at_most: 1_000.0,
        },
        Figure {
            what: "one of 10,000 cut by push, worst of 5, ms",
            measured: worst(&delays[1]),
            at_most: 100.0,
        },
        Figure { what: "others of the 10,000 that saw anything", measured: touched.into(), at_most: 0.0 },
    ]
}

async fn call(gateway: &Gateway, leaf: &Leaf) -> Caller {
    let mut caller = Caller::connect(gateway.address, &gateway.cluster, leaf, Sessions::none()).await;
    assert!(caller.is_answered("/.well-known/cluster/whoami").await);
    caller
}

/// A CRL of a million entries against an empty one.
async fn crl() -> Vec<Figure> {
    let cluster = Cluster::new("prod");
    let user = cluster.leaf("api-user", "alice");
    let small = Gateway::start(&cluster, &cluster.crl(1, &[]), 1);
    let large = Gateway::start(&cluster, &crl_of_many(&cluster), 1);
    let of = async |gateway: &Gateway| gateway.handshakes(&user, Keep::Nothing).await;
    let measured = ratio(async || of(&large).await, async || of(&small).await).await;
    let memory = large.memory() - small.memory();
    vec![
        Figure {
            what: "full handshake, CPU, CRL of 1,000,000 against an empty one",
            measured,
            at_most: 1.05,
        },
        Figure { what: "memory of that CRL, MB", measured: memory / 1e6, at_most: 40.0 },
        Figure { what: "start with it, s", measured: large.start.as_secs_f64(), at_most: 1.0 },
    ]
}

/// A CRL of certificates that nobody has; their numbers are of the usual length.
fn crl_of_many(cluster: &Cluster) -> String {
    let serial =
        |number: u64| (u128::from(number) << 64 | 1 << 126 | u128::from(number)).to_be_bytes().to_vec();
    cluster.crl_of(1, (0..REVOKED).map(serial), cluster::now() + time::Duration::days(10))
}

/// Resumed sessions, judged again, against full handshakes.
async fn resume() -> Vec<Figure> {
    let cluster = Cluster::new("prod");
    let user = cluster.leaf("api-user", "alice");
    let gateway = Gateway::start(&cluster, &cluster.crl(1, &[]), 1);
    let keeping = async |keep| gateway.handshakes(&user, keep).await;
    let measured = ratio(async || keeping(Keep::Tickets).await, async || keeping(Keep::Nothing).await).await;
    vec![Figure { what: "resumed handshake, CPU, against a full one", measured, at_most: 0.65 }]
}

/// How one sample compares with another: the median of many comparisons, each of two samples taken right after
/// one another, and in turns the one or the other first. What else the machine does meets both alike.
async fn ratio(one: impl AsyncFn() -> f64, other: impl AsyncFn() -> f64) -> f64 {
    let mut ratios = Vec::new();
    for turn in 0..20 {
        let (one, other) = if turn % 2 == 0 {
            let one = one().await;
            (one, other().await)
        } else {
            let other = other().await;
            (one().await, other)
        };
        ratios.push(one / other);
    }
    median(&mut ratios)
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// A hundred reloads while callers call.
async fn reload() -> Vec<Figure> {
    let cluster = Cluster::new("prod");
    let user = cluster.leaf("api-user", "alice");
    let gateway = Gateway::start(&cluster, &cluster.crl(1, &[]), 2);
    let stop = std::rc::Rc::new(std::cell::Cell::new(false));
    let local = tokio::task::LocalSet::new();
    let mut callers = Vec::new();
    for number in 0..8 {
        let stop = std::rc::Rc::clone(&stop);
        let (address, user) = (gateway.address, user.clone());
        let config = std::sync::Arc::new(caller::config(&cluster, &user, Sessions::none()));
        callers.push(local.spawn_local(async move {
            let (mut asked, mut failed) = (0_u32, 0_u32);
            let mut caller = Caller::connect_with(address, std::sync::Arc::clone(&config)).await;
            while !stop.get() {
                // Half of them make a connection for each request.
                if number % 2 == 0 {
                    caller = Caller::connect_with(address, std::sync::Arc::clone(&config)).await;
                }
                asked += 1;
                failed += u32::from(!caller.is_answered("/v1/things").await);
            }
            (asked, failed)
        }));
    }
    let reloads = async {
        for number in 2..=101 {
            gateway.replace("cluster.crl", &cluster.crl(number, &[]));
            gateway.wait_for_crl(number).await;
        }
        stop.set(true);
    };
    local.run_until(reloads).await;
    let (mut asked, mut failed) = (0, 0);
    for caller in callers {
        let (of_caller, its_failures) = local.run_until(caller).await.unwrap();
        asked += of_caller;
        failed += its_failures;
    }
    println!("100 reloads under {asked} requests");
    vec![Figure { what: "requests that failed during 100 reloads", measured: failed.into(), at_most: 0.0 }]
}
