//! `thence-gate doctor`, against what it looks at.

use std::{
    fs,
    io::Write as _,
    net::{SocketAddr, TcpListener},
    path::PathBuf,
    process::Command,
};

use serde_json::Value;

use crate::common::{Gate, Ran, Upstream, gate};

/// The flags of a gateway that could run: free ports and a store that is not there yet.
struct Patient {
    dir: tempfile::TempDir,
    flags: Vec<String>,
}

impl Patient {
    fn healthy() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = dir.path().join("sessions.db").display().to_string();
        let flags = ["--listen", ":0", "--metrics", ":0", "--store", &store];
        Self { flags: flags.map(str::to_owned).to_vec(), dir }
    }

    fn with(mut self, flag: &str, value: impl ToString) -> Self {
        match self.flags.iter().position(|one| one == flag) {
            Some(at) => self.flags[at + 1] = value.to_string(),
            None => self.flags.extend([flag.to_owned(), value.to_string()]),
        }
        self
    }

    fn store(&self) -> PathBuf {
        self.dir.path().join("sessions.db")
    }

    fn examined(&self) -> Report {
        Report::of(&gate(self.words()))
    }

    fn words(&self) -> Vec<String> {
        ["doctor", "--json"].map(str::to_owned).into_iter().chain(self.flags.clone()).collect()
    }
}

struct Report {
    code: i32,
    page: Value,
}

impl Report {
    fn of(ran: &Ran) -> Self {
        let page: Value = serde_json::from_str(&ran.out).unwrap_or_else(|_| panic!("{ran:?}"));
        let report = Self { code: ran.code, page };
        assert_eq!(report.code, i32::from(report.page["ok"] != true), "{}", report.page);
        report
    }

    /// A finding: it always says what was expected, and what to do when that is not what is.
    fn finding(&self, check: &str) -> &Value {
        let all = self.page["checks"].as_array().unwrap();
        let found = all.iter().find(|finding| finding["check"] == check);
        let found = found.unwrap_or_else(|| panic!("no {check} in {all:?}"));
        assert!(!found["expected"].as_str().unwrap().is_empty());
        assert_eq!(found["to_do"].is_null(), found["verdict"] == "ok", "{found}");
        found
    }

    #[track_caller]
    fn says(&self, check: &str, verdict: &str, found: &str) {
        let finding = self.finding(check);
        assert_eq!(finding["verdict"], verdict, "{finding}");
        assert!(finding["found"].as_str().unwrap().contains(found), "{finding}");
    }

    #[track_caller]
    fn advises(&self, check: &str, advice: &str) {
        let finding = self.finding(check);
        assert!(finding["to_do"].as_str().unwrap().contains(advice), "{finding}");
    }
}

fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.2:0").unwrap().local_addr().unwrap()
}

#[test]
fn nothing_is_bad_where_a_gateway_can_run_and_nothing_is_made() {
    let patient = Patient::healthy();
    let report = patient.examined();
    assert_eq!(report.code, 0, "{}", report.page);
    report.says("driver", "ok", "`ready`, over epoll; `uring` is not in this build");
    report.says("io_uring", "ok", "the kernel");
    report.says("store", "ok", "a start makes it");
    report.says("listen", "ok", "is free");
    for check in ["kernel", "processors", "memory", "clock", "user", "open files", "backlog"] {
        assert_ne!(report.finding(check)["verdict"], "bad");
    }
    assert_eq!(fs::read_dir(patient.dir.path()).unwrap().count(), 0);
}

#[test]
fn people_get_the_same_as_text() {
    let patient = Patient::healthy().with("--listen", "192.0.2.1:80");
    let ran = gate(patient.words().into_iter().filter(|word| word != "--json"));
    assert_eq!(ran.code, 1, "{ran:?}");
    assert_eq!(ran.err, "");
    assert!(ran.out.contains("\nok    driver"), "{}", ran.out);
    let bad = ran.out.lines().skip_while(|line| !line.starts_with("bad   listen"));
    let bad: Vec<_> = bad.take(3).collect();
    assert!(bad[0].contains("192.0.2.1:80"), "{bad:?}");
    assert!(bad[1].trim().starts_with("expected: an address of this machine"), "{bad:?}");
    assert!(bad[2].trim().starts_with("to do:    give another address"), "{bad:?}");
    assert!(ran.out.lines().last().unwrap().ends_with("1 bad"), "{}", ran.out);
}

#[test]
fn the_environment_decides_about_the_driver() {
    let asked = |driver| {
        let mut run = Command::new(env!("CARGO_BIN_EXE_thence-gate"));
        let ran = run.args(Patient::healthy().words()).env("THENCE_DRIVER", driver).output();
        let ran = ran.unwrap();
        Report::of(&Ran {
            code: ran.status.code().unwrap(),
            out: String::from_utf8(ran.stdout).unwrap(),
            err: String::new(),
        })
    };
    asked("ready").says("driver", "ok", "THENCE_DRIVER asks for `ready`");
    let report = asked("uring");
    report.says("driver", "bad", "none; THENCE_DRIVER asks for `uring`");
    report.advises("driver", "unset THENCE_DRIVER");
}

