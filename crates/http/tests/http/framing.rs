//! How long a message is: what has no body, what is cut, and what comes early.

use std::cell::Cell;
use std::rc::Rc;

use bytes::Bytes;
use thence_core::{Deferred, Failure, Outcome, flow};
use thence_http::{Body, Client, Request, Response, Server};

use crate::common::{Raw, checked, upstream};

/// Rules 36, 37: what these answers say of a length is not followed by a body.
const BODILESS: [(&str, &str, &str); 3] = [
    ("HEAD", "200 OK", "Content-Length: 5\r\n"),
    ("GET", "204 No Content", ""),
    ("GET", "304 Not Modified", "Content-Length: 5\r\n"),
];

#[test]
fn head_204_and_304_have_no_body_and_keep_the_connection_in_step() {
    checked(|| async {
        let server = Server::bind("127.0.0.1:0")?.serve(|request: Request| {
            let mut response = Response::new(Body::empty());
            match request.uri().path() {
                "/head" => *response.body_mut() = Body::from("12345"),
                "/204" => *response.status_mut() = http::StatusCode::NO_CONTENT,
                "/304" => *response.status_mut() = http::StatusCode::NOT_MODIFIED,
                _ => *response.body_mut() = Body::from("whole"),
            }
            if request.uri().path() == "/304" {
                response.headers_mut().insert("content-length", 5.into());
            }
            Deferred::ok(response)
        });
        let raw = Raw::connect(server.local_addr()).await?;
        for (method, path) in [("HEAD", "/head"), ("GET", "/204"), ("GET", "/304")] {
            raw.send(&format!("{method} {path} HTTP/1.1\r\nHost: a\r\n\r\n")).await?;
            let head = raw.until("\r\n\r\n").await?;
            assert!(!head.contains("transfer-encoding"), "{head}");
            // hyper leaves it out of a 304, as RFC 9110 §8.6 lets it.
            assert_eq!(head.contains("content-length: 5"), path == "/head", "{head}");
            assert_eq!(head.contains("content-length"), path == "/head", "{head}");
            // The next answer begins where this one ended.
            raw.send("GET /next HTTP/1.1\r\nHost: a\r\n\r\n").await?;
            let next = raw.until("whole").await?;
            assert!(next.starts_with("HTTP/1.1 200 OK\r\n"), "{next}");
        }
        Ok(())
    });
}

