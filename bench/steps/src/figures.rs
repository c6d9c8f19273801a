//! How a row of the table comes about.

use std::io;

use measure::gate::Gates;
use measure::sample::{Order, Sample, paired};
use measure::table::{Table, figure};
use measure::{callgrind, cpu, machine};

use crate::counts::{allocations_per_time, instructions_per_time};
use crate::deferreds::{LOOP, NONE, READY, SPAWN, TEN, most_live_nodes};
use crate::peers::{REFERENCE, SPAWN_IN_RUN};
use crate::work::{By, Work};
use crate::worker::Programs;

/// What was found out about one work.
#[derive(Debug, Default)]
struct Figures {
    nanos: Sample,
    /// Time, divided by the reference's in the same round.
    ratio: Sample,
    allocations: Option<f64>,
    instructions: Option<f64>,
}

/// Measures all works and prints the table.
///
/// # Errors
///
/// A peer's program that ended, or a count under callgrind that failed.
pub fn table(works: &[Work], rounds: usize) -> io::Result<()> {
    let packages = ["futures", "tokio", "async-executor"];
    print!("{}", machine::describe(include_str!("../../Cargo.lock"), &packages));
    // Which core is of no weight: time is a thread's or a process's own. A core that is not there
    // is none. What is started from here on is on it too.
    let _ = cpu::pin(0);
    let mut programs = Programs::start(works);
    println!("{}\n", programs.versions());
    let mut all: Vec<Figures> = works.iter().map(|_| Figures::default()).collect();
    time(works, &mut all, &mut programs, rounds)?;
    for (work, figures) in works.iter().zip(&mut all) {
        figures.allocations = allocations_per_time(work);
    }
    if callgrind::installed() {
        for (work, figures) in works.iter().zip(&mut all) {
            figures.instructions = instructions_per_time(work, &mut programs)?;
        }
    } else {
        println!("valgrind is not installed: no instructions are counted\n");
    }

    let found = |work: &Work| {
        let place = works.iter().position(|other| other.name == work.name);
        &all[place.expect("every work has its figures")]
    };
    let reference = found(&REFERENCE).instructions.unwrap_or(f64::NAN);
    let mut table = Table::new(&["work", "ns", "ratio", "instructions", "ratio", "allocations"]);
    for (work, figures) in works.iter().zip(&all) {
        let count = figures.instructions.unwrap_or(f64::NAN);
        table.row(vec![
            title(work, &mut programs),
            figure(figures.nanos.median()),
            figures.ratio.ratio(),
            figure(count),
            figure(count / reference),
            figure(figures.allocations.unwrap_or(f64::NAN)),
        ]);
    }
    println!("{table}");
    println!("Ratios are to '{}', of the same round; {rounds} rounds.\n", REFERENCE.what);

    let (ten, none, spawn) = (found(&TEN), found(&NONE), found(&SPAWN));
    let a_step = ten.instructions.zip(none.instructions).map(|(ten, none)| (ten - none) / 10.0);
    let mut gates = Gates::new();
    gates.ratio("ten `map`, pending then fired: time", 0.7, &ten.ratio);
    gates.count("the same: instructions a step", 140.0, a_step);
    gates.ratio("ten `map` on a ready value: time", 0.25, &found(&READY).ratio);
    gates.count("the same: allocations", 0.0, found(&READY).allocations);
    gates.ratio("loop of returned Deferreds, a pending level: time", 0.6, &found(&LOOP).ratio);
    gates.count("the same: instructions", 550.0, found(&LOOP).instructions);
    gates.count(
        "the same, a million deep: live nodes",
        8.0,
        Some(most_live_nodes(1_000_000) as f64),
    );
    let to_peer = spawn.ratio.over(&found(&SPAWN_IN_RUN).ratio);
    gates.ratio("flow, own Deferred, join: time, to async-executor's run", 0.3, &to_peer);
    println!("{gates}");
    Ok(())
}

/// How the table calls it, with the way to what is not there.
fn title(work: &Work, programs: &mut Programs) -> String {
    match work.by {
        By::There(program, _) if programs.worker(program).is_none() => {
            format!("{}: needs `scripts/setup --bench`", work.what)
        }
        _ => work.what.to_owned(),
    }
}

/// Each round takes all works in another order, each beside the reference: A B A B or B A B A.
fn time(
    works: &[Work],
    all: &mut [Figures],
    programs: &mut Programs,
    rounds: usize,
) -> io::Result<()> {
    let mut order = Order::new();
    let mut there = Vec::new();
    for (place, work) in works.iter().enumerate() {
        if programs.nanos(work)?.is_some() {
            there.push(place);
        }
    }
    for _ in 0..rounds {
        for place in order.shuffled(there.len()) {
            let place = there[place];
            let pair = (&works[place], &REFERENCE);
            let (subject, reference) = paired(&mut order, pair, |work| {
                Ok(programs.nanos(work)?.expect("it is there, for it was a moment ago"))
            })?;
            all[place].nanos.push(subject);
            all[place].ratio.push(subject / reference);
        }
    }
    Ok(())
}
