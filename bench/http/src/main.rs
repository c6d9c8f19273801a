//! HTTP hello, 64 connections that stay, at depths 1 and 16: raw epoll, may_minihttp, hyper and
//! axum on tokio, nginx, hyper on thence, thence-http.
//!
//! ```text
//! cargo run --release -p http-hello                 the tables
//! cargo run --release -p http-hello -- serve NAME   one server, until its input ends: for a profiler
//! ```

mod figures;
mod load;
mod peer;
mod server;

use std::io;
use std::process::ExitCode;

use measure::cpu;

use crate::server::SERVERS;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match words[..] {
        [] => figures::tables(4),
        ["--sessions", sessions] => match sessions.parse() {
            Ok(sessions) if sessions > 0 => figures::tables(sessions),
            _ => return usage(),
        },
        ["serve", name] => match SERVERS.iter().find(|server| server.name == name) {
            Some(server) => on_core_0().and_then(|()| server.serve()),
            None => return usage(),
        },
        _ => return usage(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("http-hello: {error}");
            ExitCode::FAILURE
        }
    }
}

fn on_core_0() -> io::Result<()> {
    cpu::pin(0).map_err(|error| io::Error::other(format!("a server needs core 0: {error}")))
}

fn usage() -> ExitCode {
    eprintln!("usage: http-hello [--sessions N] | http-hello serve NAME, NAME being one of");
    for server in SERVERS {
        eprintln!("  {:16}{}", server.name, server.what);
    }
    ExitCode::from(2)
}
