//! What the operating system lets a process have: descriptors, waiting connections, ports.

use std::net::SocketAddr;

use super::{Finding, System, Verdict};
use crate::{
    descriptors::{self, Descriptors},
    limits::Limits,
};

/// How many files this process may have open, in clients.
pub fn descriptors(limits: &Limits) -> Finding {
    descriptors_of(Descriptors::read(), limits)
}

fn descriptors_of(bounds: Descriptors, limits: &Limits) -> Finding {
    let needed = descriptors::needed(limits);
    let clients = match bounds.raised(needed) {
        Some(raised) => descriptors::clients(raised, limits),
        None => limits.connections as u64,
    };
    let shown = |bound: Option<u64>| bound.map_or("unlimited".into(), |bound| bound.to_string());
    let found = format!(
        "soft {}, hard {}: {clients} clients at a time",
        shown(bounds.soft),
        shown(bounds.hard)
    );
    let expected = format!(
        "hard {needed} for {} clients and {} connections to the upstream; the gateway raises soft itself",
        limits.connections, limits.upstream_connections
    );
    if clients >= limits.connections as u64 {
        return Finding::ok("open files", found, expected);
    }
    let verdict = if clients < FEW { Verdict::Bad } else { Verdict::Note };
    let advice = format!(
        "raise the hard bound: LimitNOFILE={needed} in the unit, or `ulimit -Hn` for a shell \
         (this one's is shown; a service has its own)"
    );
    Finding::of(verdict, "open files", found, expected, advice)
}

/// How many files all processes of the machine may have open.
pub fn descriptors_of_machine(system: &System, limits: &Limits) -> Finding {
    let check = "open files of all";
    let needed = descriptors::needed(limits);
    let expected = format!("{needed} to spare below fs.file-max, and fs.nr_open above that");
    let (Some(open), Some(most), Some(each)) = (
        system.number::<u64>("proc/sys/fs/file-nr"),
        system.number::<u64>("proc/sys/fs/file-max"),
        system.number::<u64>("proc/sys/fs/nr_open"),
    ) else {
        return Finding::of(Verdict::Note, check, "unknown", expected, "mount /proc");
    };
    let found = format!("{open} of {most} open (fs.file-max), {each} for a process (fs.nr_open)");
    if most.saturating_sub(open) >= needed && each >= needed {
        return Finding::ok(check, found, expected);
    }
    let advice = format!("sysctl -w fs.file-max={} fs.nr_open=1048576", (open + needed) * 2);
    Finding::of(Verdict::Note, check, found, expected, advice)
}

/// How many connections may wait to be accepted.
pub fn backlog(system: &System) -> Finding {
    let expected = format!("{BACKLOG}, which is what a listener asks for");
    match system.number::<u32>("proc/sys/net/core/somaxconn") {
        Some(most) if most >= BACKLOG => {
            Finding::ok("backlog", format_args!("{most} (net.core.somaxconn)"), expected)
        }
        Some(most) => Finding::of(
            Verdict::Note,
            "backlog",
            format_args!("{most} (net.core.somaxconn): a burst of more is refused"),
            expected,
            format_args!("sysctl -w net.core.somaxconn={BACKLOG}"),
        ),
        None => Finding::of(Verdict::Note, "backlog", "unknown", expected, "mount /proc"),
    }
}

/// The ports of connections to the upstream, and whether one of them may be the listener's.
pub fn ports(system: &System, limits: &Limits, listen: SocketAddr) -> Finding {
    let expected = format!(
        "{} for connections to one upstream, the listener's not among them",
        limits.upstream_connections * 2
    );
    let range = system.text("proc/sys/net/ipv4/ip_local_port_range").and_then(|text| {
        let mut words = text.split_ascii_whitespace();
        Some((words.next()?.parse::<u16>().ok()?, words.next()?.parse::<u16>().ok()?))
    });
    let Some((first, last)) = range else {
        return Finding::of(Verdict::Note, "ports", "unknown", expected, "mount /proc");
    };
    let count = usize::from(last.saturating_sub(first)) + 1;
    let found = format!("{first} to {last}, {count} of them (net.ipv4.ip_local_port_range)");
    if count < limits.upstream_connections * 2 {
        let advice = "sysctl -w net.ipv4.ip_local_port_range='32768 60999'";
        return Finding::of(Verdict::Note, "ports", found, expected, advice);
    }
    let reserved = system.text("proc/sys/net/ipv4/ip_local_reserved_ports").unwrap_or_default();
    let port = listen.port();
    if (first..=last).contains(&port) && !is_among(&reserved, port) {
        return Finding::of(
            Verdict::Note,
            "ports",
            format_args!("{found}: {port}, the listener's, is among them"),
            expected,
            format_args!(
                "a connection that goes out may have taken it before a restart: choose another, or \
                 sysctl -w net.ipv4.ip_local_reserved_ports={port}"
            ),
        );
    }
    Finding::ok("ports", found, expected)
}

