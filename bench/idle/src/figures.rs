//! How a row of the table comes about.

use std::io;

use measure::cpu;
use measure::gate::Gates;
use measure::sample::{Order, Sample};
use measure::table::{Table, figure};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::disable_transparent_huge_pages;
use servers::{Server, available, describe};

use crate::load::Load;
use crate::{OURS, SERVERS};

/// Between these two numbers of connections memory is compared.
const SIZES: (usize, usize) = (1_000, 9_000);

/// Descriptors that are no connections, more than any server has.
const OTHERS: u64 = 100;

/// What was found out about one server.
#[derive(Debug, Default)]
struct Figures {
    /// Bytes of a connection on which nothing was said.
    fresh: Sample,
    /// Bytes of a connection on which a message was echoed.
    used: Sample,
}

/// Measures all servers and prints the table.
///
/// # Errors
///
/// The limits of this process are too low, or a server failed or answered wrongly.
pub fn table(sessions: usize) -> io::Result<()> {
    println!("{}\n", describe(&SERVERS));
    cpu::pin(1).map_err(|error| {
        io::Error::other(format!("the load needs core 1, the server has core 0: {error}"))
    })?;
    let (small, large) = sizes()?;
    // Servers inherit it: memory is to come in small pages, by what is touched.
    disable_transparent_huge_pages(true)?;

    let (there, missing) = available(&SERVERS);
    let mut all: Vec<Figures> = SERVERS.iter().map(|_| Figures::default()).collect();
    let mut order = Order::new();
    for _ in 0..sessions {
        for index in order.shuffled(there.len()) {
            let (server, figures) = (&SERVERS[there[index]], &mut all[there[index]]);
            session(server, (small, large), figures).map_err(|error| {
                io::Error::new(error.kind(), format!("{}: {error}", server.what))
            })?;
        }
    }

    let mut table = Table::new(&["server", "bytes, fresh", "spread", "bytes, used", "spread"]);
    for &place in &there {
        let figures = &all[place];
        table.row(vec![
            SERVERS[place].what.to_owned(),
            figure(figures.fresh.median()),
            figure(figures.fresh.spread()),
            figure(figures.used.median()),
            figure(figures.used.spread()),
        ]);
    }
    println!("{table}");
    println!(
        "User-space memory of a connection with a read that waits, before anything was said on it and\n\
         after 64 bytes were echoed: anonymous pages at {large} connections less those at {small}. {sessions} sessions."
    );
    for why in missing {
        println!("Left out: {why}");
    }
    println!();
    let mut gates = Gates::new();
    for place in OURS {
        let (what, figures) = (SERVERS[place].what, &all[place]);
        gates.count(&format!("{what}: bytes, fresh"), 300.0, Some(figures.fresh.median()));
        gates.count(&format!("{what}: bytes, used"), 300.0, Some(figures.used.median()));
    }
    print!("{gates}");
    Ok(())
}

/// Raises the limit of descriptors, for this process and the servers it starts, and says how many
/// connections there can be.
fn sizes() -> io::Result<(usize, usize)> {
    let (small, large) = SIZES;
    let needed = large as u64 + OTHERS;
    let limit = getrlimit(Resource::Nofile);
    let allowed = limit.maximum.unwrap_or(u64::MAX);
    let current = needed.min(allowed).max(limit.current.unwrap_or(u64::MAX));
    setrlimit(Resource::Nofile, Rlimit { current: Some(current), ..limit })?;
    if current >= needed {
        return Ok((small, large));
    }
    let large = current.saturating_sub(OTHERS) as usize;
    if large < 2 * small {
        return Err(io::Error::other(format!(
            "{allowed} descriptors are allowed here and {needed} needed; raise the hard limit: ulimit -Hn {needed}"
        )));
    }
    println!(
        "Only {large} connections: {allowed} descriptors are allowed here and {needed} needed.\n"
    );
    Ok((small, large))
}

/// A fresh server, with few connections and then with many.
fn session(
    server: &Server,
    (small, large): (usize, usize),
    figures: &mut Figures,
) -> io::Result<()> {
    let process = server.start(None)?;
    let mut load = Load::new(&process)?;
    load.open(small)?;
    load.echo()?;
    let before = process.anonymous_bytes()? as f64;
    load.open(large)?;
    let fresh = process.anonymous_bytes()? as f64;
    load.echo()?;
    let used = process.anonymous_bytes()? as f64;
    let count = (load.count() - small) as f64;
    figures.fresh.push((fresh - before) / count);
    figures.used.push((used - before) / count);
    drop(load);
    process.end()
}
