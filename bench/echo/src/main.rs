//! TCP echo, 50 connections and 64 bytes a message: raw epoll, tokio, thence.
//!
//! ```text
//! cargo run --release -p echo                   the table
//! cargo run --release -p echo -- serve NAME     one server, for 50 connections: for a profiler
//! ```

mod figures;
mod load;
mod peer;
mod server;

use std::io;
use std::process::ExitCode;

use measure::cpu;

use crate::peer::CONNECTIONS;
use crate::server::SERVERS;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match words[..] {
        [] => figures::table(5),
        ["--sessions", sessions] => match sessions.parse() {
            Ok(sessions) if sessions > 0 => figures::table(sessions),
            _ => return usage(),
        },
        ["serve", name] => match SERVERS.iter().find(|server| server.name == name) {
            Some(server) => on_core_0().and_then(|()| server.serve(CONNECTIONS as usize)),
            None => return usage(),
        },
        _ => return usage(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("echo: {error}");
            ExitCode::FAILURE
        }
    }
}

fn on_core_0() -> io::Result<()> {
    cpu::pin(0).map_err(|error| io::Error::other(format!("a server needs core 0: {error}")))
}

fn usage() -> ExitCode {
    eprintln!("usage: echo [--sessions N] | echo serve NAME, NAME being one of");
    for server in SERVERS {
        eprintln!("  {:16}{}", server.name, server.what);
    }
    ExitCode::from(2)
}
