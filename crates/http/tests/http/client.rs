//! What a client's connections may and may not do.

use std::cell::Cell;
use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use thence_core::{Deferred, Failure, Outcome, flow};
use thence_http::{Body, Client, ClientError, ClientErrorKind, ClientOptions, Response};
use thence_reactor::after;
use thence_reactor::net::{TcpListener, TcpStream};

use crate::common::checked;

/// An upstream that gives each connection to `f`.
fn upstream<F>(f: impl Fn(TcpStream) -> F + 'static) -> Result<(SocketAddr, Rc<Cell<u32>>), Failure>
where
    F: Future<Output = Result<(), Failure>> + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let addr = listener.local_addr();
    let accepted = Rc::new(Cell::new(0));
    let count = accepted.clone();
    flow::<()>(async move {
        loop {
            let (stream, _) = listener.accept().await?;
            count.set(count.get() + 1);
            flow(f(stream)).report();
        }
    })
    .report();
    Ok((addr, accepted))
}

/// Reads a request's head; `false` at the end.
async fn head(stream: &TcpStream) -> Result<bool, Failure> {
    let mut all = Vec::new();
    while !all.ends_with(b"\r\n\r\n") {
        let bytes = stream.read(65_536).await?;
        if bytes.is_empty() {
            return Ok(false);
        }
        all.extend_from_slice(&bytes);
    }
    Ok(true)
}

fn get(addr: SocketAddr) -> http::Request<Body> {
    http::Request::get(format!("http://{addr}/")).body(Body::empty()).unwrap()
}

fn kind(outcome: Outcome<Response>) -> (ClientErrorKind, bool) {
    let failure = outcome.err().expect("it must fail");
    let error = failure.downcast_ref::<ClientError>().expect("it must be a ClientError");
    (error.kind(), error.was_sent())
}

#[test]
fn a_connection_whose_answer_was_read_is_used_again() {
    checked(|| async {
        let (addr, accepted) = upstream(|stream| async move {
            while head(&stream).await? {
                stream.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi").await?;
            }
            Ok(())
        })?;
        let client = Client::default();
        for _ in 0..3 {
            let body = client.request(get(addr)).await?.into_body().collect(64).await?;
            assert_eq!(body, "hi");
        }
        assert_eq!((accepted.get(), client.idle()), (1, 1));
        Ok(())
    });
}

#[test]
fn a_connection_whose_answer_was_not_read_to_its_end_is_closed() {
    checked(|| async {
        let (closed, was_closed) = Deferred::<()>::new();
        let closed = Rc::new(Cell::new(Some(closed)));
        let (addr, accepted) = upstream(move |stream| {
            let closed = closed.clone();
            async move {
                head(&stream).await?;
                stream.write("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhal").await?;
                // The end of the stream, or a reset.
                drop(stream.read(1).settled().await);
                if let Some(closed) = closed.take() {
                    closed.fire(());
                }
                Ok(())
            }
        })?;
        let client = Client::default();
        let mut response = client.request(get(addr)).await?;
        assert_eq!(response.body_mut().chunk().await?.unwrap(), "hal");
        drop(response);
        was_closed.await?;
        assert_eq!((accepted.get(), client.idle()), (1, 0));
        Ok(())
    });
}

#[test]
fn a_cut_answer_is_an_error_and_never_a_clean_end() {
    checked(|| async {
        for cut in [
            "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhal",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhal\r\n",
        ] {
            let (addr, _) = upstream(move |stream| async move {
                head(&stream).await?;
                stream.write(cut).await?;
                stream.shutdown().await
            })?;
            let response = Client::default().request(get(addr)).await?;
            assert!(response.into_body().collect(64).settled().await.is_err(), "{cut}");
        }
        Ok(())
    });
}

#[test]
fn bytes_behind_an_answer_are_never_the_next_one() {
    checked(|| async {
        let (addr, accepted) = upstream(|stream| async move {
            head(&stream).await?;
            let extra = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhiHTTP/1.1 200 OK\r\n\
                         Content-Length: 4\r\n\r\nevil";
            stream.write(extra).await?;
            drop(stream.read(1).settled().await);
            Ok(())
        })?;
        let client = Client::default();
        for _ in 0..3 {
            let body = client.request(get(addr)).await?.into_body().collect(64).await?;
            assert_eq!(body, "hi");
        }
        assert_eq!(accepted.get(), 3);
        Ok(())
    });
}

#[test]
fn what_goes_wrong_is_told_apart() {
    checked(|| async {
        let options = ClientOptions::default();
        let mut quick = options;
        quick.head = Duration::from_millis(30);
        let client = Client::new(quick);

        let free = TcpListener::bind("127.0.0.1:0")?.local_addr();
        let refused = client.request(get(free)).settled().await;
        assert_eq!(kind(refused), (ClientErrorKind::Refused, false));

        let (addr, _) = upstream(|stream| async move {
            head(&stream).await?;
            drop(stream.read(1).settled().await);
            Ok(())
        })?;
        let slow = client.request(get(addr)).settled().await;
        assert_eq!(kind(slow), (ClientErrorKind::HeadTimeout, true));

        let (addr, _) = upstream(|stream| async move {
            head(&stream).await?;
            Ok(())
        })?;
        let closed = client.request(get(addr)).settled().await;
        assert_eq!(kind(closed), (ClientErrorKind::Closed, true));

        let (addr, _) = upstream(|stream| async move {
            head(&stream).await?;
            stream.write("220 mail.example ESMTP\r\n").await?;
            stream.shutdown().await
        })?;
        let broken = client.request(get(addr)).settled().await;
        assert_eq!(kind(broken), (ClientErrorKind::BrokenAnswer, true));
        Ok(())
    });
}

