//! How a row of the tables comes about.

use std::io;
use std::time::Duration;

use measure::callgrind::{self, Profile};
use measure::gate::Gates;
use measure::sample::{Order, Sample};
use measure::table::{Table, figure};
use measure::{cpu, machine};

use crate::load::Until;
use crate::peer::{CONNECTIONS, Peer};
use crate::server::{HYPER, RAW, SERVERS, Server, THENCE, nginx_version};

/// Requests under way on a connection: one, and as many as a client sends that does not wait.
const DEPTHS: [usize; 2] = [1, 16];

/// Rounds in a session: the servers of a session stay, so that a round of all of them is short.
const ROUNDS: usize = 3;
const WARM_UP: Until = Until::Batches(50);
const WINDOW: Until = Until::Passed(Duration::from_millis(250));

/// Requests on each connection at which instructions are counted. A batch goes into both.
const SIZES: (u64, u64) = (16, 80);

/// What was found out about one server at one depth.
#[derive(Debug, Default)]
struct Figures {
    /// Processor time a request, in microseconds.
    micros: Sample,
    /// Requests a second.
    rate: Sample,
    /// The part of a window in which the server ran.
    busy: Sample,
    /// NaN where none were counted.
    instructions: Sample,
}

/// The figures of all servers at one depth, by their places in [`SERVERS`].
type AtDepth = [Figures; SERVERS.len()];

/// Measures all servers and prints a table for each depth.
///
/// # Errors
///
/// The machine has no second core, or a server failed or answered wrongly.
pub fn tables(sessions: usize) -> io::Result<()> {
    let packages = ["hyper", "tokio", "axum", "may_minihttp"];
    let lines = machine::describe(include_str!("../../Cargo.lock"), &packages);
    println!("{lines}, {}\n", nginx_version().unwrap_or("no nginx".into()));
    cpu::pin(1).map_err(|error| {
        io::Error::other(format!("the load needs core 1, the server has core 0: {error}"))
    })?;
    let (mut there, mut missing) = (Vec::new(), Vec::new());
    for (place, server) in SERVERS.iter().enumerate() {
        match server.missing() {
            None => there.push(place),
            Some(why) => missing.push(why),
        }
    }
    let mut all: [AtDepth; DEPTHS.len()] = Default::default();
    let mut order = Order::new();
    for _ in 0..sessions {
        session(&there, &mut all, &mut order)?;
    }
    if callgrind::installed() {
        for (depth, figures) in DEPTHS.into_iter().zip(&mut all) {
            for &place in &there {
                let count = instructions(&SERVERS[place], depth);
                figures[place].instructions.push(named(place, count)?);
            }
        }
    } else {
        missing.push("instructions: valgrind is not installed; run: sudo scripts/setup".into());
    }

    for (depth, figures) in DEPTHS.into_iter().zip(&all) {
        println!("Depth {depth}\n\n{}", table(&there, figures));
    }
    println!(
        "{CONNECTIONS} connections. Ratios are of the same round; {} rounds.",
        sessions * ROUNDS,
    );
    for why in missing {
        println!("Left out: {why}");
    }
    println!();
    let mut gates = Gates::new();
    for (depth, figures) in DEPTHS.into_iter().zip(&all) {
        for place in THENCE {
            let what = format!("{}, depth {depth}", SERVERS[place].what);
            let ratio = figures[place].micros.over(&figures[HYPER].micros);
            gates.ratio(&format!("{what}: CPU, to hyper on tokio"), 1.0, &ratio);
            let count = figures[place].instructions.median();
            let count = (!count.is_nan()).then_some(count);
            gates.count(&format!("{what}: instructions a request"), 6_400.0, count);
        }
    }
    print!("{gates}");
    Ok(())
}

fn table(there: &[usize], all: &AtDepth) -> Table {
    let mut table = Table::new(&[
        "server",
        "CPU us/request",
        "to raw",
        "to hyper",
        "instructions",
        "requests/s",
        "to raw",
        "busy",
    ]);
    for &place in there {
        let figures = &all[place];
        table.row(vec![
            SERVERS[place].what.to_owned(),
            figure(figures.micros.median()),
            figures.micros.over(&all[RAW].micros).ratio(),
            figures.micros.over(&all[HYPER].micros).ratio(),
            figure(figures.instructions.median()),
            figure(figures.rate.median()),
            figures.rate.over(&all[RAW].rate).ratio(),
            format!("{:.0} %", figures.busy.median() * 100.0),
        ]);
    }
    table
}

/// Fresh servers, all at once, and rounds in which each has its window while the others sleep.
fn session(there: &[usize], all: &mut [AtDepth], order: &mut Order) -> io::Result<()> {
    let mut peers = Vec::new();
    for &place in there {
        let mut peer = named(place, Peer::start(&SERVERS[place], None))?;
        for depth in DEPTHS {
            named(place, peer.window(depth, WARM_UP))?;
        }
        peers.push(peer);
    }
    for _ in 0..ROUNDS {
        for (depth, figures) in DEPTHS.into_iter().zip(&mut *all) {
            for index in order.shuffled(peers.len()) {
                let place = there[index];
                let window = named(place, peers[index].window(depth, WINDOW))?;
                let (answers, time) = (window.run.answers as f64, window.run.time.as_secs_f64());
                let figures = &mut figures[place];
                figures.micros.push(window.nanos as f64 / 1e3 / answers);
                figures.rate.push(answers / time);
                figures.busy.push(window.nanos as f64 / 1e9 / time);
            }
        }
    }
    for (&place, peer) in there.iter().zip(peers) {
        named(place, peer.close())?;
    }
    Ok(())
}

/// Instructions a request. Under callgrind a server is so slow that all connections have a request
/// for it at each wait: what a wait costs is shared by them.
fn instructions(server: &Server, depth: usize) -> io::Result<f64> {
    let each = callgrind::per_operation(SIZES, |each| {
        let profile = Profile::new(server.name);
        let mut peer = Peer::start(server, Some(&profile))?;
        peer.window(depth, Until::Batches(each / depth as u64))?;
        peer.close()?;
        profile.instructions()
    });
    Ok(each? / f64::from(CONNECTIONS))
}

fn named<T>(place: usize, result: io::Result<T>) -> io::Result<T> {
    result
        .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", SERVERS[place].what)))
}
