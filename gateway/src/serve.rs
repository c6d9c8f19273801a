//! Running the gateway, from its flags to its drain.

use std::{
    cell::Cell,
    io::{self, Write as _},
    net::SocketAddr,
    rc::Rc,
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use thence::{
    Failure, Never, Reactor, Report, draining,
    http::{Request, Server},
    now,
    reactor::net::tls::Certificates,
    set_failure_hook,
};

use crate::{
    access_log, address,
    admin::Admin,
    args::Serve,
    certificates,
    demo::{self, Greeting},
    demo_upstream, descriptors,
    door::{self, Door},
    exit::{Exit, Trouble},
    gate::Gate,
    limits::Limits,
    log_writer::LogWriter,
    memory,
    metrics::Metrics,
    place::Surroundings,
    ports,
    request_id::RequestIds,
    session::{Cookie, Stamp, Store},
    sessions::Sessions,
    signals::Signals,
    upstream::Upstream,
};

/// Runs the gateway until a signal ends it.
///
/// # Errors
/// When it cannot start: what was wrong, what was expected, what to do.
pub fn serve(asked: Serve) -> Result<Exit, Trouble> {
    let log = access_log::start(asked.log.as_deref())?;
    let ended = run(asked, &log);
    // A log that takes nothing must not hold the end up.
    log.close(LOG_PATIENCE);
    ended
}

fn run(asked: Serve, log: &LogWriter) -> Result<Exit, Trouble> {
    let limits = descriptors::fitted(Limits::default());
    let mut reactor =
        Reactor::builder().drain(limits.drain).build().map_err(|failure| cannot_run(&failure))?;
    // Before anything that takes time: a signal to reload must not kill a gateway that starts.
    let signals = Signals::watch();
    set_failure_hook(log_failure);
    let store = Arc::new(crate::run::open(asked.store.clone())?);
    if store.was_created() {
        tracing::info!("made a new session store: {}", store.path().display());
    }
    let certificates = match (&asked.tls_cert, &asked.tls_key) {
        (Some(cert), Some(key)) => Some(certificates::read(cert, key)?),
        _ => None,
    };
    let started = Rc::new(Cell::new(false));
    let metrics = Rc::new(Metrics::default());
    let listening = Listening {
        asked,
        store,
        certificates,
        limits,
        metrics: metrics.clone(),
        log: log.clone(),
        signals,
        started: started.clone(),
    };
    let ended = reactor.run(main(listening));
    let is_clean = || metrics.cut.get() == 0 && metrics.in_flight.get() == 0;
    let was_clean = is_clean();
    // What is dropped with the reactor was cut by its end.
    metrics.drain_ends.set(Some(now()));
    drop(reactor);
    match ended {
        Ok(()) if !was_clean || !is_clean() => Ok(Exit::Unclean),
        Ok(()) => Ok(Exit::Done),
        // Only a second signal ends a gateway that had started in another way than well.
        Err(failure) if started.get() => {
            tracing::error!("{failure:#}");
            Ok(Exit::Forced)
        }
        Err(failure) => Err(failure.trap::<Trouble>().unwrap_or_else(|other| cannot_run(&other))),
    }
}

/// What the gateway runs with.
struct Listening {
    asked: Serve,
    store: Arc<Store>,
    certificates: Option<Certificates>,
    limits: Limits,
    metrics: Rc<Metrics>,
    log: LogWriter,
    signals: Signals,
    /// Whether it has come as far as to answer.
    started: Rc<Cell<bool>>,
}

async fn main(with: Listening) -> Result<(), Failure> {
    let counting = with.metrics.clone();
    let Listening { asked, store, certificates, limits, metrics, log, signals, started } = with;
    let is_log_a_file = asked.log.is_some();
    let is_demo = asked.to.is_none();
    let (wanted, listen) = asked.listening();
    let (server, _) = ports::take(wanted, listen, bind)?;
    let (shown, metrics_port) = asked.showing();
    let (admin_server, _) = ports::take(shown, metrics_port, bind)?;
    let address = server.local_addr();

    let cookie = if certificates.is_some() { Cookie::Secure } else { Cookie::Plain };
    let sessions = Rc::new(Sessions::new(store.clone(), cookie, metrics.clone()));
    let upstream = match &asked.to {
        Some(to) if to.destination() == address.into() => return Err(own_address(to).into()),
        Some(to) => to.destination(),
        None => built_in()?.into(),
    };
    let door = Rc::new(Door::default());
    let upstream = Rc::new(Upstream::new(upstream, limits));
    let rewrite = match (asked.rewrite, is_demo) {
        (None, true) => Some("/v1/{account}".parse().map_err(Failure::msg)?),
        (rewrite, _) => rewrite,
    };
    let gate = Rc::new(Gate {
        sessions: sessions.clone(),
        metrics: metrics.clone(),
        upstream: upstream.clone(),
        rewrite,
        ids: RequestIds::random(),
        limits,
        door: door.clone(),
    });
    signals.obey(
        certificates.clone(),
        sessions.clone(),
        log.clone(),
        is_log_a_file,
        metrics.clone(),
    );
    let admin = Admin { metrics, sessions: sessions.clone(), log, door: door.clone() };
    let admin_address = admin_server.local_addr();
    // Descriptors are for clients: nobody needs many connections there.
    admin_server.max_connections(ADMINS).serve(move |request: Request| admin.respond(&request));
    let mut server = server
        .head_deadline(limits.request_head)
        .body_timeout(limits.body_idle)
        .max_connections(limits.connections);
    let is_tls = certificates.is_some();
    if let Some(certificates) = certificates {
        server = server.tls(certificates::tls(&certificates));
    }
    let serving = server.serve(move |request: Request| {
        gate.respond(request).map_err(|never: Never| match never {})
    });
    sessions.keep_house();
    memory::give_back_after_storms(serving.clone());
    door::watch(door, serving.clone());
    if is_demo {
        greet(&store, address, (address.port() != wanted.port()).then_some(wanted))?;
    }
    // Nothing that follows keeps it from running.
    started.set(true);
    if !is_tls && !address.ip().is_loopback() {
        tracing::warn!(
            "{address} is not loopback and speaks plain HTTP: session cookies can be read on the \
             way; give --tls-cert and --tls-key, or put TLS in front"
        );
    }
    let scheme = if is_tls { "https" } else { "http" };
    tracing::info!(address = %address, scheme, metrics = %admin_address, "listening");
    upstream.look();
    draining().await;
    counting.drain_ends.set(Some(now() + limits.drain));
    sessions.stop();
    tracing::info!("draining");
    sessions.keep_house_until(serving.ended());
    sessions.write_touches().await;
    Ok(())
}

/// The demo's application, on a port, a thread and a reactor of its own: as yours would, it goes
/// on while the gateway drains.
fn built_in() -> Result<SocketAddr, Failure> {
    let (tell, told) = mpsc::channel();
    let app = async move |tell: mpsc::Sender<SocketAddr>| {
        let server = Server::bind((std::net::Ipv4Addr::LOCALHOST, 0))?;
        // `/broken` has to look like an application that dies, not like one that says 500.
        let server = server.close_on_failure(true).serve(|request: Request| {
            demo_upstream::answer(request.method(), request.uri(), request.headers())
        });
        // Nobody listens when the gateway could not start; then the process ends anyway.
        let _ = tell.send(server.local_addr());
        server.ended().await;
        Ok(())
    };
    thread::Builder::new().name("demo-app".into()).spawn(move || {
        set_failure_hook(log_failure);
        let reactor = Reactor::builder().signals(false).build();
        if let Err(failure) = reactor.and_then(|mut reactor| reactor.run(app(tell))) {
            tracing::error!("the demo's application ended: {failure:#}");
        }
    })?;
    Ok(told.recv()?)
}

/// Makes the demo's session and says what can be tried.
fn greet(store: &Store, listening: SocketAddr, taken: Option<SocketAddr>) -> Result<(), Failure> {
    let account = demo::ACCOUNT.parse().map_err(Failure::msg)?;
    let created = store.create(&account, demo::LIFE, Stamp::now()).map_err(Trouble::from)?;
    let greeting = Greeting {
        listening,
        taken,
        cookie: &created.value,
        store: store.path(),
        created: store.was_created(),
        program: &demo::program(),
        surroundings: &Surroundings::read(),
    };
    // Without a reader it is still a gateway.
    let _ = write!(io::stdout(), "{greeting}");
    let _ = io::stdout().flush();
    Ok(())
}

/// Without the backtrace: to name its frames would hold the loop up.
fn log_failure(report: &Report) {
    tracing::error!("{report:#}");
}

fn bind(address: SocketAddr) -> io::Result<Server> {
    Server::bind(address)
}

fn own_address(to: &address::Upstream) -> Trouble {
    Trouble::new(
        format_args!("--to {to} is the gateway's own address"),
        "the application's",
        "give --to the application's address, or --listen another",
    )
}

fn cannot_run(failure: &Failure) -> Trouble {
    Trouble::new(
        format_args!("the gateway cannot run: {failure:#}"),
        "a machine with a file descriptor and a thread to spare",
        "see the limits of this user (`ulimit -a`)",
    )
}

const ADMINS: usize = 32;
const LOG_PATIENCE: Duration = Duration::from_secs(1);
