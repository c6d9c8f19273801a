//! Signals as a program sees them, and on a real process.

use std::{
    env,
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
};

use thence_core::{Failure, flow};
use thence_reactor::{Drained, Signal, Why, after, draining, net::TcpListener, run, signal};

use crate::common::{ANY, World, ms, watch};

#[test]
fn everybody_who_waits_is_told() {
    let mut world = World::new();
    let waiting = [watch(signal(Signal::Hangup)), watch(signal(Signal::Hangup))];
    let other = watch(signal(Signal::User1));
    world.settle();
    world.manual.raise(Signal::Hangup.number());
    world.settle();
    waiting.iter().for_each(|waiting| waiting.ok());
    assert!(!other.has_ended());
}

#[test]
fn one_that_comes_between_two_waits_is_kept() {
    let mut world = World::new();
    drop(signal(Signal::Hangup));
    world.settle();
    for _ in 0..3 {
        world.manual.raise(Signal::Hangup.number());
    }
    world.settle();
    let waiting = watch(signal(Signal::Hangup));
    world.settle();
    waiting.ok();
    let next = watch(signal(Signal::Hangup));
    world.settle();
    assert!(!next.has_ended(), "many count as one");
}

#[test]
fn a_wait_that_quits_leaves_the_signal_to_the_next() {
    for cancels in [false, true] {
        for turns in 0..3 {
            let mut world = World::new();
            let first = signal(Signal::User2);
            world.settle();
            world.manual.raise(Signal::User2.number());
            for _ in 0..turns {
                world.reactor.turn(Some(ms(0))).unwrap();
            }
            if cancels {
                first.cancel();
            }
            drop(first);
            let next = watch(signal(Signal::User2));
            world.settle();
            next.ok();
        }
    }
}

#[test]
fn a_drain_ends_whoever_waits() {
    let mut world = World::new();
    let begun = world.manual.now();
    world
        .reactor
        .run(async {
            flow::<()>(async {
                loop {
                    signal(Signal::Hangup).await;
                }
            })
            .report();
            Ok(())
        })
        .unwrap();
    assert_eq!(world.manual.now(), begun);
}

/// What the tests below run as a process of its own: this very file, told by the environment.
#[test]
fn program() {
    let Ok(program) = env::var("THENCE_TEST_PROGRAM") else { return };
    let ended: Result<(), Failure> = match program.as_str() {
        "waits for its end" => run(async {
            println!("ready");
            draining().await;
            after(ms(1)).await;
            Ok(())
        }),
        "accepts for ever" => run(async {
            let listener = TcpListener::bind(ANY)?;
            println!("ready");
            loop {
                listener.accept().await?;
            }
        }),
        "does not come to an end" => run(async {
            println!("ready");
            draining().await;
            println!("draining");
            after(ms(600_000)).await;
            Ok(())
        }),
        "reads its configuration again" => run(async {
            let again = signal(Signal::Hangup);
            println!("ready");
            again.await;
            println!("again");
            Ok(())
        }),
        "names a driver" => run(async { Ok(()) }),
        "is after its reactor" => {
            run(async { Ok(()) }).unwrap();
            println!("ready");
            loop {
                std::thread::park();
            }
        }
        other => panic!("no program {other}"),
    };
    let code = match ended {
        Ok(()) => 0,
        Err(failure) => {
            println!("{failure}");
            match failure.downcast_ref::<Drained>() {
                Some(drained) => {
                    assert_eq!(drained.why, Why::Signal(Signal::Terminate));
                    3
                }
                None => 4,
            }
        }
    };
    std::process::exit(code);
}

struct Program {
    child: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

impl Program {
    fn start(name: &str) -> Self {
        let mut child = Command::new(env::current_exe().unwrap())
            .args(["--exact", "signals::program", "--nocapture"])
            .env("THENCE_TEST_PROGRAM", name)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut program = Program { child, lines };
        program.until("ready");
        program
    }

    /// Reads on to the line that has `text`.
    fn until(&mut self, text: &str) -> String {
        loop {
            let line = self.lines.next().expect("the program ended before").unwrap();
            if line.contains(text) {
                return line;
            }
        }
    }

    fn signal(&self, name: &str) {
        let kill = format!("kill -s {name} {}", self.child.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    }

    fn code(mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }
}

#[test]
fn a_real_signal_lets_a_program_end_well() {
    for name in ["TERM", "INT"] {
        let program = Program::start("waits for its end");
        program.signal(name);
        assert_eq!(program.code(), Some(0));
    }
}

#[test]
fn a_main_that_is_stopped_says_by_what() {
    let mut program = Program::start("accepts for ever");
    program.signal("TERM");
    assert!(program.until("stopped").contains("SIGTERM"));
    assert_eq!(program.code(), Some(3));
}

#[test]
fn a_second_real_signal_ends_at_once() {
    let mut program = Program::start("does not come to an end");
    program.signal("TERM");
    program.until("draining");
    program.signal("INT");
    assert!(program.until("cut the drain").contains("1 flow"));
    assert_eq!(program.code(), Some(4));
}

#[test]
fn the_environment_names_the_driver_or_hears_what_there_is() {
    for (name, code) in [("ready", 0), ("auto", 0), ("fast", 4)] {
        let ended = Command::new(env::current_exe().unwrap())
            .args(["--exact", "signals::program", "--nocapture"])
            .env("THENCE_TEST_PROGRAM", "names a driver")
            .env("THENCE_DRIVER", name)
            .output()
            .unwrap();
        assert_eq!(ended.status.code(), Some(code));
        let text = String::from_utf8(ended.stdout).unwrap();
        assert_eq!(text.contains("`auto` or `ready`"), code == 4, "{text}");
    }
}

#[test]
fn a_real_hangup_is_only_told() {
    let mut program = Program::start("reads its configuration again");
    program.signal("HUP");
    program.until("again");
    assert_eq!(program.code(), Some(0));
}

#[test]
fn after_the_last_reactor_a_signal_does_what_it_does_by_default() {
    let program = Program::start("is after its reactor");
    program.signal("TERM");
    assert_eq!(program.code(), None, "killed by the signal");
}
