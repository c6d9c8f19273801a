//! What a group is asked for.

use std::process::ExitCode;

use measure::cpu;

use super::Server;

/// What the command line asks for, besides serving.
#[derive(Clone, Copy, Debug)]
pub enum Asked {
    /// The table, from so many sessions.
    Table(usize),
    /// Nothing more: this process ends with this code.
    Over(ExitCode),
}

/// Reads the command line, and serves if that is what it asks for.
pub fn command_line(group: &str, sessions: usize, servers: &[Server]) -> Asked {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        [] => return Asked::Table(sessions),
        ["--sessions", sessions] => match sessions.parse() {
            Ok(sessions) if sessions > 0 => return Asked::Table(sessions),
            _ => {}
        },
        ["serve", name] => {
            let server = servers.iter().find(|server| server.name == name && server.is_here());
            if let Some(server) = server {
                return Asked::Over(match cpu::pin(0).and_then(|()| server.serve()) {
                    Ok(()) => ExitCode::SUCCESS,
                    Err(error) => {
                        eprintln!("{group}: serve {name}: {error}");
                        ExitCode::FAILURE
                    }
                });
            }
        }
        _ => {}
    }
    eprintln!("usage: {group} [--sessions N] | {group} serve NAME, NAME being one of");
    for server in servers.iter().filter(|server| server.is_here()) {
        eprintln!("  {:16}{}", server.name, server.what);
    }
    Asked::Over(ExitCode::from(2))
}