/// Whether a list such as `80,8000-8100` has `port`.
fn is_among(list: &str, port: u16) -> bool {
    list.split(',').any(|part| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let bounds = first.parse::<u16>().ok().zip(last.parse::<u16>().ok());
        bounds.is_some_and(|(first, last)| (first..=last).contains(&port))
    })
}

/// Fewer clients than this are no service.
const FEW: u64 = 64;
/// What the reactor's listeners ask for.
const BACKLOG: u32 = 4096;

#[cfg(test)]
mod tests {
    use super::{super::system::made_of, *};

    fn at(port: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    #[test]
    fn descriptors_are_judged_by_the_clients_they_serve() {
        let limits = Limits::default();
        let judged = |soft, hard| descriptors_of(Descriptors { soft, hard }, &limits).verdict;
        assert_eq!(judged(Some(1024), Some(524_288)), Verdict::Ok, "soft is raised");
        assert_eq!(judged(Some(1024), None), Verdict::Ok);
        assert_eq!(judged(None, None), Verdict::Ok);
        assert_eq!(judged(Some(1024), Some(4096)), Verdict::Note);
        assert_eq!(judged(Some(100), Some(128)), Verdict::Bad);
        let note = descriptors_of(Descriptors { soft: Some(1), hard: Some(4096) }, &limits);
        assert!(note.found.contains("3008 clients"), "{note:?}");
        assert!(note.advice.unwrap().contains("LimitNOFILE=11088"));
    }

    #[test]
    fn a_machine_that_runs_out_of_files_is_noted() {
        let files = |open, most, each| {
            let files = [
                ("proc/sys/fs/file-nr", open),
                ("proc/sys/fs/file-max", most),
                ("proc/sys/fs/nr_open", each),
            ];
            descriptors_of_machine(&made_of(&files).1, &Limits::default()).verdict
        };
        assert_eq!(files("500\t0\t100000\n", "100000\n", "1048576\n"), Verdict::Ok);
        assert_eq!(files("99000\t0\t100000\n", "100000\n", "1048576\n"), Verdict::Note);
        assert_eq!(files("500\t0\t100000\n", "100000\n", "4096\n"), Verdict::Note);
    }

    #[test]
    fn a_short_queue_of_connections_is_noted() {
        let queue = |most| backlog(&made_of(&[("proc/sys/net/core/somaxconn", most)]).1).verdict;
        assert_eq!(queue("4096\n"), Verdict::Ok);
        assert_eq!(queue("128\n"), Verdict::Note);
    }

    #[test]
    fn a_listener_in_the_range_of_outgoing_ports_is_noted() {
        let range = ("proc/sys/net/ipv4/ip_local_port_range", "32768\t60999\n");
        let reserved = ("proc/sys/net/ipv4/ip_local_reserved_ports", "80,40000-40010\n");
        let limits = Limits::default();
        let found = |port| ports(&made_of(&[range, reserved]).1, &limits, at(port)).verdict;
        assert_eq!(found(8080), Verdict::Ok);
        assert_eq!(found(40_000), Verdict::Ok);
        assert_eq!(found(50_000), Verdict::Note);
        let few = [("proc/sys/net/ipv4/ip_local_port_range", "60000 60999\n")];
        assert_eq!(ports(&made_of(&few).1, &limits, at(80)).verdict, Verdict::Note);
    }
}