#[test]
fn a_head_204_or_304_of_an_upstream_is_relayed_and_its_connection_used_again() {
    checked(|| async {
        let asked = Rc::new(Cell::new(0));
        let (addr, accepted) = upstream(move |raw| {
            let asked = asked.clone();
            async move {
                while let Ok(head) = raw.until("\r\n\r\n").await {
                    let n = asked.replace(asked.get() + 1);
                    let (method, status, fields) = BODILESS[n % 3];
                    assert!(head.starts_with(method), "{head}");
                    raw.send(&format!("HTTP/1.1 {status}\r\n{fields}\r\n")).await?;
                }
                Ok(())
            }
        })?;
        let client = Client::default();
        let asking = client.clone();
        let server = Server::bind("127.0.0.1:0")?.serve(move |request: Request| {
            let mut request = request.into_inner();
            *request.uri_mut() = format!("http://{addr}/").parse().unwrap();
            asking.request(request)
        });
        let raw = Raw::connect(server.local_addr()).await?;
        for (method, status, fields) in BODILESS.iter().chain(&BODILESS) {
            raw.send(&format!("{method} / HTTP/1.1\r\nHost: a\r\n\r\n")).await?;
            let head = raw.until("\r\n\r\n").await?;
            assert!(head.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{head}");
            let length = *method == "HEAD" && fields.contains("Length: 5");
            assert_eq!(head.contains("content-length: 5"), length, "{head}");
            assert!(!head.contains("transfer-encoding"), "{head}");
        }
        assert_eq!(accepted.get(), 1);
        Ok(())
    });
}

#[test]
fn chunks_go_both_ways_as_they_come() {
    checked(|| async {
        let server = Server::bind("127.0.0.1:0")?.serve(|request: Request| {
            Deferred::ok(Response::new(request.into_inner().into_body()))
        });
        let raw = Raw::connect(server.local_addr()).await?;
        raw.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n").await?;
        raw.until("transfer-encoding: chunked").await?;
        for chunk in ["one", "three", "seven!!"] {
            raw.send(&format!("{:x}\r\n{chunk}\r\n", chunk.len())).await?;
            // It is back before the next one is sent: nothing is gathered on the way.
            raw.until(&format!("{:x}\r\n{chunk}\r\n", chunk.len())).await?;
        }
        raw.send("0\r\n\r\n").await?;
        raw.until("0\r\n\r\n").await?;
        Ok(())
    });
}

#[test]
fn an_upload_that_breaks_off_fails_its_reader_and_never_ends_well() {
    checked(|| async {
        for upload in
            ["Content-Length: 9\r\n\r\nhal", "Transfer-Encoding: chunked\r\n\r\n3\r\nhal\r\n"]
        {
            let (told, seen) = Deferred::<(Bytes, bool, bool)>::new();
            let told = Rc::new(Cell::new(Some(told)));
            let server = Server::bind("127.0.0.1:0")?.serve(move |mut request: Request| {
                let told = told.take().unwrap();
                flow(async move {
                    let hung_up = request.hang_up();
                    let first = request.body_mut().chunk().await?.unwrap();
                    let failed = request.body_mut().chunk().await.is_err();
                    hung_up.told().await;
                    told.fire((first, failed, hung_up.has_left()));
                    Ok(Response::default())
                })
            });
            let raw = Raw::connect(server.local_addr()).await?;
            raw.send(&format!("POST / HTTP/1.1\r\nHost: a\r\n{upload}")).await?;
            raw.0.shutdown().await?;
            assert_eq!(seen.await?, (Bytes::from("hal"), true, true), "{upload}");
            server.close();
            server.ended().await;
        }
        Ok(())
    });
}

#[test]
fn an_answer_whose_body_fails_is_cut_and_never_ends_well() {
    checked(|| async {
        let sender = Rc::new(Cell::new(None));
        let kept = sender.clone();
        let server = Server::bind("127.0.0.1:0")?.serve(move |_| {
            let (mut sender, body) = Body::channel(1024);
            sender.send("hal").report();
            kept.set(Some(sender));
            Deferred::ok(Response::new(body))
        });
        let raw = Raw::connect(server.local_addr()).await?;
        raw.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await?;
        let answer = raw.until("\r\n3\r\nhal\r\n").await?;
        assert!(answer.contains("transfer-encoding: chunked"), "{answer}");
        sender.take().unwrap().fail("the other half is gone");
        assert_eq!(raw.rest().await?, "");
        Ok(())
    });
}

/// Rule 27: closing over an upload that was not read would reset the connection, and the answer
/// would go with it.
#[test]
fn an_answer_before_the_upload_has_ended_arrives_whole() {
    checked(|| async {
        for n in 0..20 {
            let server = Server::bind("127.0.0.1:0")?.serve(|_| {
                let mut response = Response::new(Body::from("too large".repeat(1000)));
                *response.status_mut() = http::StatusCode::PAYLOAD_TOO_LARGE;
                Deferred::ok(response)
            });
            let raw = Raw::connect(server.local_addr()).await?;
            let head = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n";
            let upload = Bytes::from(format!("{head}{}", "x".repeat(1_000_000)));
            // Nobody may want the rest of it; that is no failure of the client's.
            let writing = raw.0.write(upload).settled();
            let answer = raw.rest().await?;
            assert!(answer.starts_with("HTTP/1.1 413 "), "{n}: {answer}");
            assert!(answer.ends_with("too large"), "{n}: {} bytes", answer.len());
            drop(raw);
            let _: Outcome<()> = writing.await;
            server.close();
            server.ended().await;
        }
        Ok(())
    });
}

#[test]
fn a_head_that_is_too_large_is_answered() {
    checked(|| async {
        for n in 0..20 {
            let server = Server::bind("127.0.0.1:0")?
                .head_size(8192)
                .serve(|_| Err::<Response, _>(Failure::msg("never asked")));
            let raw = Raw::connect(server.local_addr()).await?;
            let head = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(500_000));
            let writing = raw.0.write(head).settled();
            let answer = raw.rest().await.map_err(|failure| failure.context(n))?;
            assert!(answer.starts_with("HTTP/1.1 431 "), "{n}: {answer}");
            drop(raw);
            let _: Outcome<()> = writing.await;
            server.close();
        }
        Ok(())
    });
}

/// Rule 61: the upload goes on, and whoever got the connection next would wait behind it.
#[test]
fn an_upstream_that_answers_early_is_not_used_again() {
    checked(|| async {
        let (addr, accepted) = upstream(|raw| async move {
            raw.until("\r\n\r\n").await?;
            raw.send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nearly").await?;
            // The end of the stream, or a reset.
            drop(flow(async move { raw.rest().await }).settled().await);
            Ok(())
        })?;
        let client = Client::default();
        let mut senders = Vec::new();
        for n in 1..=3 {
            let (sender, body) = Body::channel(1024);
            senders.push(sender);
            let request = http::Request::post(format!("http://{addr}/")).body(body)?;
            let answer = client.request(request).await?.into_body().collect(64).await?;
            assert_eq!((answer.as_ref(), accepted.get()), (b"early".as_slice(), n));
            assert_eq!(client.idle(), 0);
        }
        assert!(senders.iter().all(thence_http::BodySender::reader_left));
        Ok(())
    });
}

#[test]
fn a_body_that_is_no_body_is_answered_and_closes_its_connection() {
    checked(|| async {
        let (told, has_left) = Deferred::<bool>::new();
        let told = Rc::new(Cell::new(Some(told)));
        let server = Server::bind("127.0.0.1:0")?.serve(move |request: Request| {
            let (hung_up, told) = (request.hang_up(), told.take().unwrap());
            request
                .into_inner()
                .into_body()
                .collect(64)
                .map(|_| Response::default())
                .recover(move |_| {
                    told.fire(hung_up.has_left());
                    let mut response = Response::new(Body::from("no body"));
                    *response.status_mut() = http::StatusCode::BAD_REQUEST;
                    response
                })
                .map_err(|never: thence_core::Never| match never {})
        });
        let raw = Raw::connect(server.local_addr()).await?;
        let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
        raw.send(&format!("{head}5x\r\nhello\r\n")).await?;
        let answer = raw.rest().await?;
        assert!(answer.starts_with("HTTP/1.1 400 ") && answer.ends_with("no body"), "{answer}");
        assert!(!has_left.await?, "wrong bytes are not missing ones");
        Ok(())
    });
}