#[test]
fn few_descriptors_are_told_in_clients() {
    let bounded = |files: u32| {
        let words = Patient::healthy().words();
        let run = format!("ulimit -n {files}; exec \"$0\" \"$@\"");
        let program = env!("CARGO_BIN_EXE_thence-gate");
        let ran = Command::new("sh").args(["-c", &run, program]).args(words).output().unwrap();
        Report::of(&Ran {
            code: ran.status.code().unwrap(),
            out: String::from_utf8(ran.stdout).unwrap(),
            err: String::new(),
        })
    };
    let few = bounded(4096);
    few.says("open files", "note", "hard 4096: 3008 clients");
    few.advises("open files", "LimitNOFILE=11088");
    bounded(100).says("open files", "bad", "18 clients");
}

#[test]
fn a_store_is_described() {
    let patient = Patient::healthy();
    let store = patient.store();
    let at = ["--store", store.to_str().unwrap()];
    for account in ["42", "42", "43"] {
        assert_eq!(gate(["session", "create", account].iter().chain(&at)).code, 0);
    }
    assert_eq!(gate(["session", "revoke", "--account", "43"].iter().chain(&at)).code, 0);
    patient.examined().says("store", "ok", "3 sessions, 2 in force, the oldest made 0s ago");
}

#[test]
fn a_store_that_a_gateway_could_not_use_is_bad() {
    let patient = Patient::healthy();
    fs::write(patient.store(), [b'x'; 5000]).unwrap();
    let report = patient.examined();
    report.says("store", "bad", "not a database");
    report.advises("store", "--store");

    let report = Patient::healthy().with("--store", "/no/such/folder/sessions.db").examined();
    report.says("store", "bad", "cannot be made in /no/such/folder");

    let patient = Patient::healthy();
    let store = patient.store();
    gate(["session", "create", "42", "--store", store.to_str().unwrap()]);
    fs::remove_file(patient.dir.path().join("sessions.db.key")).unwrap();
    patient.examined().says("store", "bad", "is missing");
}

#[test]
fn a_port_of_another_program_is_bad() {
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = other.local_addr().unwrap();
    let report = Patient::healthy().with("--listen", taken).examined();
    report.says("listen", "bad", "another program does");
    report.advises("listen", "ss -ltnp");
}

#[test]
fn a_gateway_that_runs_already_has_its_ports() {
    let upstream = Upstream::answering("HTTP/1.1 204 No Content\r\n\r\n");
    let gate = Gate::before(upstream.address, &[]);
    let patient = Patient::healthy()
        .with("--listen", gate.address)
        .with("--metrics", gate.admin)
        .with("--store", gate.store().display())
        .with("--to", upstream.address);
    let report = patient.examined();
    assert_eq!(report.code, 0, "{}", report.page);
    report.says("listen", "ok", "a gateway runs, ready");
    report.says("metrics", "ok", "a gateway runs, ready");
    report.says("upstream", "ok", "answers 204 to HEAD /");
    report.says("store", "ok", "0 sessions");
}

#[test]
fn an_upstream_that_does_not_answer_is_bad_and_how_is_said() {
    let asked = |to: SocketAddr| Patient::healthy().with("--to", to).examined();
    let report = asked(free());
    report.says("upstream", "bad", "refused");
    report.advises("upstream", "start the application");

    let other = Upstream::start(|stream, _| {
        stream.write_all(b"SSH-2.0-x\r\n").unwrap();
        false
    });
    asked(other.address).says("upstream", "bad", "does not speak HTTP/1");

    let closing = Upstream::start(|_, _| false);
    asked(closing.address).says("upstream", "bad", "closes the connection");

    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    asked(silent.local_addr().unwrap()).says("upstream", "bad", "does not answer");

    let address = free();
    let own = TcpListener::bind(address).unwrap();
    let report = Patient::healthy().with("--to", address).with("--listen", address).examined();
    report.says("upstream", "bad", "the gateway's own address");
    drop(own);
}

#[test]
fn a_gateway_raises_its_own_soft_bound() {
    let program = env!("CARGO_BIN_EXE_thence-gate");
    let patient = Patient::healthy();
    let mut child = Command::new("sh")
        .args(["-c", "ulimit -Sn 256; exec \"$0\" \"$@\"", program])
        .args(&patient.flags)
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    // The demo greets once it listens.
    let mut line = String::new();
    let mut out = std::io::BufReader::new(child.stdout.take().unwrap());
    std::io::BufRead::read_line(&mut out, &mut line).unwrap();
    let limits = fs::read_to_string(format!("/proc/{}/limits", child.id())).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    let files = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    let mut bounds = files["Max open files".len()..].split_ascii_whitespace();
    let (soft, hard) = (bounds.next().unwrap(), bounds.next().unwrap());
    let hard: u64 = hard.parse().unwrap_or(u64::MAX);
    assert_eq!(soft.parse::<u64>().unwrap(), hard.min(11_088), "{files}");
}
