//! The machine: its kernel, processors, memory and clock, and who we are on it.

use std::{thread, time::Instant};

use rustix::{
    process::{Resource, geteuid, getrlimit},
    time::{ClockId, clock_getres},
};

use super::{Finding, System, Verdict};
use crate::limits::Limits;

/// Whether the kernel is one that the reactor is made for.
pub fn kernel(system: &System) -> Finding {
    let expected = "Linux 5.10 or later";
    match system.kernel() {
        Some((release, version)) if version >= (5, 10) => {
            Finding::ok("kernel", format_args!("Linux {release}"), expected)
        }
        Some((release, _)) => Finding::of(
            Verdict::Note,
            "kernel",
            format_args!("Linux {release}"),
            expected,
            "nothing is tested on older ones: upgrade before you rely on it",
        ),
        None => Finding::of(
            Verdict::Note,
            "kernel",
            "it does not say its release",
            expected,
            "mount /proc, or know that only Linux is tested",
        ),
    }
}

/// How much of how many processors this process gets.
pub fn processors(system: &System) -> Finding {
    let count = thread::available_parallelism().map_or(1, usize::from);
    let expected = "1 processor for the loop and a share of another for look-ups";
    let Some(share) = processor_share(system) else {
        let found = format!("{count}, no bound by a control group");
        return Finding::ok("processors", found, expected);
    };
    let found = format!("{count}, bounded to {share:.2} of one by a control group");
    if share >= 1.0 {
        return Finding::ok("processors", found, expected);
    }
    Finding::of(
        Verdict::Note,
        "processors",
        found,
        expected,
        "answers stall whenever the share is used up: raise the bound (CPUQuota=, --cpus)",
    )
}

/// How much memory there is for this process.
pub fn memory(system: &System, limits: &Limits) -> Finding {
    let free = system.entry::<u64>("proc/meminfo", "MemAvailable").map(|kib| kib * 1024);
    let mut bounds: Vec<(u64, &str)> = free.map(|free| (free, "free")).into_iter().collect();
    bounds.extend(group_memory(system).map(|left| (left, "left by a control group")));
    let address_space = getrlimit(Resource::As).current;
    bounds.extend(address_space.map(|bytes| (bytes, "of address space (ulimit -v)")));
    let needed = BASE + limits.connections as u64 * CLIENT;
    let expected = format!("{} for {} idle clients", mib(needed), limits.connections);
    let Some((bytes, what)) = bounds.into_iter().min() else {
        return Finding::of(Verdict::Note, "memory", "unknown", expected, "mount /proc");
    };
    let found = format!("{} {what}", mib(bytes));
    if bytes >= needed {
        return Finding::ok("memory", found, expected);
    }
    let verdict = if bytes < BASE { Verdict::Bad } else { Verdict::Note };
    let advice = "raise the bound (MemoryMax=, --memory), or make room: the kernel ends what asks \
                  for more than there is";
    Finding::of(verdict, "memory", found, expected, advice)
}

/// How finely time is told, and what asking for it costs.
pub fn clock(system: &System) -> Finding {
    let finest = clock_getres(ClockId::Monotonic);
    let nanos = finest.tv_sec as u64 * 1_000_000_000 + finest.tv_nsec as u64;
    let source = system
        .text("sys/devices/system/clocksource/clocksource0/current_clocksource")
        .unwrap_or_else(|| "unknown".to_owned());
    let begin = Instant::now();
    let mut last = begin;
    for _ in 0..READINGS {
        last = Instant::now();
    }
    let each = last.duration_since(begin).as_nanos() as u64 / u64::from(READINGS);
    let found = format!("source {source}, told to {nanos} ns, {each} ns to read");
    let expected = "1 ms or finer, read in less than 1 us";
    if nanos > 1_000_000 || each >= 1_000 {
        return Finding::of(
            Verdict::Note,
            "clock",
            found,
            expected,
            "the loop reads it each turn: choose another source (clocksource=tsc)",
        );
    }
    Finding::ok("clock", found, expected)
}

/// Who the gateway would run as.
pub fn user() -> Finding {
    let uid = geteuid();
    let expected = "a user of its own";
    if uid.is_root() {
        let advice = "run it as another user; a port below 1024 needs only CAP_NET_BIND_SERVICE";
        return Finding::of(Verdict::Note, "user", "root", expected, advice);
    }
    Finding::ok("user", format_args!("uid {}", uid.as_raw()), expected)
}

