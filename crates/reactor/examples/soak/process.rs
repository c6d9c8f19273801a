//! This process, as the operating system sees it.

use std::fs;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Allows as many descriptors as there may be, and says how many.
pub fn raise_limit() -> usize {
    let limit = getrlimit(Resource::Nofile);
    // A refusal leaves the limit, which is what is said.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
    getrlimit(Resource::Nofile).current.map_or(usize::MAX, |limit| limit as usize)
}

/// How many descriptors are open.
pub fn descriptors() -> usize {
    // Without the one that looks.
    fs::read_dir("/proc/self/fd").map_or(0, |listed| listed.count() - 1)
}

/// How much memory it has, in KiB.
pub fn resident() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}
