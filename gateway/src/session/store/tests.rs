use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use super::*;

const HOUR: Span = Span::seconds(3600);
const DAY: Span = Span::seconds(86_400);
const LIFE: Life = Life { absolute: DAY, idle: Some(HOUR) };

struct Bench {
    dir: tempfile::TempDir,
    store: Store,
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("sessions.db")).unwrap();
        Self { dir, store }
    }

    fn create(&self, account: &str, life: Life, now: Stamp) -> RowKey {
        let created = self.store.create(&account.parse().unwrap(), life, now).unwrap();
        self.store.key().open(created.value.as_bytes()).unwrap().row_key()
    }

    fn found(&self, key: RowKey, now: Stamp) -> Found {
        self.store.find(&key, now).unwrap()
    }

    fn raw(&self) -> Connection {
        Connection::open(self.store.path()).unwrap()
    }
}

fn at(seconds: i64) -> Stamp {
    Stamp::from_millis(1_700_000_000_000).after(Span::seconds(seconds))
}

#[test]
fn a_session_is_found_by_its_cookie_until_revoked() {
    let bench = Bench::new();
    let key = bench.create("42", LIFE, at(0));
    let Found::Live(session) = bench.found(key, at(1)) else { panic!("not live") };
    assert_eq!((session.account.as_str(), session.touch), ("42", false));
    assert_eq!(session.handle, key.handle());
    assert_eq!(bench.store.revoke(&session.handle, at(2)).unwrap(), 1);
    assert_eq!(bench.store.revoke(&session.handle, at(2)).unwrap(), 0);
    assert_eq!(bench.found(key, at(3)), Found::Revoked);
}

#[test]
fn an_unknown_id_is_missing() {
    let bench = Bench::new();
    assert_eq!(bench.found(SessionId::random().unwrap().row_key(), at(0)), Found::Missing);
}

#[test]
fn revoking_an_account_spares_the_others() {
    let bench = Bench::new();
    let mine = [bench.create("42", LIFE, at(0)), bench.create("42", LIFE, at(0))];
    let other = bench.create("420", LIFE, at(0));
    assert_eq!(bench.store.revoke_account(&"42".parse().unwrap(), at(1)).unwrap(), 2);
    assert!(mine.iter().all(|key| bench.found(*key, at(1)) == Found::Revoked));
    assert!(matches!(bench.found(other, at(1)), Found::Live(_)));
}

#[test]
fn the_store_holds_no_secret() {
    let bench = Bench::new();
    let created = bench.store.create(&"42".parse().unwrap(), LIFE, at(0)).unwrap();
    drop(bench.store);
    let id = &created.value[..43];
    for entry in fs::read_dir(bench.dir.path()).unwrap() {
        let bytes = fs::read(entry.unwrap().path()).unwrap();
        assert!(!bytes.windows(43).any(|window| window == id.as_bytes()));
    }
}

#[test]
fn an_id_that_is_taken_is_a_failure_and_changes_nothing() {
    let bench = Bench::new();
    let id = SessionId::random().unwrap();
    let (mine, theirs) = ("1".parse().unwrap(), "2".parse().unwrap());
    bench.store.insert(&id, &mine, LIFE, at(0)).unwrap();
    let again = bench.store.insert(&id, &theirs, LIFE, at(1));
    assert!(matches!(again, Err(StoreError::Collision)), "{again:?}");
    let Found::Live(session) = bench.found(id.row_key(), at(1)) else { panic!("not live") };
    assert_eq!(session.account, mine);
}

#[test]
fn the_idle_clock_slides_and_the_absolute_one_does_not() {
    let bench = Bench::new();
    let key = bench.create("42", LIFE, at(0));
    assert_eq!(bench.found(key, at(3600)), Found::Expired);
    for step in 1..=24 {
        let now = at(step * 3599);
        assert!(matches!(bench.found(key, now), Found::Live(_)), "step {step}");
        assert_eq!(bench.store.touch(&[(key, now)]).unwrap(), 1);
    }
    assert!(matches!(bench.found(key, at(86_399)), Found::Live(_)));
    assert_eq!(bench.found(key, at(86_400)), Found::Expired);
}

