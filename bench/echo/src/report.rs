//! What is printed.

use std::io;

use measure::gate::Gates;
use measure::sample::Sample;
use measure::table::{Table, figure};
use measure::{callgrind, machine};

use crate::figures::{self, ROUNDS, Row};
use crate::server::{RAW, Role, SERVERS, TOKIO};
use crate::shape::Shape;

/// Measures the servers in these shapes, and prints a table and the goals for each.
///
/// # Errors
///
/// The machine has no second core, or a server failed or answered wrongly.
pub fn print(shapes: &[Shape], sessions: usize) -> io::Result<()> {
    let packages = ["tokio", "monoio", "smol"];
    print!("{}", machine::describe(include_str!("../../Cargo.lock"), &packages));
    let (programs, left_out) = figures::programs();
    for (_, program) in &programs {
        if let Some(version) = &program.version {
            print!(", {version}");
        }
    }
    println!();
    for why in &left_out {
        println!("{why}");
    }
    if !left_out.is_empty() {
        println!("`sudo scripts/setup --bench` installs what is missing.");
    }
    if !callgrind::installed() {
        println!("valgrind is not installed: no instructions are counted");
    }
    figures::open_many_files()?;
    for &shape in shapes {
        let rows = figures::measure(shape, &programs, sessions)?;
        println!("\n{}; {} rounds\n\n{}", shape.what, sessions * ROUNDS, table(shape, &rows));
        print!("{}", goals(shape, &rows));
    }
    println!("\nRatios are to '{}', of the same round.", SERVERS[RAW].what);
    Ok(())
}

fn table(shape: Shape, rows: &[Row]) -> Table {
    let speed = if shape.is_ping_pong() { "p50 us" } else { "messages/s" };
    let mut table = Table::new(&[
        "server",
        "CPU us/message",
        "ratio",
        "instructions",
        "ratio",
        speed,
        "ratio",
        "busy",
    ]);
    let count = |row: &Row| row.instructions.unwrap_or(f64::NAN);
    for row in rows {
        table.row(vec![
            row.server.what.to_owned(),
            figure(row.micros.median()),
            row.micros.over(&rows[RAW].micros).ratio(),
            figure(count(row)),
            figure(count(row) / count(&rows[RAW])),
            figure(speed_of(shape, row).median()),
            speed_of(shape, row).over(speed_of(shape, &rows[RAW])).ratio(),
            format!("{:.0} %", row.busy.median() * 100.0),
        ]);
    }
    table
}

fn speed_of(shape: Shape, row: &Row) -> &Sample {
    if shape.is_ping_pong() { &row.p50 } else { &row.rate }
}

fn goals(shape: Shape, rows: &[Row]) -> Gates {
    let mut goals = Gates::new();
    for row in rows {
        let what = row.server.what;
        let to_tokio = row.p50.over(&rows[TOKIO].p50);
        match row.server.role {
            Role::Peer => {}
            Role::Spinning => goals.ratio(&format!("{what}: p50, to tokio's"), 0.5, &to_tokio),
            Role::Ours { instructions } => {
                // 1.02 is the aim, and 1.10 what can be told from noise.
                let to_raw = row.micros.over(&rows[RAW].micros);
                goals.ratio(&format!("{what}: CPU, to raw epoll"), 1.1, &to_raw);
                let cpu = row.micros.over(&rows[TOKIO].micros);
                goals.ratio(&format!("{what}: CPU, to tokio"), 1.0, &cpu);
                if shape.name == Shape::BASE.name {
                    let what = format!("{what}: instructions a message");
                    goals.count(&what, instructions, row.instructions);
                }
                if shape.is_ping_pong() {
                    goals.ratio(&format!("{what}: p50, to tokio's"), 1.0, &to_tokio);
                }
            }
        }
    }
    goals
}
