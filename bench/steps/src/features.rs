//! What each feature adds to a step: the same work by builds without it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, io};

use measure::callgrind;
use measure::sample::{Order, Sample, paired};
use measure::table::{Table, figure};

use crate::counts::instructions_by;
use crate::deferreds::{READY, TEN};
use crate::work::Work;
use crate::worker::Worker;

/// Each with the switch that builds core without it.
const FEATURES: [(&str, &str); 4] = [
    ("site", "thence_no_site"),
    ("context", "thence_no_context"),
    ("panic guard", "thence_no_guard"),
    ("free list", "thence_no_free_list"),
];

const WORKS: [Work; 2] = [TEN, READY];

/// How many steps each of them has.
const STEPS: f64 = 10.0;

/// Builds without each feature, measures them beside this one, and prints what a step costs more
/// with it.
///
/// # Errors
///
/// A build failed, or a count under callgrind.
pub fn table(rounds: usize) -> io::Result<()> {
    let full = env::current_exe()?;
    let mut builds = Vec::new();
    for (_, switch) in FEATURES {
        builds.push(build(switch)?);
    }
    let times = time(&full, &builds, rounds)?;

    let mut table =
        Table::new(&["build", "ns", "it adds a step", "instructions", "it adds a step"]);
    for (work, times) in WORKS.iter().zip(times) {
        let whole = instructions(&full, work)?;
        let nanos = figure(times.full.median());
        table.row(vec![work.what.into(), nanos, "".into(), figure(whole), "".into()]);
        for (((feature, _), build), times) in FEATURES.iter().zip(&builds).zip(&times.without) {
            let count = instructions(build, work)?;
            table.row(vec![
                format!("the same without {feature}"),
                figure(times.nanos.median()),
                times.added.ratio(),
                figure(count),
                figure((whole - count) / STEPS),
            ]);
        }
    }
    println!("{table}");
    println!(
        "Each build is timed beside the whole one, in processes of their own; {rounds} rounds."
    );
    Ok(())
}

/// What was found out about one work.
#[derive(Debug, Default)]
struct Times {
    full: Sample,
    without: [Without; FEATURES.len()],
}

/// What was found out about one work and build.
#[derive(Debug, Default)]
struct Without {
    nanos: Sample,
    /// What the whole build took more in the same round, a step.
    added: Sample,
}

fn time(full: &Path, builds: &[PathBuf], rounds: usize) -> io::Result<[Times; WORKS.len()]> {
    let mut workers = vec![serving(full)?];
    for build in builds {
        workers.push(serving(build)?);
    }
    let mut order = Order::new();
    let mut all: [Times; WORKS.len()] = Default::default();
    for work in &WORKS {
        for worker in &mut workers {
            worker.nanos(work.name, work.slice)?;
        }
    }
    for _ in 0..rounds {
        for (work, times) in WORKS.iter().zip(&mut all) {
            for place in order.shuffled(builds.len()) {
                let (without, whole) = paired(&mut order, (place + 1, 0), |place| {
                    Ok(workers[place].nanos(work.name, work.slice)? / work.slice as f64)
                })?;
                times.full.push(whole);
                times.without[place].nanos.push(without);
                times.without[place].added.push((whole - without) / STEPS);
            }
        }
    }
    Ok(all)
}

fn serving(program: &Path) -> io::Result<Worker> {
    let mut command = Command::new(program);
    command.arg("serve");
    Worker::start(command)
}

/// This program, built with `switch` into a folder of its own.
fn build(switch: &str) -> io::Result<PathBuf> {
    let package = env!("CARGO_MANIFEST_DIR");
    let target = PathBuf::from(format!("{package}/../target/{switch}"));
    let mut flags = env::var_os("RUSTFLAGS").unwrap_or_default();
    flags.push(format!(" --cfg {switch}"));
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo")));
    cargo.args(["build", "--release", "--quiet", "--locked", "--manifest-path"]);
    cargo.arg(format!("{package}/Cargo.toml")).arg("--target-dir").arg(&target);
    match cargo.env("RUSTFLAGS", flags).status()? {
        status if status.success() => Ok(target.join("release/steps")),
        status => Err(io::Error::other(format!("a build with --cfg {switch}: {status}"))),
    }
}

fn instructions(program: &Path, work: &Work) -> io::Result<f64> {
    if !callgrind::installed() {
        return Ok(f64::NAN);
    }
    instructions_by(program, &["once", work.name], work)
}
