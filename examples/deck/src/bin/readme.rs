//! Which port does the service of a region listen on?
use thence::prelude::*;

fn port(region: &str) -> Deferred<u16> {
    let path = format!("settings/{region}");
    flow(async move {
        let text = read(path).await.context("no settings")?;
        Ok(text.trim().parse()?)
    })
}

fn read(path: String) -> Deferred<String> {
    offload(move || Ok(std::fs::read_to_string(path)?)).named("read a file")
}

fn main() -> Result<(), Failure> {
    run(async {
        port("north").map(|port| println!("listening on {port}")).report();
        Ok(())
    })
}