#[test]
fn a_session_without_an_idle_clock_lives_to_its_end_and_is_not_touched() {
    let bench = Bench::new();
    let key = bench.create("42", Life { absolute: DAY, idle: None }, at(0));
    let Found::Live(session) = bench.found(key, at(86_399)) else { panic!("not live") };
    assert!(!session.touch);
    bench.store.touch(&[(key, at(10))]).unwrap();
    assert_eq!(bench.found(key, at(86_400)), Found::Expired);
}

#[test]
fn a_touch_is_due_after_a_minute_or_a_twentieth_of_the_idle_time() {
    let bench = Bench::new();
    let due = |key, seconds| match bench.found(key, at(seconds)) {
        Found::Live(session) => session.touch,
        other => panic!("{other:?}"),
    };
    let short = bench.create("1", Life { absolute: DAY, idle: Some(Span::seconds(300)) }, at(0));
    assert!(!due(short, 59) && due(short, 60));
    let long = bench.create("2", Life { absolute: DAY, idle: Some(HOUR) }, at(0));
    assert!(!due(long, 179) && due(long, 180));
}

#[test]
fn a_touch_raises_nobody_from_the_dead() {
    let bench = Bench::new();
    let [revoked, expired, gone] = [0; 3].map(|_| bench.create("42", LIFE, at(0)));
    bench.store.revoke(&revoked.handle(), at(1)).unwrap();
    bench.raw().execute("DELETE FROM session WHERE id = ?1", [gone.as_bytes()]).unwrap();
    // The look-up saw them live; the batch is written after they ended.
    let batch = [(revoked, at(2)), (expired, at(3600)), (gone, at(2))];
    assert_eq!(bench.store.touch(&batch).unwrap(), 0);
    assert_eq!(bench.found(revoked, at(2)), Found::Revoked);
    assert_eq!(bench.found(expired, at(3600)), Found::Expired);
    assert_eq!(bench.found(gone, at(2)), Found::Missing);
}

#[test]
fn a_late_touch_does_not_move_the_clock_back() {
    let bench = Bench::new();
    let key = bench.create("42", LIFE, at(0));
    bench.store.touch(&[(key, at(1000))]).unwrap();
    assert_eq!(bench.store.touch(&[(key, at(500))]).unwrap(), 0);
    assert!(matches!(bench.found(key, at(4599)), Found::Live(_)));
}

#[test]
fn a_reader_does_not_wait_for_a_writer() {
    let bench = Bench::new();
    let key = bench.create("42", LIFE, at(0));
    let mut other = bench.raw();
    let held = other.transaction_with_behavior(TransactionBehavior::Immediate).unwrap();
    held.execute("UPDATE session SET revoked_at = 1", []).unwrap();
    assert!(matches!(bench.found(key, at(1)), Found::Live(_)), "not committed yet");
    held.commit().unwrap();
    assert_eq!(bench.found(key, at(1)), Found::Revoked, "seen by the next look-up (S7)");
}

#[test]
fn sweeping_removes_what_ended_in_batches() {
    let bench = Bench::new();
    let live = bench.create("42", LIFE, at(0));
    let short = Life { absolute: Span::seconds(10), idle: None };
    bench
        .store
        .write(Durable::Later, |connection| {
            let all = connection.transaction()?;
            for n in 0..1200_u32 {
                let mut id = [0; 32];
                id[..4].copy_from_slice(&n.to_be_bytes());
                all.execute(
                    "INSERT INTO session VALUES (?1, '1', 0, 1, NULL, 0, ?2, NULL)",
                    params![id, at(10).millis()],
                )?;
            }
            all.commit()
        })
        .unwrap();
    bench.create("42", short, at(0));
    let swept: Vec<usize> = (0..4).map(|_| bench.store.sweep(at(20)).unwrap().removed).collect();
    assert_eq!(swept, [500, 500, 201, 0]);
    assert!(matches!(bench.found(live, at(20)), Found::Live(_)));
}

#[test]
fn files_are_for_their_owner_only() {
    let bench = Bench::new();
    bench.create("42", LIFE, at(0));
    for entry in fs::read_dir(bench.dir.path()).unwrap() {
        let entry = entry.unwrap();
        let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{:?}", entry.file_name());
    }
}

