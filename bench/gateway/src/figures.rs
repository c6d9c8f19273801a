//! How a row of the table comes about.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::thread;
use std::time::Duration;

use measure::gate::Gates;
use measure::sample::{Order, Sample};
use measure::table::{Table, figure};
use measure::{cpu, machine};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::auth::How;
use crate::load::{Load, RATE, Run};
use crate::sessions::{self, Session};
use crate::stack::{self, Ground, Kind, Stack};
use crate::upstream;

/// Rounds of a table.
pub const ROUNDS: usize = 5;
/// Connections that the load keeps.
const CONNECTIONS: usize = 64;
/// Requests in a window: four seconds of them.
const REQUESTS: u32 = 4 * RATE;
const WARM_UP: u32 = RATE / 4;
/// Idle clients, if this process may have as many descriptors.
const IDLE: usize = 5_000;
/// Requests that the figures are for.
const UNIT: f64 = 10_000.0;

/// What was found out about one stack.
#[derive(Debug, Default)]
struct Figures {
    /// Seconds of processor time for [`UNIT`] requests.
    proxy: Sample,
    auth: Sample,
    total: Sample,
    /// The gateway's total, divided by this one's of the same round.
    gate_to_this: Sample,
    /// Latencies in microseconds.
    median: Sample,
    tail: Sample,
}

/// Bytes in use with and without idle clients.
#[derive(Clone, Copy, Debug)]
struct Memory {
    before: u64,
    after: u64,
    clients: usize,
}

impl Memory {
    /// MiB that 10,000 idle clients would take.
    fn each_unit(self) -> f64 {
        let grown = self.after.saturating_sub(self.before) as f64;
        grown / self.clients as f64 * UNIT / f64::from(1 << 20)
    }
}

/// Measures all stacks and prints the table.
///
/// # Errors
///
/// The machine has no second core, a program did not start, or an answer was wrong.
pub fn table(rounds: usize) -> io::Result<()> {
    println!("{}", machine::describe(include_str!("../../Cargo.lock"), &["hyper", "tokio"]));
    let gate = stack::gate()?;
    let kinds = installed();
    cpu::pin(1).map_err(|error| {
        io::Error::other(format!("the load needs core 1, the proxies have core 0: {error}"))
    })?;
    let idle = raise_descriptors()?;
    let folder = tempfile::tempdir()?;
    let store = folder.path().join("sessions.db");
    let sessions = sessions::make(&store)?;
    let ground = Ground {
        upstream: upstream::start()?,
        store: &store,
        folder: folder.path(),
        gate: &gate,
        clients: idle + CONNECTIONS,
    };

    let mut all: Vec<Figures> = kinds.iter().map(|_| Figures::default()).collect();
    measure(&kinds, ground, &sessions, rounds, &mut all)?;
    let mut memory = Vec::new();
    for kind in &kinds {
        memory.push(clients(*kind, ground, &sessions, idle).map_err(|e| named(*kind, &e))?);
    }
    print(&kinds, &all, &memory, rounds);
    Ok(())
}

/// Sends the load of a few windows to what listens there, and says nothing when all is well.
///
/// # Errors
///
/// An answer that is not the right one.
pub fn load(address: SocketAddr, store: &Path) -> io::Result<()> {
    let sessions = sessions::make(store)?;
    let run = Load::connect(address, CONNECTIONS)?.run(&sessions, true, REQUESTS)?;
    println!("{REQUESTS} requests, p50 {} us", run.quantile(0.5).as_micros());
    Ok(())
}

/// The kinds whose programs are there. For the others it says how to get them.
fn installed() -> Vec<Kind> {
    let mut missing: Vec<&str> = Vec::new();
    let mut kinds = Vec::new();
    for kind in Kind::ALL {
        match kind.package() {
            Some((package, name)) if stack::program(name).is_err() => missing.push(package),
            _ => kinds.push(kind),
        }
    }
    missing.dedup();
    for (name, flag) in [("nginx", "-v"), ("haproxy", "-v")] {
        if let Ok(version) = stack::version(name, flag) {
            println!("{version}");
        }
    }
    if !missing.is_empty() {
        println!("left out: {0}. To have it: sudo apt-get install {0}", missing.join(" "));
    }
    println!();
    kinds
}

fn measure(
    kinds: &[Kind],
    ground: Ground<'_>,
    sessions: &[Session],
    rounds: usize,
    all: &mut [Figures],
) -> io::Result<()> {
    let mut stacks = Vec::new();
    for kind in kinds {
        stacks.push(Stack::start(*kind, ground).map_err(|error| named(*kind, &error))?);
    }
    let mut order = Order::new();
    for _ in 0..rounds {
        let mut totals = vec![0.0; stacks.len()];
        for place in order.shuffled(stacks.len()) {
            let stack = &stacks[place];
            let window = window(stack, sessions).map_err(|error| named(stack.kind, &error))?;
            let unit = UNIT / f64::from(REQUESTS) / 1e9;
            let (proxy, auth) = (window.proxy as f64 * unit, window.auth as f64 * unit);
            totals[place] = proxy + auth;
            let figures = &mut all[place];
            figures.proxy.push(proxy);
            figures.auth.push(auth);
            figures.total.push(proxy + auth);
            figures.median.push(window.run.quantile(0.5).as_secs_f64() * 1e6);
            figures.tail.push(window.run.quantile(0.99).as_secs_f64() * 1e6);
        }
        for (figures, total) in all.iter_mut().zip(&totals) {
            figures.gate_to_this.push(totals[0] / total);
        }
    }
    Ok(())
}

