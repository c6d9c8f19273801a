//! Slide "Briefly Back to Event Loops": a cookie, a session read on a thread, an upstream request, an answer,
//! a line in the log and a counter.
//!
//! What the slide gets wrong is put right: the session's look-up gets the cookie, each way to fail has its own
//! answer and its own count, an upstream's 5xx is none of the successes, and a slow upstream does not hold its
//! client for ever. `gateway/` in this repository is the same program made real.

use std::cell::Cell;
use std::fmt;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use http::StatusCode;
use http::header::COOKIE;
use thence::http::{Body, Client, Request, Response, Server};
use thence::prelude::*;

/// How long the upstream may take.
const PATIENCE: Duration = Duration::from_millis(100);

struct App {
    client: Client,
    url_base: String,
    successes: Cell<u32>,
    refused: Cell<u32>,
    failures: Cell<u32>,
}

struct Session {
    account_id: u32,
}

/// On a thread: a look-up may block.
fn get_session_info_from_cookie(cookie: Option<String>) -> Result<Session, Failure> {
    let sessions = [("sessionId=ann", 42), ("sessionId=bob", 7), ("sessionId=eve", 9)];
    let row = sessions.into_iter().find(|(id, _)| cookie.as_deref() == Some(*id));
    let (_, account_id) = row.ok_or(NoSession)?;
    Ok(Session { account_id })
}

fn do_upstream_request(app: &App, session: &Session) -> Deferred<Response> {
    let upstream_url = format!("{}/v1/{}", app.url_base, session.account_id);
    match http::Request::get(upstream_url).body(Body::empty()) {
        Ok(request) => app.client.request(request).timeout(PATIENCE),
        Err(error) => Deferred::err(error.into()),
    }
}

fn upstream_request_success(upstream: Response) -> Result<Response, Failure> {
    if upstream.status().is_server_error() {
        return Err(UpstreamFailed(upstream.status()).into());
    }
    Ok(upstream)
}

fn upstream_request_failure(failure: &Failure) -> Response {
    let status = if failure.is::<NoSession>() {
        StatusCode::UNAUTHORIZED
    } else if failure.is::<Elapsed>() {
        StatusCode::GATEWAY_TIMEOUT
    } else {
        StatusCode::BAD_GATEWAY
    };
    let mut answer = Response::new(Body::from(format!("{failure}\n")));
    *answer.status_mut() = status;
    answer
}

fn respond(app: Rc<App>, request: &Request) -> Deferred<Response> {
    let path = request.uri().path().to_owned();
    let cookie =
        request.headers().get(COOKIE).and_then(|cookie| Some(cookie.to_str().ok()?.to_owned()));
    let upstream = app.clone();

    offload(move || get_session_info_from_cookie(cookie))
        .and_then(move |session| do_upstream_request(&upstream, &session))
        .and_then(upstream_request_success)
        .or_else(|failure| Ok(upstream_request_failure(&failure)))
        .inspect(move |answer| app.log_and_count(&path, answer.status()))
}

impl App {
    fn log_and_count(&self, path: &str, status: StatusCode) {
        let counter = match status {
            StatusCode::UNAUTHORIZED => &self.refused,
            status if status.is_server_error() => &self.failures,
            _ => &self.successes,
        };
        counter.set(counter.get() + 1);
        println!("log: GET {path} {}", status.as_u16());
    }
}

fn main() -> Result<(), Failure> {
    run(async {
        let upstream = Server::bind("127.0.0.1:0")?.serve(upstream);
        let app = Rc::new(App {
            client: Client::default(),
            url_base: format!("http://{}", upstream.local_addr()),
            successes: Cell::default(),
            refused: Cell::default(),
            failures: Cell::default(),
        });
        let shared = app.clone();
        let server = Server::bind("127.0.0.1:0")?
            .serve(move |request: Request| respond(shared.clone(), &request));

        for cookie in ["sessionId=ann", "sessionId=mallory", "sessionId=bob", "sessionId=eve"] {
            println!("{cookie}: {}", ask(server.local_addr(), cookie).await?);
        }
        println!(
            "successes {}, refused {}, failures {}",
            app.successes.get(),
            app.refused.get(),
            app.failures.get()
        );
        Ok(())
    })
}

/// A browser, as far as it matters here.
async fn ask(server: SocketAddr, cookie: &str) -> Result<String, Failure> {
    let request = http::Request::get(format!("http://{server}/hello")).header(COOKIE, cookie);
    let answer = Client::default().request(request.body(Body::empty())?).await?;
    let status = answer.status().as_u16();
    let body = answer.into_body().collect(1024).await?;
    Ok(format!("{status} {}", String::from_utf8_lossy(&body).trim()))
}

/// The app behind: it knows account 42, fails on 7, and never answers 9 in time.
fn upstream(request: Request) -> Deferred<Response> {
    flow(async move {
        let mut answer = Response::new(Body::from("hello, 42\n"));
        match request.uri().path() {
            "/v1/42" => {}
            "/v1/7" => *answer.status_mut() = StatusCode::INTERNAL_SERVER_ERROR,
            _ => after(PATIENCE * 3).await,
        }
        Ok(answer)
    })
}

#[derive(Debug)]
struct NoSession;

impl fmt::Display for NoSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no session")
    }
}

impl std::error::Error for NoSession {}

#[derive(Debug)]
struct UpstreamFailed(StatusCode);

impl fmt::Display for UpstreamFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the upstream answered {}", self.0.as_u16())
    }
}

impl std::error::Error for UpstreamFailed {}
