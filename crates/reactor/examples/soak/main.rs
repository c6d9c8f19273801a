//! A soak: a server on the `ready` driver, and 10,000 clients of which few behave.
//!
//! ```sh
//! scripts/soak 600
//! ```
//!
//! The server is a process of its own, and so is the load, which ends by itself. Every body is
//! checked at both ends. When the load is over, the server must hold what it held before it: no
//! descriptor, source, operation, timer, flow or step more.

mod load;
mod process;
mod server;
mod wire;

use std::{
    env,
    error::Error,
    io::{BufRead, BufReader, Write},
    net::{SocketAddr, TcpStream},
    process::{Child, Command, ExitCode, Stdio},
    thread,
};

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let ended = match words[..] {
        ["server", seconds] => server::run(number(seconds)),
        ["load", seconds, clients, ref addrs @ ..] => {
            load::run(number(seconds), number(clients) as usize, addrs)
        }
        [] => soak(600, 10_000),
        [seconds] => soak(number(seconds), 10_000),
        [seconds, clients] => soak(number(seconds), number(clients) as usize),
        _ => Err("say how many seconds, and with how many clients".into()),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("soak: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Starts both, and tells the server when the load is over.
fn soak(seconds: u64, clients: usize) -> Result<(), Box<dyn Error>> {
    let mut server = Running(
        Command::new(env::current_exe()?)
            .args(["server", &seconds.to_string()])
            .stdout(Stdio::piped())
            .spawn()?,
    );
    let mut lines = BufReader::new(server.0.stdout.take().expect("it is piped")).lines();
    let addrs = lines.next().ok_or("the server ended at once")??;
    let printed = thread::spawn(move || {
        for line in lines.map_while(Result::ok) {
            println!("server: {line}");
        }
    });
    let mut load = Running(
        Command::new(env::current_exe()?)
            .args(["load", &seconds.to_string(), &clients.to_string()])
            .args(addrs.split(' '))
            .spawn()?,
    );
    let loaded = load.0.wait()?;
    let first: SocketAddr = addrs.split(' ').next().unwrap_or_default().parse()?;
    TcpStream::connect(first)?.write_all(&wire::over())?;
    let served = server.0.wait()?;
    drop(printed.join());
    if !loaded.success() {
        return Err("the load saw something wrong".into());
    }
    if !served.success() {
        return Err("the server did not end as it began".into());
    }
    println!("soak: ok");
    Ok(())
}

/// Does not outlive its parent's interest.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It has ended already, in all but error paths.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn number(word: &str) -> u64 {
    word.parse().unwrap_or_else(|_| panic!("`{word}` is no number"))
}