fn processor_share(system: &System) -> Option<f64> {
    let share = |folder: String| {
        let (quota, period): (f64, f64) = match system.text(&format!("{folder}/cpu.max")) {
            Some(text) => {
                let (quota, period) = text.split_once(' ')?;
                (quota.parse().ok()?, period.parse().ok()?)
            }
            None => (
                system.number(&format!("{folder}/cpu.cfs_quota_us"))?,
                system.number(&format!("{folder}/cpu.cfs_period_us"))?,
            ),
        };
        // Without a bound it is `max`, or -1.
        (quota > 0.0 && period > 0.0).then_some(quota / period)
    };
    system.control_groups("cpu").into_iter().filter_map(share).min_by(f64::total_cmp)
}

fn group_memory(system: &System) -> Option<u64> {
    let left = |folder: String| {
        let read = |name: &str| system.number::<u64>(&format!("{folder}/{name}"));
        let (bound, used) = match read("memory.max") {
            Some(bound) => (bound, read("memory.current")),
            None => (read("memory.limit_in_bytes")?, read("memory.usage_in_bytes")),
        };
        // What version 1 has for no bound is more than any machine has.
        (bound < 1 << 60).then(|| bound.saturating_sub(used.unwrap_or(0)))
    };
    system.control_groups("memory").into_iter().filter_map(left).min()
}

fn mib(bytes: u64) -> String {
    format!("{} MiB", bytes >> 20)
}

/// Without a client.
const BASE: u64 = 32 << 20;
/// For each idle one: 25 MiB for 10,000 are the gateway's bound, and the kernel has its own share.
const CLIENT: u64 = 2 * (25 << 20) / 10_000;
const READINGS: u32 = 1000;

#[cfg(test)]
mod tests {
    use super::{super::system::made_of, *};

    #[test]
    fn an_old_kernel_is_noted() {
        let release = |text| kernel(&made_of(&[("proc/sys/kernel/osrelease", text)]).1).verdict;
        assert_eq!(release("5.10.0"), Verdict::Ok);
        assert_eq!(release("6.1.0"), Verdict::Ok);
        assert_eq!(release("5.9.16"), Verdict::Note);
        assert_eq!(release("odd"), Verdict::Note);
    }

    #[test]
    fn the_tightest_bound_on_processors_holds() {
        let group = ("proc/self/cgroup", "0::/a/b\n");
        let (outer, inner) = ("sys/fs/cgroup/a/cpu.max", "sys/fs/cgroup/a/b/cpu.max");
        let found = |files: &[(&str, &str)]| processors(&made_of(files).1);
        assert_eq!(found(&[group, (inner, "max 100000\n")]).verdict, Verdict::Ok);
        assert_eq!(found(&[group, (inner, "150000 100000\n")]).verdict, Verdict::Ok);
        let tight = found(&[group, (inner, "max 100000\n"), (outer, "50000 100000\n")]);
        assert_eq!(tight.verdict, Verdict::Note);
        assert!(tight.found.contains("0.50 of one"), "{tight:?}");
        let first = [
            ("proc/self/cgroup", "1:cpu:/\n"),
            ("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1\n"),
            ("sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n"),
        ];
        assert_eq!(found(&first).verdict, Verdict::Ok);
    }

    #[test]
    fn memory_is_what_the_tightest_bound_leaves() {
        let limits = Limits::default();
        let free = ("proc/meminfo", "MemAvailable: 4194304 kB\n");
        let group = ("proc/self/cgroup", "0::/a\n");
        let found = |files: &[(&str, &str)]| memory(&made_of(files).1, &limits);
        assert_eq!(found(&[free]).verdict, Verdict::Ok);
        let unbounded = found(&[free, group, ("sys/fs/cgroup/a/memory.max", "max\n")]);
        assert!(unbounded.found.starts_with("4096 MiB free"), "{unbounded:?}");
        let tight = [
            free,
            group,
            ("sys/fs/cgroup/a/memory.max", "67108864\n"),
            ("sys/fs/cgroup/a/memory.current", "8388608\n"),
        ];
        assert_eq!(found(&tight).verdict, Verdict::Note);
        assert!(found(&tight).found.starts_with("56 MiB left"), "{:?}", found(&tight));
        assert_eq!(found(&[("proc/meminfo", "MemAvailable: 1024 kB\n")]).verdict, Verdict::Bad);
    }
}
