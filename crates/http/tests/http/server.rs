//! What a server does for its clients and for its handlers.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use thence_core::{Deferred, Failure, flow};
use thence_http::{Body, Request, Response, Server};
use thence_reactor::after;

use crate::common::{Raw, checked, reported};

fn text(text: impl Into<String>) -> Deferred<Response> {
    Deferred::ok(Response::new(Body::from(text.into())))
}

#[test]
fn a_connection_serves_one_request_after_the_other_in_order() {
    checked(|| async {
        let server = Server::bind("127.0.0.1:0")?.serve(|request: Request| {
            let path = request.uri().path().to_owned();
            // The first is the slowest; pipelined answers still come in order.
            let delay = if path == "/1" { 20 } else { 0 };
            flow(async move {
                after(Duration::from_millis(delay)).await;
                text(path).await
            })
        });
        let raw = Raw::connect(server.local_addr()).await?;
        raw.send("GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n").await?;
        raw.until("\r\n\r\n/1").await?;
        raw.until("\r\n\r\n/2").await?;
        server.close();
        let rest = raw.rest().await?;
        assert_eq!(rest, "");
        server.ended().await;
        Ok(())
    });
}

#[test]
fn a_client_that_hangs_up_is_told_and_the_handler_runs_to_its_end() {
    checked(|| async {
        let log = Rc::<RefCell<Vec<&str>>>::default();
        let seen = log.clone();
        let (finish, finished) = Deferred::<()>::new();
        let finished = Rc::new(Cell::new(Some(finished)));
        let (done, all_done) = Deferred::<()>::new();
        let done = Rc::new(Cell::new(Some(done)));
        let server = Server::bind("127.0.0.1:0")?.serve(move |request: Request| {
            let (log, done) = (seen.clone(), done.take().unwrap());
            let finished = finished.take().unwrap();
            let told = log.clone();
            request.hung_up().done(move |()| told.borrow_mut().push("hung up"));
            flow(async move {
                finished.await?;
                log.borrow_mut().push("finished");
                done.fire(());
                text("too late").await
            })
        });
        let raw = Raw::connect(server.local_addr()).await?;
        raw.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await?;
        while server.connections() == 0 {
            after(Duration::from_millis(1)).await;
        }
        after(Duration::from_millis(20)).await;
        drop(raw);
        while log.borrow().is_empty() {
            after(Duration::from_millis(1)).await;
        }
        assert_eq!(*log.borrow(), ["hung up"]);
        finish.fire(());
        all_done.await?;
        assert_eq!(*log.borrow(), ["hung up", "finished"]);
        Ok(())
    });
}

#[test]
fn a_handler_that_fails_or_panics_is_reported_and_answered_with_500() {
    let reports = reported(|| async {
        let server = Server::bind("127.0.0.1:0")?.serve(|request: Request| {
            assert!(request.uri().path() != "/panic", "as asked");
            Deferred::<Response>::err(Failure::msg("no such thing"))
        });
        for path in ["/panic", "/fail"] {
            let raw = Raw::connect(server.local_addr()).await?;
            raw.send(&format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")).await?;
            let answer = raw.rest().await?;
            assert!(answer.starts_with("HTTP/1.1 500 "), "{answer}");
            assert!(!answer.contains("no such thing"));
        }
        Ok(())
    });
    assert_eq!(reports, ["panicked: as asked", "no such thing"]);
}

#[test]
fn a_head_that_does_not_end_in_time_is_answered_with_408() {
    checked(|| async {
        let server = Server::bind("127.0.0.1:0")?
            .head_deadline(Duration::from_millis(50))
            .serve(|_| text("never"));
        let raw = Raw::connect(server.local_addr()).await?;
        raw.send("GET / HTTP/1.1\r\nHos").await?;
        let answer = raw.rest().await?;
        assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");

        // One that sends nothing is closed without a word.
        let raw = Raw::connect(server.local_addr()).await?;
        assert_eq!(raw.rest().await?, "");
        Ok(())
    });
}

#[test]
fn bodies_stream_both_ways_and_wait_for_each_other() {
    checked(|| async {
        let server = Server::bind("127.0.0.1:0")?.serve(|request: Request| {
            Deferred::ok(Response::new(request.into_inner().into_body()))
        });
        let client = thence_http::Client::default();
        let (mut sender, body) = Body::channel(16 * 1024);
        let chunk = "x".repeat(16 * 1024);
        let writer = flow(async move {
            for _ in 0..4096 {
                sender.send(chunk.clone()).await?;
            }
            sender.finish();
            Ok(())
        });
        let uri = format!("http://{}/echo", server.local_addr());
        let response = client.request(http::Request::post(uri).body(body)?).await?;
        // Nobody reads yet: the writer must have stopped long before its 64 MiB.
        after(Duration::from_millis(50)).await;
        assert!(!writer.is_ready(), "64 MiB went somewhere though nobody reads");
        let whole = response.into_body().collect(64 << 20).await?;
        assert_eq!(whole.len(), 4096 * 16 * 1024);
        writer.await?;
        Ok(())
    });
}

#[test]
fn closing_lets_an_idle_connection_send_one_last_request() {
    checked(|| async {
        let server = Server::bind("127.0.0.1:0")?.serve(|_| text("last"));
        let raw = Raw::connect(server.local_addr()).await?;
        raw.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await?;
        raw.until("last").await?;
        server.close();
        raw.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await?;
        let answer = raw.rest().await?;
        assert!(answer.contains("connection: close"), "{answer}");
        assert!(answer.ends_with("last"), "{answer}");
        server.ended().await;
        Ok(())
    });
}
