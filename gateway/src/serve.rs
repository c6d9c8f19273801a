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
    Deferred, Failure, Never, Reactor, draining, every,
    http::{Request, Server},
    reactor::net::tls::Certificates,
};

use crate::{
    access_log,
    admin::Admin,
    args::Serve,
    certificates,
    demo::{self, Greeting},
    demo_upstream, descriptors,
    exit::{Exit, Trouble},
    gate::Gate,
    limits::Limits,
    metrics::Metrics,
    place::Surroundings,
    ports, probe,
    request_id::RequestIds,
    run,
    session::{Cookie, Stamp, Store},
    sessions::{LOOKUP_QUEUE, Sessions},
    upstream::Upstream,
};

/// Runs the gateway until a signal ends it.
///
/// # Errors
/// When it cannot start: what was wrong, what was expected, what to do.
pub fn serve(asked: Serve) -> Result<Exit, Trouble> {
    access_log::start();
    let limits = Limits::default();
    descriptors::raise(descriptors::needed(&limits));
    let store = Arc::new(run::open(asked.store.clone())?);
    let certificates = match (&asked.tls_cert, &asked.tls_key) {
        (Some(cert), Some(key)) => Some(certificates::read(cert, key)?),
        _ => None,
    };
    let target = match &asked.to {
        Some(to) => Some(probe::reach(to, limits.connect)?.1),
        None => None,
    };
    let mut reactor = Reactor::builder()
        .drain(limits.drain)
        .pool_queue(LOOKUP_QUEUE)
        .build()
        .map_err(|failure| cannot_run(&failure))?;
    let started = Rc::new(Cell::new(false));
    let metrics = Rc::new(Metrics::default());
    let main = main(asked, store, certificates, target, limits, metrics.clone(), started.clone());
    match reactor.run(main) {
        Ok(()) if metrics.cut.get() > 0 || metrics.in_flight.get() > 0 => Ok(Exit::Unclean),
        Ok(()) => Ok(Exit::Done),
        // Only a second signal ends a gateway that had started in another way than well.
        Err(failure) if started.get() => {
            tracing::error!("{failure:#}");
            Ok(Exit::Forced)
        }
        Err(failure) => Err(failure.trap::<Trouble>().unwrap_or_else(|other| cannot_run(&other))),
    }
}

async fn main(
    asked: Serve,
    store: Arc<Store>,
    certificates: Option<Certificates>,
    target: Option<SocketAddr>,
    limits: Limits,
    metrics: Rc<Metrics>,
    started: Rc<Cell<bool>>,
) -> Result<(), Failure> {
    let is_demo = target.is_none();
    let (wanted, listen) = asked.listening();
    let (server, _) = ports::take(wanted, listen, bind)?;
    let (shown, metrics_port) = asked.showing();
    let (admin_server, _) = ports::take(shown, metrics_port, bind)?;
    let address = server.local_addr();

    let cookie = if certificates.is_some() { Cookie::Secure } else { Cookie::Plain };
    let sessions = Rc::new(Sessions::new(store.clone(), cookie, metrics.clone()));
    let upstream = match target {
        Some(target) => target,
        None => built_in()?,
    };
    let rewrite = match (asked.rewrite, is_demo) {
        (None, true) => Some("/v1/{account}".parse().map_err(Failure::msg)?),
        (rewrite, _) => rewrite,
    };
    let gate = Rc::new(Gate {
        sessions: sessions.clone(),
        metrics: metrics.clone(),
        upstream: Rc::new(Upstream::new(upstream, limits)),
        rewrite,
        ids: RequestIds::random(),
        limits,
    });
    let is_draining = Rc::new(Cell::new(false));
    let admin = Admin { metrics, sessions: sessions.clone(), draining: is_draining.clone() };
    let admin_address = admin_server.local_addr();
    admin_server.serve(move |request: Request| admin.respond(&request));
    let mut server = server
        .head_deadline(limits.request_head)
        .body_timeout(limits.body_idle)
        .max_connections(limits.connections);
    let is_tls = certificates.is_some();
    if let Some(certificates) = certificates {
        server = server.tls(certificates::tls(&certificates));
        certificates::reload_on_hangup(certificates);
    }
    server.serve(move |request: Request| {
        if request.uri().path() == "*" {
            return Deferred::ok(Gate::options());
        }
        gate.respond(request).map_err(|never: Never| match never {})
    });
    keep_house(&sessions);
    started.set(true);

    if is_demo {
        greet(&store, address, (address.port() != wanted.port()).then_some(wanted))?;
    }
    if !is_tls && !address.ip().is_loopback() {
        tracing::warn!(
            "{address} is not loopback and speaks plain HTTP: session cookies can be read on the \
             way; give --tls-cert and --tls-key, or put TLS in front"
        );
    }
    let scheme = if is_tls { "https" } else { "http" };
    tracing::info!(address = %address, scheme, metrics = %admin_address, "listening");
    draining().await;
    is_draining.set(true);
    tracing::info!("draining");
    sessions.write_touches().await;
    Ok(())
}

/// Writes uses and removes ended sessions, now and then.
fn keep_house(sessions: &Rc<Sessions>) {
    let touching = sessions.clone();
    every(TOUCH_EVERY, move || touching.write_touches());
    let sweeping = sessions.clone();
    every(SWEEP_EVERY, move || sweeping.sweep());
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

fn bind(address: SocketAddr) -> io::Result<Server> {
    Server::bind(address)
}

fn cannot_run(failure: &Failure) -> Trouble {
    Trouble::new(
        format_args!("the gateway cannot run: {failure:#}"),
        "a machine with a file descriptor and a thread to spare",
        "see the limits of this user (`ulimit -a`)",
    )
}

const TOUCH_EVERY: Duration = Duration::from_secs(1);
const SWEEP_EVERY: Duration = Duration::from_secs(60);
