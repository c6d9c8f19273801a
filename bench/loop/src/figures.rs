//! How the tables come about.

use std::io;

use measure::gate::Gates;
use measure::machine;
use measure::sample::{Order, Sample};
use measure::table::{Table, figure};

use crate::subject::Subject;
use crate::{offload, timers, wake};

/// All tables.
///
/// # Errors
///
/// A subject failed.
pub fn all(rounds: usize) -> io::Result<()> {
    let packages = ["tokio", "async-io", "blocking"];
    println!("{}\n", machine::describe(include_str!("../../Cargo.lock"), &packages));
    timers(rounds)?;
    offload(rounds)?;
    wake(rounds)
}

/// What a million timers cost.
///
/// # Errors
///
/// A subject failed.
pub fn timers(rounds: usize) -> io::Result<()> {
    const WORK: [&str; 3] = ["insert", "fire", "cancel"];
    // Each round fires in real time.
    let rounds = rounds.min(5);
    let measured = Measured::of(&timers::SUBJECTS, rounds)?;
    let mut table = Table::new(&[
        "a million timers",
        "insert ns",
        "ratio",
        "fire ns",
        "ratio",
        "cancel ns",
        "ratio",
    ]);
    for (place, subject) in timers::SUBJECTS.iter().enumerate() {
        let mut cells = vec![measured.title(place, subject)];
        for work in 0..WORK.len() {
            let sample = measured.sample(place, work);
            cells.push(figure(sample.median()));
            cells.push(sample.over(&measured.sample(timers::TOKIO, work)).ratio());
        }
        table.row(cells);
    }
    println!("{table}");
    println!(
        "Processor time of all threads. Ratios are to tokio, of the same round; {rounds} rounds.\n\
         Whoever sets a timer reads the clock: that alone takes {} ns here, and is in it.\n",
        figure(timers::clock())
    );
    let mut gates = Gates::new();
    for place in timers::THENCE {
        let what = timers::SUBJECTS[place].what;
        let to_tokio =
            |work| measured.sample(place, work).over(&measured.sample(timers::TOKIO, work));
        gates.count(&format!("{what}: insert, ns"), 40.0, Some(measured.sample(place, 0).median()));
        gates.count(&format!("{what}: cancel, ns"), 40.0, Some(measured.sample(place, 2).median()));
        for (work, name) in WORK.iter().enumerate() {
            gates.ratio(&format!("{what}: {name}, to tokio"), 1.0, &to_tokio(work));
        }
    }
    println!("{gates}");
    Ok(())
}

/// What a job costs that another thread does.
///
/// # Errors
///
/// A subject failed.
pub fn offload(rounds: usize) -> io::Result<()> {
    let measured = Measured::of(&offload::SUBJECTS, rounds)?;
    let mut table = Table::new(&[
        "a job there and back",
        "1 at a time, us",
        "ratio",
        "64 at a time, us",
        "ratio",
    ]);
    for place in 0..offload::EACH {
        let mut cells = vec![offload::SUBJECTS[place].what.to_owned()];
        for first in [0, offload::EACH] {
            let sample = measured.sample(first + place, 0);
            cells.push(figure(sample.median() / 1e3));
            cells.push(sample.over(&measured.sample(first, 0)).ratio());
        }
        table.row(cells);
    }
    println!("{table}");
    println!("Time a job. Ratios are to tokio, of the same round; {rounds} rounds.\n");
    let mut gates = Gates::new();
    for (first, name) in [(0, "1"), (offload::EACH, "64")] {
        let best = measured.least(first..first + offload::EACH - 1);
        let ours = measured.sample(first + offload::EACH - 1, 0);
        gates.ratio(
            &format!("`offload`, {name} at a time, to the best peer"),
            1.0,
            &ours.over(&best),
        );
    }
    println!("{gates}");
    Ok(())
}

/// What it takes to wake a loop.
///
/// # Errors
///
/// A subject failed.
pub fn wake(rounds: usize) -> io::Result<()> {
    let measured = Measured::of(&wake::SUBJECTS, rounds)?;
    let tokio = measured.sample(wake::TOKIO, 0);
    let mut table = Table::new(&["two threads wake each other", "round trip us", "ratio"]);
    for (place, subject) in wake::SUBJECTS.iter().enumerate() {
        let sample = measured.sample(place, 0);
        table.row(vec![
            subject.what.to_owned(),
            figure(sample.median() / 1e3),
            sample.over(&tokio).ratio(),
        ]);
    }
    println!("{table}");
    println!("Ratios are to tokio, of the same round; {rounds} rounds.\n");
    let mut gates = Gates::new();
    gates.ratio("parked, to tokio", 1.0, &measured.sample(wake::PARKED, 0).over(&tokio));
    gates.ratio("spinning, to tokio", 0.1, &measured.sample(wake::SPINNING, 0).over(&tokio));
    println!("{gates}");
    Ok(())
}

/// The figures of some subjects, round by round.
struct Measured(Vec<Vec<Vec<f64>>>);

impl Measured {
    /// Each round takes all subjects once, in another order.
    fn of(subjects: &[Subject], rounds: usize) -> io::Result<Self> {
        let mut all = vec![Vec::new(); subjects.len()];
        let mut order = Order::new();
        for _ in 0..rounds {
            for place in order.shuffled(subjects.len()) {
                if let Some(figures) = subjects[place].measure()? {
                    all[place].push(figures);
                }
            }
        }
        Ok(Self(all))
    }

    /// One of the figures of a subject; empty if the subject is not to be had.
    fn sample(&self, subject: usize, which: usize) -> Sample {
        let mut sample = Sample::default();
        self.0[subject].iter().for_each(|figures| sample.push(figures[which]));
        sample
    }

    /// Of each round the least of some subjects' first figures.
    fn least(&self, subjects: std::ops::Range<usize>) -> Sample {
        let mut sample = Sample::default();
        let rounds = self.0[subjects.start].len();
        for round in 0..rounds {
            let figures = self.0[subjects.clone()].iter().map(|rounds| rounds[round][0]);
            sample.push(figures.fold(f64::INFINITY, f64::min));
        }
        sample
    }

    /// How the table calls it, with the way to what is not there.
    fn title(&self, place: usize, subject: &Subject) -> String {
        match self.0[place].is_empty() {
            true => format!("{}: needs `scripts/setup --bench`", subject.what),
            false => subject.what.to_owned(),
        }
    }
}
