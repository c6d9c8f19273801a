//! Slide "Callbacks": two remote calls, the second of which needs what the first one brought, and the
//! branch for when the second one brings nothing. Three times over: with callbacks as on the slide, as a
//! chain, and as `async`.
//!
//! The remote side is a real server on the loopback, in this same program and on the same reactor: one line
//! asks, one line of JSON answers. The slide gives `getJSON` no way to fail; a call that fails is the third
//! track here, and the two later forms handle it in one place.

use std::net::SocketAddr;

use serde_json::Value;
use thence::net::{TcpListener, TcpStream};
use thence::prelude::*;

const TRACKS: [u32; 3] = [7, 8, 9];

fn main() -> Result<(), Failure> {
    run(async {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let server = listener.local_addr();
        serve(listener).report();

        for id in TRACKS {
            let (finished, callbacks) = Deferred::infallible();
            with_callbacks(server, id, move |line| finished.fire(line));
            println!("callbacks: {}", callbacks.await);
        }
        for id in TRACKS {
            println!("chain: {}", as_a_chain(server, id).await);
        }
        for id in TRACKS {
            println!("async: {}", as_async(server, id).await);
        }
        Ok(())
    })
}

/// The slide: each call takes its continuation, and each continuation its own care of what went wrong.
fn with_callbacks(server: SocketAddr, id: u32, callback: impl FnOnce(String) + 'static) {
    get_json(server, format!("track {id}"), move |data| match data {
        Ok(data) => {
            let track = data["response"]["track"].clone();
            get_json(server, analysis_query(&track), move |data| match data {
                Ok(data) if !data["results"].is_null() => callback(remix(&track, &data["results"])),
                Ok(_) => callback("No analysis data returned: sorry!".to_owned()),
                Err(failure) => callback(format!("{failure:#}")),
            });
        }
        Err(failure) => callback(format!("{failure:#}")),
    });
}

fn as_a_chain(server: SocketAddr, id: u32) -> Deferred<String, Never> {
    get(server, format!("track {id}"))
        .and_then(move |data| {
            let track = data["response"]["track"].clone();
            get(server, analysis_query(&track)).and_then(move |data| remixed(&track, &data))
        })
        .recover(|failure| format!("{failure:#}"))
}

fn as_async(server: SocketAddr, id: u32) -> Deferred<String, Never> {
    flow(async move {
        let data = get(server, format!("track {id}")).await?;
        let track = &data["response"]["track"];
        let data = get(server, analysis_query(track)).await?;
        remixed(track, &data)
    })
    .recover(|failure| format!("{failure:#}"))
}

fn analysis_query(track: &Value) -> String {
    format!("analysis {}", track["audio_summary"]["analysis_url"])
}

fn remixed(track: &Value, data: &Value) -> Result<String, Failure> {
    if data["results"].is_null() {
        return Err(Failure::msg("No analysis data returned: sorry!"));
    }
    Ok(remix(track, &data["results"]))
}

fn remix(track: &Value, analysis: &Value) -> String {
    format!("{} remixed at {} beats a minute", track["title"], analysis["tempo"])
}

/// The slide's `$.getJSON`.
fn get_json(
    server: SocketAddr,
    query: String,
    callback: impl FnOnce(Result<Value, Failure>) + 'static,
) {
    get(server, query).map(Ok).recover(Err).done(callback);
}

fn get(server: SocketAddr, query: String) -> Deferred<Value> {
    flow(async move {
        let stream = TcpStream::connect(server).await?;
        stream.write(format!("{query}\n")).await?;
        let mut answer = Vec::new();
        loop {
            let bytes = stream.read(4096).await?;
            if bytes.is_empty() {
                break;
            }
            answer.extend_from_slice(&bytes);
        }
        let answer: Value = serde_json::from_slice(&answer)?;
        match answer["error"].as_str() {
            Some(error) => Err(Failure::msg(error)),
            None => Ok(answer),
        }
    })
}

fn serve(listener: TcpListener) -> Deferred<()> {
    flow(async move {
        loop {
            let (stream, _) = listener.accept().await?;
            answer(stream).report();
        }
    })
}

fn answer(stream: TcpStream) -> Deferred<()> {
    flow(async move {
        let mut query = Vec::new();
        while !query.ends_with(b"\n") {
            let bytes = stream.read(4096).await?;
            if bytes.is_empty() {
                return Err(Failure::msg("the asker left in the middle of a line"));
            }
            query.extend_from_slice(&bytes);
        }
        stream.write(answer_to(String::from_utf8(query)?.trim()).to_string()).await?;
        Ok(())
    })
}

fn answer_to(query: &str) -> Value {
    let track = |title: &str, url: &str| serde_json::json!({"response": {"track": {"title": title, "audio_summary": {"analysis_url": url}}}});
    match query {
        "track 7" => track("Beep", "/analysis/7"),
        "track 8" => track("Boop", "/analysis/8"),
        "analysis \"/analysis/7\"" => serde_json::json!({"results": {"tempo": 120}}),
        "analysis \"/analysis/8\"" => serde_json::json!({ "results": null }),
        _ => serde_json::json!({"error": format!("nothing known about {query}")}),
    }
}
