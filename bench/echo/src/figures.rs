//! How a row of the table comes about.

use std::io;
use std::time::Duration;

use measure::callgrind::{self, Profile};
use measure::gate::Gates;
use measure::sample::{Order, Sample};
use measure::table::{Table, figure};
use measure::{cpu, machine};

use crate::load::{MESSAGE, Until};
use crate::peer::{CONNECTIONS, Peer};
use crate::server::{RAW, SERVERS, Server, THENCE, TOKIO};

/// Rounds in a session: the servers of a session stay, so that a round of all of them is short.
const ROUNDS: usize = 3;
const WARM_UP: Until = Until::Each(200);
const WINDOW: Until = Until::Passed(Duration::from_millis(300));

/// Messages on each connection at which instructions are counted.
const SIZES: (u64, u64) = (40, 240);

/// What was found out about one server.
#[derive(Debug, Default)]
struct Figures {
    /// Processor time a message, in microseconds.
    micros: Sample,
    /// The same, divided by raw epoll's in the same round.
    ratio: Sample,
    /// The same, divided by tokio's.
    to_tokio: Sample,
    /// Messages a second.
    rate: Sample,
    rate_ratio: Sample,
    /// The part of a window in which the server ran.
    busy: Sample,
    instructions: Sample,
}

/// Measures all servers and prints the table.
///
/// # Errors
///
/// The machine has no second core, or a server failed or answered wrongly.
pub fn table(sessions: usize) -> io::Result<()> {
    println!("{}\n", machine::describe(include_str!("../../Cargo.lock"), &["tokio", "mio"]));
    cpu::pin(1).map_err(|error| {
        io::Error::other(format!("the load needs core 1, the server has core 0: {error}"))
    })?;
    let mut all: Vec<Figures> = SERVERS.iter().map(|_| Figures::default()).collect();
    let mut order = Order::new();
    for _ in 0..sessions {
        session(&mut all, &mut order)?;
    }
    if callgrind::installed() {
        for _ in 0..3 {
            for (server, figures) in SERVERS.iter().zip(&mut all) {
                figures.instructions.push(instructions(server)?);
            }
        }
    } else {
        println!("valgrind is not installed: no instructions are counted\n");
    }

    let mut table = Table::new(&[
        "server",
        "CPU us/message",
        "ratio",
        "instructions",
        "ratio",
        "messages/s",
        "ratio",
        "busy",
    ]);
    let reference = all[RAW].instructions.median();
    for (server, figures) in SERVERS.iter().zip(&all) {
        table.row(vec![
            server.what.to_owned(),
            figure(figures.micros.median()),
            figures.ratio.ratio(),
            figure(figures.instructions.median()),
            figure(figures.instructions.median() / reference),
            figure(figures.rate.median()),
            figures.rate_ratio.ratio(),
            format!("{:.0} %", figures.busy.median() * 100.0),
        ]);
    }
    println!("{table}");
    println!(
        "{CONNECTIONS} connections, {MESSAGE} bytes. Ratios are to '{}', of the same round; {} rounds.\n",
        SERVERS[RAW].what,
        sessions * ROUNDS,
    );

    let mut gates = Gates::new();
    for place in THENCE {
        let (what, figures) = (SERVERS[place].what, &all[place]);
        // 1.02 is the aim, and 1.10 what can be told from noise.
        gates.ratio(&format!("{what}: CPU, to raw epoll"), 1.1, &figures.ratio);
        gates.ratio(&format!("{what}: CPU, to tokio"), 1.0, &figures.to_tokio);
        let count = figures.instructions.median();
        let count = (!count.is_nan()).then_some(count);
        gates.count(&format!("{what}: instructions a message"), 800.0, count);
    }
    print!("{gates}");
    Ok(())
}

/// Fresh servers, all at once, and rounds in which each has its window while the others sleep.
fn session(all: &mut [Figures], order: &mut Order) -> io::Result<()> {
    let mut peers = Vec::new();
    for server in &SERVERS {
        let mut peer = Peer::start(server).map_err(|error| named(server, &error))?;
        peer.window(WARM_UP).map_err(|error| named(server, &error))?;
        peers.push(peer);
    }
    for _ in 0..ROUNDS {
        let mut round = [(0.0, 0.0); SERVERS.len()];
        for place in order.shuffled(peers.len()) {
            let window = peers[place].window(WINDOW);
            let window = window.map_err(|error| named(&SERVERS[place], &error))?;
            let (answers, time) = (window.run.answers as f64, window.run.time.as_secs_f64());
            round[place] = (window.nanos as f64 / 1e3 / answers, answers / time);
            all[place].busy.push(window.nanos as f64 / 1e9 / time);
        }
        for (figures, (micros, rate)) in all.iter_mut().zip(round) {
            figures.micros.push(micros);
            figures.ratio.push(micros / round[RAW].0);
            figures.to_tokio.push(micros / round[TOKIO].0);
            figures.rate.push(rate);
            figures.rate_ratio.push(rate / round[RAW].1);
        }
    }
    for (server, peer) in SERVERS.iter().zip(peers) {
        peer.close().map_err(|error| named(server, &error))?;
    }
    Ok(())
}

/// Instructions a message. Under callgrind a server is so slow that all connections have a message
/// for it at each wait: what a wait costs is shared by fifty.
fn instructions(server: &Server) -> io::Result<f64> {
    let each = callgrind::per_operation(SIZES, |each| {
        let profile = Profile::new(server.name);
        let mut peer = Peer::start_under(&profile, server)?;
        peer.window(Until::Each(each))?;
        peer.close()?;
        profile.instructions()
    });
    Ok(each.map_err(|error| named(server, &error))? / f64::from(CONNECTIONS))
}

fn named(server: &Server, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", server.what))
}