#[test]
fn a_second_opening_finds_the_same_sessions_and_key() {
    let bench = Bench::new();
    assert!(bench.store.was_created());
    let created = bench.store.create(&"42".parse().unwrap(), LIFE, at(0)).unwrap();
    let again = Store::open(bench.store.path()).unwrap();
    assert!(!again.was_created());
    let id = again.key().open(created.value.as_bytes()).unwrap();
    assert!(matches!(again.find(&id.row_key(), at(1)).unwrap(), Found::Live(_)));
}

#[test]
fn a_store_that_fails_says_so_and_recovers() {
    let bench = Bench::new();
    let key = bench.create("42", LIFE, at(0));
    assert!(matches!(bench.found(key, at(0)), Found::Live(_)));
    bench.raw().execute_batch("ALTER TABLE session RENAME TO away").unwrap();
    bench.store.find(&key, at(0)).expect_err("no such table is no answer about the session (S8)");
    bench.store.list(None).expect_err("nor is it a store");
    bench.raw().execute_batch("ALTER TABLE away RENAME TO session").unwrap();
    assert!(matches!(bench.found(key, at(0)), Found::Live(_)));
}

#[test]
fn a_row_we_never_wrote_is_damage_not_a_missing_session() {
    let bench = Bench::new();
    let key = bench.create("42", LIFE, at(0));
    bench.raw().execute("UPDATE session SET account = 'a' || char(10) || 'b'", []).unwrap();
    let found = bench.store.find(&key, at(1));
    assert!(matches!(found, Err(StoreError::Corrupt { .. })), "{found:?}");
}

#[test]
fn what_is_no_store_is_refused_untouched() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("other.db");
    fs::write(
        &path,
        "this is no database, and it is longer than SQLite's header of 100 bytes, \
                      so that it is read as one and found not to be",
    )
    .unwrap();
    let before = fs::read(&path).unwrap();
    assert!(matches!(Store::open(&path), Err(StoreError::Database { .. })));
    assert_eq!(fs::read(&path).unwrap(), before);

    let path = dir.path().join("theirs.db");
    Connection::open(&path).unwrap().execute_batch("CREATE TABLE t (x)").unwrap();
    assert!(matches!(Store::open(&path), Err(StoreError::NotOurs { .. })));
    assert!(matches!(Store::open(dir.path()), Err(StoreError::Unreadable { .. })));
    let nowhere = dir.path().join("no/such/folder.db");
    assert!(matches!(Store::open(&nowhere), Err(StoreError::Unreadable { .. })));
}

#[test]
fn a_store_of_a_later_version_is_refused() {
    let bench = Bench::new();
    bench.raw().pragma_update(None, "user_version", 2).unwrap();
    let opened = Store::open(bench.store.path());
    assert!(matches!(opened, Err(StoreError::Newer { version: 2, .. })), "{opened:?}");
}

#[test]
fn a_lost_key_is_not_replaced_while_there_are_sessions() {
    let bench = Bench::new();
    fs::remove_file(key::path_beside(bench.store.path())).unwrap();
    drop(Store::open(bench.store.path()).expect("no session depends on it"));
    bench.create("42", LIFE, at(0));
    fs::remove_file(key::path_beside(bench.store.path())).unwrap();
    let opened = Store::open(bench.store.path());
    assert!(matches!(opened, Err(StoreError::KeyMissing { .. })), "{opened:?}");
}

#[test]
fn many_threads_read_while_one_writes() {
    let bench = Bench::new();
    let keys: Vec<_> = (0..8).map(|_| bench.create("42", LIFE, at(0))).collect();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for key in keys.iter().cycle().take(400) {
                    assert!(matches!(bench.found(*key, at(100)), Found::Live(_)));
                }
            });
        }
        for n in 1..50 {
            bench.store.touch(&keys.iter().map(|key| (*key, at(n))).collect::<Vec<_>>()).unwrap();
        }
    });
}

#[test]
fn what_is_looked_up_together_is_answered_in_order_and_a_damaged_row_fails_alone() {
    let bench = Bench::new();
    let keys = [0; 3].map(|_| bench.create("42", LIFE, at(0)));
    bench.store.revoke(&keys[1].handle(), at(1)).unwrap();
    let damage = "UPDATE session SET account = 'a b' WHERE id = ?1";
    bench.raw().execute(damage, [keys[2].as_bytes()]).unwrap();
    let unknown = SessionId::random().unwrap().row_key();
    let found = bench.store.find_all(&[keys[0], keys[1], keys[2], unknown], at(2)).unwrap();
    assert!(matches!(&found[0], Ok(Found::Live(session)) if session.key == keys[0]));
    assert!(matches!(found[1], Ok(Found::Revoked)));
    assert!(matches!(found[2], Err(StoreError::Corrupt { .. })));
    assert!(matches!(found[3], Ok(Found::Missing)));
}

