//! Nothing stays behind: no descriptor, no node. One test, since descriptors belong to the process.

mod common;

use std::fs;

use common::{Raw, checked, upstream};
use thence_core::{Deferred, Failure};
use thence_http::{Body, Client, Request, Server};

fn descriptors() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}

#[test]
fn no_descriptor_stays_open_however_an_exchange_ends() {
    // What the first run opens for good is not a leak.
    checked(every_end);
    let before = descriptors();
    for _ in 0..3 {
        checked(every_end);
    }
    assert_eq!(descriptors(), before);
}

async fn every_end() -> Result<(), Failure> {
    let (addr, _) = upstream(|raw| async move {
        while let Ok(head) = raw.until("\r\n\r\n").await {
            if head.starts_with("GET /cut") {
                return raw.send("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhal").await;
            }
            if head.starts_with("GET /silent") {
                continue;
            }
            raw.send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwhole").await?;
        }
        Ok(())
    })?;
    let client = Client::default();
    let relaying = client.clone();
    let server = Server::bind("127.0.0.1:0")?.serve(move |request: Request| {
        let uri = format!("http://{addr}{}", request.uri());
        let asked = http::Request::get(uri).body(Body::empty()).unwrap();
        relaying.request(asked)
    });
    let get = |path: &str| {
        let uri = format!("http://{}{path}", server.local_addr());
        client.request(http::Request::get(uri).body(Body::empty()).unwrap())
    };

    let whole = get("/").await?.into_body().collect(64).await?;
    assert_eq!(whole, "whole");
    assert!(get("/cut").await?.into_body().collect(64).settled().await.is_err());
    // Dropped unread.
    drop(get("/").await?);
    // Left, and finished by itself.
    drop(get("/"));
    // Cancelled while the upstream keeps silent. The relaying handler is not cut: nobody asked.
    let silent = http::Request::get(format!("http://{addr}/silent")).body(Body::empty())?;
    let silent = client.request(silent);
    get("/").await?.into_body().collect(64).await?;
    silent.cancel();
    assert!(silent.settled().await.is_cancelled());

    // A client that leaves in the middle of its head, and one in the middle of its upload.
    Raw::connect(server.local_addr()).await?.send("GET / HT").await?;
    let raw = Raw::connect(server.local_addr()).await?;
    raw.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nhal").await?;
    drop(raw);

    assert_eq!(two_sends_at_once().await?, "onetwo");
    server.close();
    server.ended().await;
    Ok(())
}

async fn two_sends_at_once() -> Result<bytes::Bytes, Failure> {
    let (mut sender, body) = Body::channel(1);
    let sends: [Deferred<()>; 2] = [sender.send("one"), sender.send("two")];
    let whole = body.collect(64);
    for send in sends {
        send.await?;
    }
    sender.finish();
    whole.await
}
