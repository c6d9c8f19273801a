//! Running one of the deck's programs, and no longer than it may take.

use std::fmt::{Debug, Display};
use std::io::Read;
use std::process::{Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

pub struct Ran {
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
}

pub fn run(program: &str) -> Ran {
    let mut child = Command::new(program)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // What they print does not depend on who runs them.
        .env_remove("RUST_BACKTRACE")
        .env_remove("RUST_LIB_BACKTRACE")
        .spawn()
        .unwrap_or_else(|error| panic!("{program}: {error}"));
    let stdout = child.stdout.take().map(read_all);
    let stderr = child.stderr.take().map(read_all);

    let deadline = Instant::now() + Duration::from_secs(60);
    let status = loop {
        match child.try_wait().expect("the child is ours to wait for") {
            Some(status) => break status,
            // std waits for a child with a bound in no other way.
            None if Instant::now() < deadline => thread::sleep(Duration::from_millis(5)),
            None => {
                child.kill().expect("the child is ours to kill");
                break child.wait().expect("the child is ours to wait for");
            }
        }
    };
    let text = |reader: Option<thread::JoinHandle<String>>| {
        reader.map(|reader| reader.join().expect("reading does not panic")).unwrap_or_default()
    };
    Ran { status, stdout: text(stdout), stderr: text(stderr) }
}

impl Ran {
    #[track_caller]
    pub fn prints<L: AsRef<str> + Debug + Display>(&self, lines: &[L]) {
        assert!(self.status.success(), "{}\n{}", self.status, self.stderr);
        let printed: Vec<&str> = self.stdout.lines().collect();
        let expected: Vec<&str> = lines.iter().map(AsRef::as_ref).collect();
        assert_eq!(printed, expected, "stderr:\n{}", self.stderr);
    }
}

/// The number of the one line of `source` that holds `text`.
pub fn line_of(source: &str, text: &str) -> usize {
    let mut lines = source.lines().enumerate().filter(|(_, line)| line.contains(text));
    let (line, _) = lines.next().unwrap_or_else(|| panic!("no line holds {text}"));
    assert!(lines.next().is_none(), "more than one line holds {text}");
    line + 1
}

fn read_all(mut pipe: impl Read + Send + 'static) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let mut text = String::new();
        pipe.read_to_string(&mut text).expect("the programs print text");
        text
    })
}
