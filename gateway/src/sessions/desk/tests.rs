use std::collections::VecDeque;

use thence::core::testing::expect_unhandled;

use super::*;

/// A store that answers when the test says so.
#[derive(Clone, Default)]
struct Store(Rc<RefCell<VecDeque<(Vec<RowKey>, Trigger<Answers>)>>>);

impl Store {
    fn desk(&self) -> Rc<Desk> {
        let asked = self.0.clone();
        Desk::new(move |keys| {
            let (trigger, answers) = Deferred::new();
            asked.borrow_mut().push_back((keys, trigger));
            answers
        })
    }

    /// How many keys each batch under way has.
    fn asked(&self) -> Vec<usize> {
        self.0.borrow().iter().map(|(keys, _)| keys.len()).collect()
    }

    fn answer(&self, found: Found) {
        let (keys, trigger) = self.0.borrow_mut().pop_front().expect("a batch");
        trigger.fire(keys.iter().map(|_| Ok(found.clone())).collect());
    }
}

fn key(n: u32) -> RowKey {
    let mut bytes = [0; 32];
    bytes[..4].copy_from_slice(&n.to_be_bytes());
    RowKey::from_bytes(&bytes).expect("32 bytes")
}

fn kept(found: Deferred<Found>) -> Rc<RefCell<Option<Outcome<Found, Failure>>>> {
    let slot = Rc::new(RefCell::new(None));
    let keep = slot.clone();
    found.settled().done(move |outcome| drop(keep.replace(Some(outcome))));
    slot
}

#[test]
fn look_ups_that_come_while_the_store_is_busy_are_one_batch() {
    let store = Store::default();
    let desk = store.desk();
    let asked: Vec<_> = (0..600).map(|n| kept(desk.find(key(n)))).collect();
    assert_eq!(store.asked(), [1, 1], "two under way, the others wait");
    store.answer(Found::Revoked);
    assert_eq!(store.asked(), [1, Desk::KEYS]);
    while !store.asked().is_empty() {
        store.answer(Found::Revoked);
    }
    assert!(asked.iter().all(|slot| matches!(*slot.borrow(), Some(Outcome::Ok(Found::Revoked)))));
    assert_eq!(desk.waiting(), 0);
}

#[test]
fn those_who_wait_for_one_session_share_a_read_that_has_not_begun() {
    let store = Store::default();
    let desk = store.desk();
    let first = kept(desk.find(key(1)));
    let others: Vec<_> = (0..5).map(|_| kept(desk.find(key(1)))).collect();
    // The first has begun: what is revoked now it may not see, and nobody may join it.
    assert_eq!(store.asked(), [1, 1]);
    store.answer(Found::Missing);
    assert!(matches!(*first.borrow(), Some(Outcome::Ok(Found::Missing))));
    assert!(others.iter().all(|slot| slot.borrow().is_none()));
    store.answer(Found::Revoked);
    let revoked =
        |slot: &Rc<RefCell<_>>| matches!(*slot.borrow(), Some(Outcome::Ok(Found::Revoked)));
    // One that came while both were under way is in a third.
    assert_eq!(others.iter().filter(|slot| revoked(slot)).count(), 1);
    assert_eq!(store.asked(), [1]);
    store.answer(Found::Revoked);
    assert!(others.iter().all(revoked));
}

#[test]
fn whoever_leaves_disturbs_none_of_the_others() {
    let store = Store::default();
    let desk = store.desk();
    let begun = [desk.find(key(1)), desk.find(key(2))];
    let (stays, goes, alone) = (desk.find(key(3)), desk.find(key(3)), desk.find(key(4)));
    goes.cancel();
    drop(alone);
    assert_eq!(desk.waiting(), 3);
    store.answer(Found::Missing);
    assert_eq!(store.asked(), [1, 1], "the key nobody waits for is not asked");
    store.answer(Found::Missing);
    store.answer(Found::Revoked);
    assert!(matches!(*kept(stays).borrow(), Some(Outcome::Ok(Found::Revoked))));
    assert!(kept(goes).borrow().as_ref().unwrap().is_cancelled());
    drop(begun);
}

#[test]
fn batches_of_a_store_that_hangs_are_in_nobodys_way_once_it_is_given_up() {
    let store = Store::default();
    let desk = store.desk();
    let hung: Vec<_> = (0..2).map(|n| kept(desk.find(key(n)))).collect();
    let waits = kept(desk.find(key(2)));
    desk.begin_anew();
    assert_eq!(store.asked(), [1, 1, 1]);
    store.answer(Found::Missing);
    assert!(hung[0].borrow().is_some() && waits.borrow().is_none());
    store.answer(Found::Missing);
    store.answer(Found::Missing);
    assert!(waits.borrow().is_some());
}

#[test]
fn a_batch_that_everybody_left_is_cancelled() {
    let store = Store::default();
    let desk = store.desk();
    drop(desk.find(key(1)));
    let (_, trigger) = store.0.borrow_mut().pop_front().unwrap();
    assert!(trigger.is_cancelled());
    drop(trigger);
    assert!(desk.state.borrow().batches.is_empty());
}

#[test]
fn a_batch_that_panics_fails_alone() {
    let store = Store::default();
    let desk = store.desk();
    let (first, second) = (kept(desk.find(key(1))), kept(desk.find(key(2))));
    let waits = kept(desk.find(key(3)));
    let (_, trigger) = store.0.borrow_mut().pop_front().unwrap();
    trigger.settle(Outcome::Stop(Stop::panicked(Box::new("no"))));
    assert!(matches!(*first.borrow(), Some(Outcome::Err(_))));
    store.answer(Found::Missing);
    store.answer(Found::Missing);
    for slot in [second, waits] {
        assert!(matches!(*slot.borrow(), Some(Outcome::Ok(_))));
    }
}

#[test]
fn a_row_that_is_damaged_fails_those_who_ask_for_it() {
    let store = Store::default();
    let desk = store.desk();
    let asked: Vec<_> = (0..4).map(|n| kept(desk.find(key(n)))).collect();
    store.answer(Found::Missing);
    store.answer(Found::Missing);
    let (_, trigger) = store.0.borrow_mut().pop_front().unwrap();
    trigger.fire(vec![Err(Failure::msg("damaged")), Ok(Found::Missing)]);
    assert!(matches!(*asked[2].borrow(), Some(Outcome::Err(_))));
    assert!(matches!(*asked[3].borrow(), Some(Outcome::Ok(_))));
}

#[test]
fn more_than_may_wait_are_turned_away() {
    let store = Store::default();
    let desk = store.desk();
    let asked: Vec<_> = (0..Desk::WAITING as u32).map(|n| desk.find(key(n))).collect();
    let turned_away = kept(desk.find(key(0)));
    assert!(
        matches!(&*turned_away.borrow(), Some(Outcome::Err(failure)) if failure.is::<Crowded>())
    );
    drop(asked);
    assert_eq!(desk.waiting(), 0);
    store.0.take();
}

#[test]
fn an_answer_may_ask_again() {
    let store = Store::default();
    let desk = store.desk();
    let again = desk.clone();
    let second = kept(desk.find(key(1)).and_then(move |_| again.find(key(1))));
    store.answer(Found::Missing);
    store.answer(Found::Revoked);
    assert!(matches!(*second.borrow(), Some(Outcome::Ok(Found::Revoked))));
    expect_unhandled(0, || drop(desk));
}
