//! A gateway at a fixed 2,000 requests a second: thence-gate, nginx with a service that it asks for
//! every request, HAProxy.
//!
//! ```text
//! cargo run --release -p gateway                       the table
//! cargo run --release -p gateway -- --rounds N         the table, from N rounds
//! cargo run --release -p gateway -- auth HOW PORT STORE    the service alone: for a profiler
//! cargo run --release -p gateway -- load PORT STORE        load on what listens there already
//! cargo run --release -p gateway -- upstream PORT          the application alone
//! ```

mod auth;
mod figures;
mod head;
mod load;
mod processes;
mod sessions;
mod stack;
mod upstream;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match run(&words) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => usage(),
        Err(error) => {
            eprintln!("gateway: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Whether the words meant something.
fn run(words: &[&str]) -> io::Result<bool> {
    match *words {
        [] => figures::table(figures::ROUNDS)?,
        ["--rounds", rounds] => match rounds.parse() {
            Ok(rounds) if rounds > 0 => figures::table(rounds)?,
            _ => return Ok(false),
        },
        ["auth", how, port, store] => match (how.parse(), address(port)) {
            (Ok(how), Some(address)) => auth::serve(how, address, Path::new(store))?,
            _ => return Ok(false),
        },
        ["load", port, store] => match address(port) {
            Some(address) => figures::load(address, Path::new(store))?,
            None => return Ok(false),
        },
        ["upstream", port] => match address(port) {
            Some(address) => upstream::serve(std::net::TcpListener::bind(address)?)?,
            None => return Ok(false),
        },
        _ => return Ok(false),
    }
    Ok(true)
}

fn address(port: &str) -> Option<SocketAddr> {
    Some(SocketAddr::from((Ipv4Addr::LOCALHOST, port.parse().ok()?)))
}

fn usage() -> ExitCode {
    eprintln!(
        "usage: gateway [--rounds N] | gateway auth pool|inline PORT STORE | gateway load PORT \
         STORE | gateway upstream PORT"
    );
    ExitCode::from(2)
}
