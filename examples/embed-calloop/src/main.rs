//! calloop's timer ticks, and Deferreds serve an echo on the same thread: `embed-calloop [SECONDS]`.

use std::{env, error::Error, thread, time::Duration};

use calloop::{
    EventLoop, LoopSignal,
    timer::{TimeoutAction, Timer},
};
use embed_calloop::Embedded;
use thence::Reactor;
use thence::net::{TcpListener, TcpStream};
use thence::prelude::*;

/// What the callbacks of calloop share.
struct App {
    ticks: u32,
    signal: LoopSignal,
}

fn main() -> Result<(), Box<dyn Error>> {
    let seconds = env::args().nth(1).map_or(Ok(1), |seconds| seconds.parse())?;
    let mut event_loop = EventLoop::<App>::try_new()?;
    let reactor = Reactor::builder().build()?;
    let handle = reactor.handle();
    let embedded = Embedded::new(reactor, event_loop.handle())?;

    event_loop.handle().insert_source(Timer::immediate(), move |_, _, app| {
        println!("calloop: tick {}", app.ticks);
        app.ticks += 1;
        if app.ticks > seconds {
            app.signal.stop();
        }
        TimeoutAction::ToDuration(Duration::from_secs(1))
    })?;

    echo().report();
    thread::spawn(move || handle.call(|| println!("thence: called from another thread")));

    let mut app = App { ticks: 0, signal: event_loop.get_signal() };
    event_loop.run(None, &mut app, |_| embedded.before_sleep().expect("the timer is there"))?;
    Ok(())
}

/// A server and a client, twice a second.
fn echo() -> Deferred<()> {
    flow(async {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let addr = listener.local_addr();
        flow::<()>(async move {
            loop {
                let (stream, _from) = listener.accept().await?;
                stream.write(stream.read(100).await?).await?;
            }
        })
        .report();
        for n in 0.. {
            let stream = TcpStream::connect(addr).await?;
            stream.write(offload(move || Ok(format!("{n} squared is {}", n * n))).await?).await?;
            println!("thence: {}", String::from_utf8_lossy(&stream.read(100).await?));
            after(Duration::from_millis(500)).await;
        }
        Ok(())
    })
}
