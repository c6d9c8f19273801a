//! What the loop stands on.

use thence::reactor::driver::{self, Verdict as Driver};

use super::{Finding, System, Verdict};

/// Which driver runs, what was tried, and why it won.
pub fn driver() -> Finding {
    let choice = driver::choice();
    let expected = "a driver that this machine lets us have; the first of the list unless \
                    THENCE_DRIVER names one";
    if choice.chosen().is_some() {
        return Finding::ok("driver", choice, expected);
    }
    let failed = choice.candidates.iter().any(|one| matches!(one.verdict, Driver::Failed(_)));
    let advice = if failed {
        "see the limits below: a loop needs a few descriptors"
    } else {
        "unset THENCE_DRIVER, or set it to `auto`"
    };
    Finding::of(Verdict::Bad, "driver", choice, expected, advice)
}

/// Whether the kernel would let a driver over io_uring run. Nothing here needs it.
pub fn uring(system: &System) -> Finding {
    let says = match system.number::<u8>("proc/sys/kernel/io_uring_disabled") {
        Some(0) => "the kernel allows it (io_uring_disabled is 0)",
        Some(1) => "the kernel allows it to the privileged alone (io_uring_disabled is 1)",
        Some(_) => "the kernel forbids it (io_uring_disabled is 2)",
        None => match system.kernel() {
            Some((_, version)) if version >= (5, 10) => {
                "the kernel is new enough and has no switch for it (6.6 brought one)"
            }
            _ => "the kernel is too old for it",
        },
    };
    let filter = match system.entry::<u8>("proc/self/status", "Seccomp") {
        Some(2) => "; a seccomp filter is on, which may refuse it",
        _ => "",
    };
    Finding::ok(
        "io_uring",
        format_args!("not used, `uring` is not in this build; {says}{filter}"),
        "nothing: `ready` does not need it",
    )
}

#[cfg(test)]
mod tests {
    use super::{super::system::made_of, *};

    #[test]
    fn the_driver_of_this_machine_is_named_with_the_reason() {
        let finding = driver();
        assert_eq!(finding.verdict, Verdict::Ok);
        assert!(finding.found.starts_with("`ready`, over "), "{finding:?}");
        assert!(finding.found.contains("`uring` is not in this build"), "{finding:?}");
    }

    #[test]
    fn what_the_kernel_thinks_of_io_uring_is_told() {
        let says = |files: &[(&str, &str)]| uring(&made_of(files).1).found;
        let switch = "proc/sys/kernel/io_uring_disabled";
        let release = "proc/sys/kernel/osrelease";
        assert!(says(&[(switch, "0\n")]).contains("allows it (io"));
        assert!(says(&[(switch, "1\n")]).contains("privileged alone"));
        assert!(says(&[(switch, "2\n")]).contains("forbids"));
        assert!(says(&[(release, "6.1.0-13-amd64\n")]).contains("new enough"));
        assert!(says(&[(release, "4.19.0\n")]).contains("too old"));
        assert!(says(&[("proc/self/status", "Seccomp:\t2\n")]).contains("seccomp"));
    }
}