#[test]
fn a_pooled_connection_that_was_closed_meanwhile_is_replaced() {
    checked(|| async {
        let (addr, accepted) = upstream(|stream| async move {
            head(&stream).await?;
            stream.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi").await?;
            Ok(())
        })?;
        let client = Client::default();
        for n in 1..=3 {
            let body = client.request(get(addr)).await?.into_body().collect(64).await?;
            assert_eq!((body.as_ref(), accepted.get()), (b"hi".as_slice(), n));
            after(Duration::from_millis(20)).await;
        }
        Ok(())
    });
}

#[test]
fn a_cancelled_request_closes_its_connection() {
    checked(|| async {
        let (closed, was_closed) = Deferred::<()>::new();
        let closed = Rc::new(Cell::new(Some(closed)));
        let (addr, accepted) = upstream(move |stream| {
            let closed = closed.clone();
            async move {
                head(&stream).await?;
                drop(stream.read(1).settled().await);
                if let Some(closed) = closed.take() {
                    closed.fire(());
                }
                Ok(())
            }
        })?;
        let client = Client::default();
        let answer = client.request(get(addr));
        while accepted.get() == 0 {
            after(Duration::from_millis(1)).await;
        }
        after(Duration::from_millis(10)).await;
        answer.cancel();
        assert!(answer.settled().await.is_cancelled());
        was_closed.await?;
        Ok(())
    });
}

#[test]
fn an_answer_to_half_an_upload_arrives_though_its_sender_closes() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    const TIMES: usize = 20;
    let upstream = std::thread::spawn(move || {
        for _ in 0..TIMES {
            let (mut stream, _) = listener.accept().unwrap();
            assert!(stream.read(&mut [0; 1000]).unwrap() > 0);
            let mut answer = b"HTTP/1.1 413 Too Large\r\nContent-Length: 40000\r\n\r\n".to_vec();
            answer.extend([b'x'; 40_000]);
            stream.write_all(&answer).unwrap();
            // What was not read makes its end a reset.
        }
    });
    checked(move || async move {
        let client = Client::default();
        for _ in 0..TIMES {
            let upload = Body::from(vec![0; 20_000_000]);
            let request = http::Request::post(format!("http://{addr}/")).body(upload)?;
            let answer = client.request(request).await?;
            assert_eq!(answer.status(), 413);
            assert_eq!(answer.into_body().collect(40_000).await?.len(), 40_000);
            assert_eq!(client.idle(), 0);
        }
        Ok(())
    });
    upstream.join().unwrap();
}

#[test]
fn a_request_is_as_long_as_it_says_or_is_not_the_last_on_its_connection() {
    checked(|| async {
        let (addr, accepted) = upstream(|stream| async move {
            while head(&stream).await? {
                stream.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi").await?;
            }
            Ok(())
        })?;
        let client = Client::default();
        client.request(get(addr)).await?.into_body().collect(64).await?;
        let post = |length: &str, body: Body| {
            let request = http::Request::post(format!("http://{addr}/"));
            client.request(request.header("content-length", length).body(body).unwrap()).settled()
        };
        for (length, body) in [("3", "hello"), ("10", "hello"), ("5, 5", "hello"), ("1", "")] {
            let refused = kind(post(length, Body::from(body)).await);
            assert_eq!(refused, (ClientErrorKind::InvalidRequest, false), "{length}");
        }
        assert_eq!((accepted.get(), client.idle()), (1, 1));
        for length in ["3", "10"] {
            let (mut sender, body) = Body::channel(100);
            sender.send("hello").await?;
            sender.finish();
            let broken = kind(post(length, body).await);
            assert_eq!(broken, (ClientErrorKind::BrokenUpload, true), "{length}");
            assert_eq!(client.idle(), 0);
        }
        Ok(())
    });
}

#[test]
fn a_get_with_a_body_of_unknown_length_sends_it() {
    checked(|| async {
        let (addr, _) = upstream(|stream| async move {
            let mut all = Vec::new();
            while !all.ends_with(b"0\r\n\r\n") {
                all.extend_from_slice(&stream.read(65_536).await?);
            }
            let text = String::from_utf8(all)?.to_lowercase();
            assert!(
                text.contains("transfer-encoding: chunked") && text.contains("hello"),
                "{text}"
            );
            stream.write("HTTP/1.1 204 No Content\r\n\r\n").await
        })?;
        let (mut sender, body) = Body::channel(100);
        sender.send("hello").await?;
        sender.finish();
        let request = http::Request::get(format!("http://{addr}/")).body(body)?;
        assert_eq!(Client::default().request(request).await?.status(), 204);
        Ok(())
    });
}