struct Window {
    proxy: u64,
    auth: u64,
    run: Run,
}

/// One window of load on fresh connections: proxies close those that idled while the others had
/// theirs. Before and after it all processes are asleep, so that their accounts are complete.
fn window(stack: &Stack, sessions: &[Session]) -> io::Result<Window> {
    let nanos = || -> io::Result<(u64, u64)> {
        let auth = stack.auth.as_ref().map_or(Ok(0), |auth| auth.nanos());
        Ok((stack.proxy.nanos()?, auth?))
    };
    let knows = stack.kind.knows_accounts();
    let mut load = Load::connect(stack.address, CONNECTIONS)?;
    load.run(sessions, knows, WARM_UP)?;
    thread::sleep(SETTLED);
    let before = nanos()?;
    let run = load.run(sessions, knows, REQUESTS)?;
    thread::sleep(SETTLED);
    let after = nanos()?;
    Ok(Window { proxy: after.0 - before.0, auth: after.1 - before.1, run })
}

/// Memory of a fresh stack, that has served somebody, with and without clients that idle after a
/// request each.
fn clients(
    kind: Kind,
    ground: Ground<'_>,
    sessions: &[Session],
    clients: usize,
) -> io::Result<Memory> {
    let stack = Stack::start(kind, ground)?;
    let knows = kind.knows_accounts();
    let resident = || -> io::Result<u64> {
        let auth = stack.auth.as_ref().map_or(Ok(0), |auth| auth.resident());
        Ok(stack.proxy.resident()? + auth?)
    };
    Load::connect(stack.address, CONNECTIONS)?.run(sessions, knows, REQUESTS)?;
    thread::sleep(SETTLED);
    let before = resident()?;
    let mut load = Load::connect(stack.address, clients)?;
    let each = clients as u32;
    load.run(sessions, knows, each)?;
    thread::sleep(IDLE_FOR);
    let after = resident()?;
    // They are all still there: each has another request answered.
    load.run(sessions, knows, each)?;
    Ok(Memory { before, after, clients })
}

fn print(kinds: &[Kind], all: &[Figures], memory: &[Memory], rounds: usize) {
    let mut table = Table::new(&[
        "stack",
        "CPU s/10,000",
        "of it auth",
        "thence-gate to it",
        "p50 us",
        "p99 us",
        "MiB idle/10k",
        "MiB before",
    ]);
    for ((kind, figures), memory) in kinds.iter().zip(all).zip(memory) {
        let has_auth = matches!(kind, Kind::Nginx(_));
        table.row(vec![
            kind.what().to_owned(),
            figures.total.ratio(),
            if has_auth { figures.auth.ratio() } else { "-".into() },
            figures.gate_to_this.ratio(),
            figure(figures.median.median()),
            figure(figures.tail.median()),
            figure(memory.each_unit()),
            figure(memory.before as f64 / f64::from(1 << 20)),
        ]);
    }
    println!("{table}");
    println!(
        "{RATE} requests a second over {CONNECTIONS} connections, {} sessions, {rounds} rounds of {REQUESTS} \
         requests; proxies and auth on one core, load and upstream on the other.\n\
         Every proxy logs each request to a file. HAProxy reads no sessions without Lua: it is the \
         floor for a proxy, not a gateway.\n\
         Memory is resident size over {} clients that idle for a second, extrapolated to 10,000; the kernel's own for \
         the sockets is not in it.\n",
        sessions::SESSIONS,
        memory.first().map_or(0, |memory| memory.clients),
    );
    let mut gates = Gates::new();
    gates.ratio("thence-gate: CPU s per 10,000 requests", 0.45, &all[0].total);
    for (kind, figures) in kinds.iter().zip(all) {
        match kind {
            Kind::Nginx(How::Pool) => {
                gates.ratio("thence-gate: CPU, to nginx + auth (pool)", 1.0, &figures.gate_to_this);
            }
            Kind::Nginx(How::Inline) => {
                gates.ratio("thence-gate: CPU, to nginx + auth (loop)", 1.0, &figures.gate_to_this);
            }
            Kind::Thence | Kind::Haproxy => {}
        }
    }
    let idle = memory.first().map(|memory| memory.each_unit());
    gates.count("thence-gate: MiB per 10,000 idle clients", 25.0, idle);
    print!("{gates}");
}

/// Raises the bound on descriptors, which the proxies inherit, and says how many idle clients there
/// can be: HAProxy reckons with two for each.
fn raise_descriptors() -> io::Result<usize> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let bound = maximum.unwrap_or(16_384).min(16_384).max(current.unwrap_or(0));
    setrlimit(Resource::Nofile, Rlimit { current: Some(bound), maximum })?;
    let clients = IDLE.min((bound as usize / 2).saturating_sub(500));
    if clients < 500 {
        return Err(io::Error::other(format!(
            "{bound} descriptors are too few; raise the hard bound (ulimit -Hn)"
        )));
    }
    Ok(clients)
}

fn named(kind: Kind, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", kind.what()))
}

/// Clients are idle after this, and no proxy has closed them yet.
const IDLE_FOR: Duration = Duration::from_secs(1);
/// After this all processes are asleep.
const SETTLED: Duration = Duration::from_millis(50);
