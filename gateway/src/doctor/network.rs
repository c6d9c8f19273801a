//! The addresses to listen on, and the upstream.

use std::{
    io,
    net::{SocketAddr, TcpListener, TcpStream},
    time::{Duration, Instant},
};

use super::{Finding, Verdict};
use crate::{
    address::Upstream,
    args::Serve,
    limits::Limits,
    ports::{self, Taken},
    probe,
};

/// Whether the listeners' addresses can be had, or are had by a gateway already.
pub fn listeners(listen: (SocketAddr, Taken), admin: (SocketAddr, Taken)) -> [Finding; 2] {
    let running = running(admin.0);
    [listener("listen", listen, running), listener("metrics", admin, running)]
}

fn listener(
    check: &'static str,
    (address, taken): (SocketAddr, Taken),
    running: Option<u16>,
) -> Finding {
    let expected = "an address of this machine and a free port, or a gateway that runs there";
    // A port that is not taken is closed again right away.
    let error = match ports::take(address, taken, TcpListener::bind) {
        Ok((_, at)) if at == address => {
            return Finding::ok(check, format_args!("{address} is free"), expected);
        }
        Ok((_, at)) => {
            let found = format!("{address} is taken, {at} is free: the demo goes there");
            return Finding::ok(check, found, expected);
        }
        Err(trouble) => Finding::trouble(check, &trouble),
    };
    let is_taken =
        TcpListener::bind(address).is_err_and(|error| error.kind() == io::ErrorKind::AddrInUse);
    match running {
        Some(200) if is_taken => {
            Finding::ok(check, format_args!("{address} is taken; a gateway runs, ready"), expected)
        }
        Some(status) if is_taken => Finding::of(
            Verdict::Bad,
            check,
            format_args!("{address} is taken; a gateway runs, and its /readyz says {status}"),
            "200",
            "/readyz says why: it drains, or its store does not answer",
        ),
        _ => error,
    }
}

/// What `/readyz` says, if a gateway shows it there.
fn running(admin: SocketAddr) -> Option<u16> {
    let ask = |path: &str| {
        let stream = TcpStream::connect_timeout(&admin, PATIENCE).ok()?;
        let head = format!("GET {path} HTTP/1.1\r\nHost: {admin}\r\nConnection: close\r\n\r\n");
        probe::status(stream, &head, PATIENCE).ok()
    };
    (ask("/livez")? == 200).then(|| ask("/readyz"))?
}

/// Whether the upstream answers.
pub fn upstream(asked: &Serve, limits: &Limits, listen: SocketAddr) -> Option<Finding> {
    let to = asked.to.as_ref()?;
    let began = Instant::now();
    Some(match probe::reach(to, limits.connect) {
        Ok((_, address)) if address == listen => Finding::of(
            Verdict::Bad,
            "upstream",
            format_args!("{to} is the gateway's own address"),
            "the application's",
            "give --to the application's address, or --listen another",
        ),
        Ok((stream, _)) => answers(to, stream, began),
        Err(trouble) => Finding::trouble("upstream", &trouble),
    })
}

fn answers(to: &Upstream, stream: TcpStream, began: Instant) -> Finding {
    let expected = "an answer to HEAD / in HTTP/1, whatever its status, within 3 s";
    let head = format!("HEAD / HTTP/1.1\r\nHost: {to}\r\nConnection: close\r\n\r\n");
    let answer = probe::status(stream, &head, PATIENCE);
    let millis = began.elapsed().as_secs_f64() * 1e3;
    let error = match answer {
        Ok(status) => {
            let found = format!("{to} answers {status} to HEAD / after {millis:.1} ms");
            return Finding::ok("upstream", found, expected);
        }
        Err(error) => error,
    };
    let (what, advice) = match error.kind() {
        io::ErrorKind::TimedOut => {
            ("accepts connections, and does not answer".to_owned(), "see what it is busy with")
        }
        io::ErrorKind::InvalidData => {
            ("does not speak HTTP/1".to_owned(), "check the address; it may want TLS")
        }
        io::ErrorKind::UnexpectedEof => {
            ("closes the connection instead of answering".to_owned(), "see its log")
        }
        _ => (format!("breaks the connection: {error}"), "see its log"),
    };
    Finding::of(Verdict::Bad, "upstream", format_args!("{to} {what}"), expected, advice)
}

const PATIENCE: Duration = Duration::from_secs(3);
