//! The store's file: never made by mistake, never used in silence when it is not the one it was.

use std::fs;

use crate::common::{Gate, Upstream, eventually, gate};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

#[test]
fn a_mistyped_store_is_neither_made_nor_called_done() {
    let dir = tempfile::tempdir().unwrap();
    let (store, typo) = (dir.path().join("s.db"), dir.path().join("typo.db"));
    let (store, typo) = (store.to_str().unwrap(), typo.to_str().unwrap());
    let made = gate(["session", "create", "42", "--store", store]);
    assert_eq!(made.err, format!("made a new session store: {store}\n"));
    assert_eq!(gate(["session", "create", "42", "--store", store]).err, "");
    for words in [&["revoke", "--account", "42"][..], &["list"]] {
        let ran = gate([&["session"], words, &["--store", typo]].concat());
        assert_eq!((ran.code, &ran.out[..]), (1, ""), "{ran:?}");
        assert!(ran.err.contains(typo) && ran.err.contains("check --store"), "{ran:?}");
    }
    assert!(!fs::exists(typo).unwrap());
}

#[test]
fn a_store_that_was_replaced_is_503_until_told() {
    let upstream = Upstream::answering(OK);
    let gate = Gate::before(upstream.address, &[]);
    let cookie = gate.cookie("42");
    assert_eq!(gate.get("/", &cookie).status, 200);
    let (path, away) = (gate.store(), gate.store().with_extension("away"));
    fs::rename(&path, &away).unwrap();
    assert_eq!(gate.get("/", &cookie).status, 503);
    let ready = eventually(|| Some(gate.admin("/readyz")).filter(|ready| ready.status == 503));
    assert!(ready.text().contains("replaced"), "{}", ready.text());
    // Whoever names the path now makes a new store there, in which nothing is known of that one.
    let fresh = gate.cookie("43");
    for cookie in [&cookie, &fresh] {
        assert_eq!(gate.get("/", cookie).status, 503, "it opens no other by itself");
    }
    gate.signal("HUP");
    gate.log.wait_for(1, |line| {
        line["message"].as_str().unwrap_or_default().contains("store is opened anew")
    });
    assert_eq!(gate.get("/", &fresh).status, 200);
    assert_eq!(gate.get("/", &cookie).status, 401);
    assert_eq!(gate.admin("/readyz").status, 200);
}

#[test]
fn a_store_that_cannot_be_opened_anew_stays() {
    let upstream = Upstream::answering(OK);
    let gate = Gate::before(upstream.address, &[]);
    let cookie = gate.cookie("42");
    fs::rename(gate.store(), gate.store().with_extension("away")).unwrap();
    gate.signal("HUP");
    let said = gate.log.wait_for(1, |line| {
        line["message"].as_str().unwrap_or_default().contains("old session store stays")
    });
    assert!(said[0]["message"].as_str().unwrap().contains("there is no session store at"));
    assert_eq!(gate.get("/", &cookie).status, 503);
}
