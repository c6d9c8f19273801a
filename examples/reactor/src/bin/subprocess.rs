//! Runs a command, feeds it, and shows what it wrote; kills it when the time is up or on Ctrl-C:
//! `subprocess 5 'some text' wc -c`.

use std::{env, process, time::Duration};

use thence::draining;
use thence::prelude::*;
use thence::process::{Command, Stdio};

fn main() -> Result<(), Failure> {
    let args: Vec<String> = env::args().skip(1).collect();
    let [seconds, input, program, rest @ ..] = &args[..] else {
        usage();
    };
    let Ok(limit) = seconds.parse::<f64>().map(Duration::from_secs_f64) else { usage() };
    let (input, program, rest) = (input.clone(), program.clone(), rest.to_vec());
    run(async move {
        let mut command = Command::new(&program);
        command.args(rest).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn()?;
        if let Some(stdin) = child.stdin.take() {
            // It may well end without reading it all.
            stdin.write(input).recover(|_closed| ()).done(drop);
        }
        let output = child.wait_with_output();
        let canceller = output.canceller();
        draining().done(move |()| canceller.cancel());
        match output.timeout(limit).settled().await {
            Outcome::Ok(output) => {
                print!("{}", String::from_utf8_lossy(&output.stdout));
                eprint!("{}", String::from_utf8_lossy(&output.stderr));
                println!("{program}: {}", output.status);
            }
            Outcome::Err(failure) if failure.is::<Elapsed>() => {
                println!("{program}: killed, {failure}")
            }
            Outcome::Err(failure) => return Err(failure),
            Outcome::Stop(stop) => println!("{program}: {stop}"),
        }
        Ok(())
    })
}

fn usage() -> ! {
    eprintln!("usage: subprocess SECONDS INPUT PROGRAM [ARGUMENT..]");
    process::exit(2);
}
