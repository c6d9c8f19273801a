//! How a row of the table comes about.

use std::io;
use std::process::{Command, Stdio};

use measure::callgrind::{self, Profile};
use measure::gate::Gates;
use measure::sample::{Order, Sample};
use measure::table::{Table, figure};
use measure::{allocations, cpu, machine};

use crate::deferreds::{LOOP, NONE, READY, TEN, most_live_nodes};
use crate::peers::REFERENCE;
use crate::work::Work;

/// What was found out about one work.
#[derive(Debug, Default)]
struct Figures {
    nanos: Sample,
    /// Time, divided by the reference's in the same round.
    ratio: Sample,
    allocations: f64,
    instructions: Option<f64>,
}

/// Measures all works and prints the table.
///
/// # Errors
///
/// A count under callgrind that failed.
pub fn table(works: &[Work], rounds: usize) -> io::Result<()> {
    println!("{}\n", machine::describe(include_str!("../../Cargo.lock"), &["futures"]));
    // Which core is of no weight: time is this thread's own. A core that is not there is none.
    let _ = cpu::pin(0);
    let mut all: Vec<Figures> = works.iter().map(|_| Figures::default()).collect();
    time(works, &mut all, rounds);
    for (work, figures) in works.iter().zip(&mut all) {
        figures.allocations = allocations_per_time(work);
    }
    if callgrind::installed() {
        for (work, figures) in works.iter().zip(&mut all) {
            figures.instructions = Some(instructions_per_time(work)?);
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
            work.what.to_owned(),
            figure(figures.nanos.median()),
            figures.ratio.ratio(),
            figure(count),
            figure(count / reference),
            figure(figures.allocations),
        ]);
    }
    println!("{table}");
    println!("Ratios are to '{}', of the same round; {rounds} rounds.\n", REFERENCE.what);

    let (ten, none) = (found(&TEN), found(&NONE));
    let a_step = ten.instructions.zip(none.instructions).map(|(ten, none)| (ten - none) / 10.0);
    let mut gates = Gates::new();
    gates.ratio("ten `map`, pending then fired: time", 0.7, &ten.ratio);
    gates.count("the same: instructions a step", 140.0, a_step);
    gates.ratio("ten `map` on a ready value: time", 0.25, &found(&READY).ratio);
    gates.count("the same: allocations", 0.0, Some(found(&READY).allocations));
    gates.ratio("loop of returned Deferreds, a pending level: time", 0.6, &found(&LOOP).ratio);
    gates.count("the same: instructions", 550.0, found(&LOOP).instructions);
    gates.count(
        "the same, a million deep: live nodes",
        8.0,
        Some(most_live_nodes(1_000_000) as f64),
    );
    print!("{gates}");
    Ok(())
}

/// Each round takes all works in another order, each beside the reference: A B A B or B A B A.
fn time(works: &[Work], all: &mut [Figures], rounds: usize) {
    let mut order = Order::new();
    for work in works {
        slice(work);
    }
    for _ in 0..rounds {
        for place in order.shuffled(works.len()) {
            let work = &works[place];
            let (mut subject, mut reference) = (0.0, 0.0);
            let subject_first = order.coin();
            for _ in 0..2 {
                if subject_first {
                    subject += slice(work);
                    reference += slice(&REFERENCE);
                } else {
                    reference += slice(&REFERENCE);
                    subject += slice(work);
                }
            }
            all[place].nanos.push(subject / 2.0);
            all[place].ratio.push(subject / reference);
        }
    }
}

/// Nanoseconds of this thread's own time for one time of the work.
fn slice(work: &Work) -> f64 {
    let start = cpu::thread_nanos();
    (work.run)(work.slice);
    (cpu::thread_nanos() - start) as f64 / work.slice as f64
}

/// Counted as instructions are, at two sizes: what is allocated once for the thread cancels out.
fn allocations_per_time(work: &Work) -> f64 {
    let (small, large) = work.sizes;
    let run = |times| {
        let start = allocations::count();
        (work.run)(times);
        allocations::count() - start
    };
    run(small);
    let (low, high) = (run(small), run(large));
    (high as f64 - low as f64) / (large - small) as f64
}

fn instructions_per_time(work: &Work) -> io::Result<f64> {
    callgrind::per_operation(work.sizes, |times| {
        let profile = Profile::new(work.name);
        once(work, times, &profile)?;
        profile.instructions()
    })
}

fn once(work: &Work, times: u64, profile: &Profile) -> io::Result<()> {
    let mut command = profile.command(&["once", work.name, &times.to_string()])?;
    match command.stdout(Stdio::null()).status()? {
        status if status.success() => Ok(()),
        status => Err(io::Error::other(format!("{} under callgrind: {status}", work.name))),
    }
}

/// Prints which functions and lines the instructions of one work are spent in.
///
/// # Errors
///
/// Valgrind is not installed, or failed.
pub fn hot(work: &Work) -> io::Result<()> {
    if !callgrind::installed() {
        return Err(io::Error::other("valgrind is not installed"));
    }
    let profile = Profile::new(work.name);
    once(work, work.sizes.1, &profile)?;
    println!("{} times: {}\n", work.sizes.1, work.what);
    Command::new("callgrind_annotate").arg(profile.file()).status()?;
    Ok(())
}
