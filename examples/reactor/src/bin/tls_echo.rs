//! Sends back what comes over TLS, and shows a new certificate after a SIGHUP. Try it with
//! `openssl s_client -connect 127.0.0.1:7009 -CAfile ca.pem`.

use std::{env, process, time::Duration};

use bytes::Bytes;
use thence::net::tls::{Certificates, TlsServer};
use thence::net::{Protocol, TcpListener, Transport, drive};
use thence::prelude::*;
use thence::{Signal, signal};

fn main() -> Result<(), Failure> {
    let args: Vec<String> = env::args().skip(1).collect();
    let [chain, key, addr @ ..] = &args[..] else {
        eprintln!("usage: tls_echo CHAIN.pem KEY.pem [ADDRESS]");
        process::exit(2);
    };
    let certificates = Certificates::from_files(chain, key)?;
    let addr = addr.first().map_or("127.0.0.1:7009", String::as_str).to_owned();
    run(async move {
        let listener = TcpListener::bind(addr)?;
        reload(certificates.clone()).report();
        println!("listening at {}", listener.local_addr());
        let server = TlsServer::new(&certificates);
        loop {
            let (stream, from) = listener.accept().await?;
            let shaking = server.accept(stream).timeout(Duration::from_secs(10));
            shaking
                .and_then(|stream| drive(stream, Echo))
                .map_err(move |failure| failure.context(format!("with {from}")))
                .report();
        }
    })
    .or_else(|failure| if failure.is::<thence::Drained>() { Ok(()) } else { Err(failure) })
}

fn reload(certificates: Certificates) -> Deferred<()> {
    flow(async move {
        loop {
            signal(Signal::Hangup).await;
            let files = certificates.clone();
            match offload(move || Ok(files.reload()?)).await {
                Ok(()) => println!("new certificate"),
                Err(failure) => println!("the old certificate stays: {failure:#}"),
            }
        }
    })
}

struct Echo;

impl Protocol for Echo {
    fn received(&mut self, transport: &Transport, bytes: Bytes) {
        transport.send(bytes);
    }
}
