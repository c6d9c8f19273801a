//! Prints the addresses of names, which are looked up side by side: `resolve localhost example.org`.

use std::{env, process, time::Duration};

use thence::dns::lookup;
use thence::prelude::*;

fn main() -> Result<(), Failure> {
    let names: Vec<String> = env::args().skip(1).collect();
    if names.is_empty() || names[0].starts_with('-') {
        eprintln!("usage: resolve NAME..");
        process::exit(2);
    }
    let all_found = run(async move {
        let mut all_found = true;
        let asked: Vec<_> = names
            .into_iter()
            .map(|name| (name.clone(), lookup(name, 0).timeout(Duration::from_secs(5))))
            .collect();
        for (name, addresses) in asked {
            match addresses.await {
                Ok(addresses) => {
                    let ips: Vec<_> = addresses.iter().map(|addr| addr.ip().to_string()).collect();
                    println!("{name} {}", ips.join(" "));
                }
                Err(failure) => {
                    all_found = false;
                    eprintln!("{name}: {failure:#}");
                }
            }
        }
        Ok(all_found)
    })?;
    process::exit(if all_found { 0 } else { 1 });
}
