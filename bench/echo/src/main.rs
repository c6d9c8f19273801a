//! TCP echo in five shapes: raw epoll, what else there is, thence.
//!
//! ```text
//! cargo run --release -p echo                          all tables
//! cargo run --release -p echo -- --shape NAME          one of them
//! cargo run --release -p echo -- --sessions N          with fresh processes so many times
//! cargo run --release -p echo -- serve NAME [SHAPE]    one server, for a profiler
//! ```

mod connection;
mod figures;
mod load;
mod peer;
mod report;
mod server;
mod shape;

use std::process::ExitCode;

use crate::server::{SERVERS, Server};
use crate::shape::{SHAPES, Shape};

/// As many as each figure needs for its spread, with the rounds that each has.
const SESSIONS: usize = 3;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let Some(order) = Order::parse(&words) else {
        return usage();
    };
    let done = match order {
        Order::Measure { shapes, sessions } => report::print(&shapes, sessions),
        Order::Serve(server, shape) => server.serve(shape),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("echo: {error}");
            ExitCode::FAILURE
        }
    }
}

/// What the command line asks for.
enum Order {
    Measure { shapes: Vec<Shape>, sessions: usize },
    Serve(Server, Shape),
}

impl Order {
    fn parse(mut words: &[&str]) -> Option<Self> {
        if let ["serve", name, shape @ ..] = words {
            let server = SERVERS.into_iter().find(|server| server.name == *name)?;
            return match shape {
                [] => Some(Self::Serve(server, Shape::BASE)),
                [shape] => Some(Self::Serve(server, Shape::find(shape)?)),
                _ => None,
            };
        }
        let (mut shapes, mut sessions) = (SHAPES.to_vec(), SESSIONS);
        loop {
            words = match words {
                [] => return Some(Self::Measure { shapes, sessions }),
                ["--shape", name, rest @ ..] => {
                    shapes = vec![Shape::find(name)?];
                    rest
                }
                ["--sessions", number, rest @ ..] => {
                    sessions = number.parse().ok().filter(|&number| number > 0)?;
                    rest
                }
                _ => return None,
            };
        }
    }
}

fn usage() -> ExitCode {
    eprintln!("usage: echo [--shape SHAPE] [--sessions N] | echo serve NAME [SHAPE]");
    eprintln!("\nSHAPE is one of");
    for shape in SHAPES {
        eprintln!("  {:16}{}", shape.name, shape.what);
    }
    eprintln!("\nNAME is one of");
    for server in SERVERS {
        eprintln!("  {:16}{}", server.name, server.what);
    }
    ExitCode::from(2)
}
