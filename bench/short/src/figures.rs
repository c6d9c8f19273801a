//! How a row of the table comes about.

use std::io;

use measure::callgrind::{self, Profile};
use measure::cpu;
use measure::gate::Gates;
use measure::process::Process;
use measure::sample::{Order, Sample};
use measure::table::{Table, figure};
use servers::{Server, available, describe};

use crate::load::{CLIENTS, Load, MESSAGE};
use crate::{OURS, PEER, REFERENCE, SERVERS};

/// Rounds in a session: the servers of a session stay, so that a round of all of them is short.
const ROUNDS: usize = 3;
const WARM_UP: u64 = 500;
const WINDOW: u64 = 4_000;

/// Numbers of connections at which instructions are counted.
const SIZES: (u64, u64) = (200, 1_200);

/// What was found out about one server.
#[derive(Debug, Default)]
struct Figures {
    /// Processor time a connection, in microseconds.
    micros: Sample,
    /// Connections a second.
    rate: Sample,
    /// The part of a window in which the server ran.
    busy: Sample,
    /// NaN where none were counted.
    instructions: Sample,
}

/// Measures all servers and prints the table.
///
/// # Errors
///
/// The machine has no second core, or a server failed or answered wrongly.
pub fn table(sessions: usize) -> io::Result<()> {
    println!("{}\n", describe(&SERVERS));
    cpu::pin(1).map_err(|error| {
        io::Error::other(format!("the load needs core 1, the server has core 0: {error}"))
    })?;
    let (there, mut missing) = available(&SERVERS);
    let mut all: Vec<Figures> = SERVERS.iter().map(|_| Figures::default()).collect();
    let mut order = Order::new();
    let mut load = Load::new()?;
    for _ in 0..sessions {
        session(&there, &mut load, &mut all, &mut order)?;
    }
    if callgrind::installed() {
        for &place in &there {
            let count = instructions(&SERVERS[place], &mut load);
            all[place].instructions.push(named(place, count)?);
        }
    } else {
        missing.push("instructions: valgrind is not installed; run: sudo scripts/setup".into());
    }

    let mut table = Table::new(&[
        "server",
        "CPU us/connection",
        "to raw",
        "to tokio",
        "instructions",
        "connections/s",
        "to raw",
        "busy",
    ]);
    for &place in &there {
        let figures = &all[place];
        table.row(vec![
            SERVERS[place].what.to_owned(),
            figure(figures.micros.median()),
            figures.micros.over(&all[REFERENCE].micros).ratio(),
            figures.micros.over(&all[PEER].micros).ratio(),
            figure(figures.instructions.median()),
            figure(figures.rate.median()),
            figures.rate.over(&all[REFERENCE].rate).ratio(),
            format!("{:.0} %", figures.busy.median() * 100.0),
        ]);
    }
    println!("{table}");
    println!(
        "{CLIENTS} at a time, {MESSAGE} bytes there and back, closed by the client. Ratios are of the same\n\
         round; {} rounds of {WINDOW} connections.",
        sessions * ROUNDS,
    );
    for why in missing {
        println!("Left out: {why}");
    }
    println!();
    let mut gates = Gates::new();
    for place in OURS {
        let ratio = all[place].micros.over(&all[PEER].micros);
        gates.ratio(&format!("{}: CPU, to tokio", SERVERS[place].what), 1.0, &ratio);
    }
    print!("{gates}");
    Ok(())
}

/// Fresh servers, all at once, and rounds in which each has its window while the others sleep.
fn session(
    there: &[usize],
    load: &mut Load,
    all: &mut [Figures],
    order: &mut Order,
) -> io::Result<()> {
    let mut processes = Vec::new();
    for &place in there {
        let process = named(place, SERVERS[place].start(None))?;
        named(place, load.run(process.address(), WARM_UP))?;
        processes.push(process);
    }
    for _ in 0..ROUNDS {
        for index in order.shuffled(processes.len()) {
            let place = there[index];
            named(place, window(&processes[index], load, &mut all[place]))?;
        }
    }
    for (&place, process) in there.iter().zip(processes) {
        named(place, process.end())?;
    }
    Ok(())
}

fn window(process: &Process, load: &mut Load, figures: &mut Figures) -> io::Result<()> {
    let start = process.nanos_at_rest()?;
    let time = load.run(process.address(), WINDOW)?.as_secs_f64();
    let nanos = (process.nanos_at_rest()? - start) as f64;
    figures.micros.push(nanos / 1e3 / WINDOW as f64);
    figures.rate.push(WINDOW as f64 / time);
    figures.busy.push(nanos / 1e9 / time);
    Ok(())
}

fn instructions(server: &Server, load: &mut Load) -> io::Result<f64> {
    callgrind::per_operation(SIZES, |count| {
        let profile = Profile::new(server.name);
        let process = server.start(Some(&profile))?;
        load.run(process.address(), count)?;
        process.nanos_at_rest()?;
        process.end()?;
        profile.instructions()
    })
}

fn named<T>(place: usize, result: io::Result<T>) -> io::Result<T> {
    result
        .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", SERVERS[place].what)))
}
