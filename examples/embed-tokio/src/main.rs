//! A tokio task and a Deferred talk to each other on one thread: `embed-tokio [SECONDS]`.

use std::{env, error::Error, time::Duration};

use embed_tokio::drive;
use thence::Reactor;
use thence::net::TcpListener;
use thence::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let seconds = env::args().nth(1).map_or(Ok(1), |seconds| seconds.parse())?;
    let mut reactor = Reactor::builder().build()?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let addr = listener.local_addr();

    // thence's half: a server of Deferreds.
    flow::<()>(async move {
        loop {
            let (stream, _from) = listener.accept().await?;
            let n: u64 = String::from_utf8(stream.read(100).await?.to_vec())?.parse()?;
            let square = offload(move || Ok(n * n)).await?;
            after(Duration::from_millis(100)).await;
            stream.write(format!("{n} squared is {square}")).await?;
        }
    })
    .report();

    // tokio's half: a client that is a task.
    tokio::spawn(async move {
        for n in 0_u64.. {
            let mut stream = tokio::net::TcpStream::connect(addr).await?;
            stream.write_all(n.to_string().as_bytes()).await?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await?;
            println!("{answer}");
        }
        Ok::<(), std::io::Error>(())
    });

    drive(&mut reactor, tokio::time::sleep(Duration::from_secs(seconds))).await?;
    Ok(())
}