#[test]
fn a_store_that_is_not_there_is_not_made_by_who_only_looks() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("typo.db");
    let missing = |opened: Result<Store, StoreError>| matches!(opened, Err(StoreError::Missing { path }) if path.ends_with("typo.db"));
    assert!(missing(Store::open_existing(&path)));
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    // A file with nothing in it is no store either.
    fs::write(&path, "").unwrap();
    assert!(missing(Store::open_existing(&path)));
    assert_eq!(fs::metadata(&path).unwrap().len(), 0);
    drop(Store::open(&path).unwrap());
    drop(Store::open_existing(&path).unwrap());
}

#[test]
fn a_store_whose_files_are_not_what_they_were_answers_nobody() {
    let moved: [fn(&Path); 5] = [
        |path| fs::rename(path, path.with_extension("old")).unwrap(),
        |path| fs::remove_file(path).unwrap(),
        |path| {
            let other = path.with_extension("new");
            fs::copy(path, &other).unwrap();
            fs::rename(other, path).unwrap();
        },
        |path| fs::remove_file(path.with_extension("db-wal")).unwrap(),
        |path| fs::remove_file(path.with_extension("db-shm")).unwrap(),
    ];
    for (number, lose) in moved.into_iter().enumerate() {
        let bench = Bench::new();
        let key = bench.create("42", LIFE, at(0));
        assert!(matches!(bench.found(key, at(1)), Found::Live(_)));
        lose(bench.store.path());
        let lost =
            |error| assert!(matches!(error, StoreError::Replaced { .. }), "{number}: {error}");
        lost(bench.store.find(&key, at(1)).unwrap_err());
        lost(bench.store.list(None).unwrap_err());
        lost(bench.store.touch(&[(key, at(2))]).unwrap_err());
        lost(bench.store.revoke(&key.handle(), at(2)).unwrap_err());
    }
}

#[test]
fn a_store_that_was_away_is_not_trusted_when_it_is_back() {
    let bench = Bench::new();
    let (path, away) = (bench.store.path().to_owned(), bench.dir.path().join("away"));
    fs::rename(&path, &away).unwrap();
    bench.store.check().unwrap_err();
    fs::rename(&away, &path).unwrap();
    bench.store.check().unwrap_err();
    Store::open_existing(&path).unwrap().check().unwrap();
}

#[test]
fn what_was_acknowledged_is_on_the_disk() {
    let bench = Bench::new();
    let level = || -> i64 {
        let writer = lock(&bench.store.writer);
        writer.as_ref().unwrap().query_row("PRAGMA synchronous", [], |row| row.get(0)).unwrap()
    };
    let (normal, full) = (1, 2);
    let key = bench.create("42", LIFE, at(0));
    assert_eq!(level(), full);
    bench.store.touch(&[(key, at(1))]).unwrap();
    assert_eq!(level(), normal);
    bench.store.revoke(&key.handle(), at(1)).unwrap();
    assert_eq!(level(), full);
    bench.store.sweep(at(0)).unwrap();
    assert_eq!(level(), normal);
    bench.store.revoke_account(&"42".parse().unwrap(), at(1)).unwrap();
    assert_eq!(level(), full);
}

#[test]
fn a_new_store_that_many_open_at_once_is_one_store_with_one_key() {
    for _ in 0..10 {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sessions.db");
        let created: Vec<_> = std::thread::scope(|scope| {
            let open = || {
                let store = Store::open(&path).unwrap();
                store.create(&"42".parse().unwrap(), LIFE, at(0)).unwrap()
            };
            let openers = [0; 4].map(|_| scope.spawn(open));
            openers.into_iter().map(|opener| opener.join().unwrap()).collect()
        });
        let store = Store::open_existing(&path).unwrap();
        assert_eq!(store.list(None).unwrap().len(), 4);
        assert!(created.iter().all(|one| store.key().open(one.value.as_bytes()).is_some()));
    }
}
