//! Instructions and allocations of one work.

use std::path::Path;
use std::process::{Command, Stdio};
use std::{env, io};

use measure::allocations;
use measure::callgrind::{self, Profile};

use crate::work::{By, Work};
use crate::worker::Programs;

/// Allocations for one time of the work, at two sizes as instructions are: what is allocated once
/// for the thread cancels out. Another program's are not counted.
pub fn allocations_per_time(work: &Work) -> Option<f64> {
    let By::Here(run) = work.by else { return None };
    let (small, large) = work.sizes;
    let count = |times| {
        let start = allocations::count();
        run(times);
        allocations::count() - start
    };
    count(small);
    let (low, high) = (count(small), count(large));
    Some((high as f64 - low as f64) / (large - small) as f64)
}

/// Instructions for one time of the work, by whoever does it. `None` if that is not there.
///
/// # Errors
///
/// It failed under callgrind.
pub fn instructions_per_time(work: &Work, programs: &mut Programs) -> io::Result<Option<f64>> {
    match work.by {
        By::Here(_) => instructions_by(&env::current_exe()?, &["once", work.name], work).map(Some),
        By::There(program, theirs) => match programs.worker(program) {
            Some(worker) => {
                let arguments = [program.script, "once", theirs];
                instructions_by(Path::new(worker.path()), &arguments, work).map(Some)
            }
            None => Ok(None),
        },
    }
}

/// Instructions for one time of the work, by a program that is told so by `arguments` and a number.
///
/// # Errors
///
/// It failed under callgrind.
pub fn instructions_by(program: &Path, arguments: &[&str], work: &Work) -> io::Result<f64> {
    callgrind::per_operation(work.sizes, |times| {
        let profile = Profile::new(work.name);
        once(&profile, program, arguments, times)?;
        profile.instructions()
    })
}

/// Prints which functions and lines the instructions of one work are spent in.
///
/// # Errors
///
/// Valgrind is not installed, or failed; or another language's program does the work.
pub fn hot(work: &Work) -> io::Result<()> {
    if !callgrind::installed() {
        return Err(io::Error::other("valgrind is not installed"));
    }
    if let By::There(program, _) = work.by {
        return Err(io::Error::other(format!("{} has a profiler of its own", program.what)));
    }
    let profile = Profile::new(work.name);
    once(&profile, &env::current_exe()?, &["once", work.name], work.sizes.1)?;
    println!("{} times: {}\n", work.sizes.1, work.what);
    Command::new("callgrind_annotate").arg(profile.file()).status()?;
    Ok(())
}

fn once(profile: &Profile, program: &Path, arguments: &[&str], times: u64) -> io::Result<()> {
    let mut command = profile.command_of(program, arguments);
    match command.arg(times.to_string()).stdout(Stdio::null()).status()? {
        status if status.success() => Ok(()),
        status => Err(io::Error::other(format!("{} under callgrind: {status}", program.display()))),
    }
}
