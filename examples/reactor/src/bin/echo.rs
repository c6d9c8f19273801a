//! Sends back what comes, in both styles: `echo protocol` and `echo reads`. Try it with `nc`.

use std::{env, process};

use bytes::Bytes;
use thence::net::{Protocol, TcpListener, TcpStream, Transport};
use thence::prelude::*;

fn main() -> Result<(), Failure> {
    let mut args = env::args().skip(1);
    let style = args.next().unwrap_or_default();
    let addr = args.next().unwrap_or_else(|| "127.0.0.1:7007".into());
    if !["protocol", "reads"].contains(&style.as_str()) {
        eprintln!("usage: echo protocol|reads [ADDRESS]");
        process::exit(2);
    }
    run(async move {
        let listener = TcpListener::bind(addr)?;
        println!("listening at {}", listener.local_addr());
        let serving = match style.as_str() {
            "protocol" => listener.serve(|_from| Echo),
            _ => serve(listener),
        };
        serving.await // ends when somebody presses Ctrl-C
    })
    .or_else(|failure| if failure.is::<thence::Drained>() { Ok(()) } else { Err(failure) })
}

/// The style of callbacks: this is called for what comes.
struct Echo;

impl Protocol for Echo {
    fn received(&mut self, transport: &Transport, bytes: Bytes) {
        transport.send(bytes);
    }
}

/// The style of Deferreds: this asks for what comes.
fn serve(listener: TcpListener) -> Deferred<()> {
    Scope::run(|scope| async move {
        loop {
            let (stream, _from) = listener.accept().await?;
            scope.add(echo(stream)); // asked to end when no more are accepted
        }
    })
}

fn echo(stream: TcpStream) -> Deferred<()> {
    flow(async move {
        loop {
            let bytes = stream.read(64 * 1024).await?;
            if bytes.is_empty() {
                return Ok(());
            }
            stream.write(bytes).await?;
        }
    })
}
