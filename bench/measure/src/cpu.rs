//! Processor time, and where it is spent.

use std::{fs, io};

use rustix::thread::CpuSet;
use rustix::time::{ClockId, clock_gettime};

/// Keeps this thread, and what it starts from here on, on one core.
///
/// # Errors
///
/// The machine has no such core, or this process may not use it.
pub fn pin(core: usize) -> io::Result<()> {
    let mut set = CpuSet::new();
    set.set(core);
    Ok(rustix::thread::sched_setaffinity(None, &set)?)
}

/// Nanoseconds this thread has run: what others did on its core meanwhile is not in it.
pub fn thread_nanos() -> u64 {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// Nanoseconds all threads of a process have run, in user space and in the kernel.
///
/// # Errors
///
/// The process has ended, or the kernel keeps no schedstat.
pub fn process_nanos(pid: u32) -> io::Result<u64> {
    let mut sum = 0;
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        let line = fs::read_to_string(task?.path().join("schedstat"))?;
        let run = line.split(' ').next().unwrap_or_default();
        sum += run.parse::<u64>().map_err(io::Error::other)?;
    }
    Ok(sum)
}
