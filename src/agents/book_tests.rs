use std::time::Duration;

use crate::registrar::{Person, Queue};

use super::*;

fn at(secs: u64) -> Moment {
    Moment::from_micros(secs * 1_000_000)
}

fn aor(name: &str) -> Aor {
    Aor::from_user(name.as_bytes()).unwrap()
}

fn anna() -> Aor {
    aor("anna")
}

fn policy() -> AgentPolicy {
    AgentPolicy { wrapup: Duration::from_secs(8), ..AgentPolicy::default() }
}

fn offered<'a>(aor: &'a Aor, key: u128, queue: Option<&'a str>, gate: Gate) -> Offer<'a> {
    Offer { aor, key: CallKey(key), queue: queue.map(str::as_bytes), reservation: None, gate }
}

fn offer(book: &mut Book, key: u128, is_of_queue: bool, gate: Gate) -> bool {
    book.offer(offered(&anna(), key, is_of_queue.then_some("q700"), gate), at(10))
}

/// A call of hers is so far, or over.
fn note(book: &mut Book, key: u128, doing: Option<Doing>, secs: u64) {
    let note = Note { key: CallKey(key), doing, queue: None, is_own: false };
    book.note(&anna(), note, &policy(), at(secs));
}

fn registered() -> Book {
    let mut book = Book::default();
    book.set_registered(&anna(), true, at(1));
    assert_eq!(book.state(b"anna", at(1)), State::Ready);
    book
}

fn says(book: &mut Book, intent: Intent, secs: u64) {
    book.set_intent(&anna(), intent, Cause::OwnWord, at(secs));
}

fn states(book: &mut Book) -> Vec<&'static str> {
    book.take_changes().iter().map(|change| change.to.as_str()).collect()
}

#[test]
fn of_two_queues_at_the_same_moment_one_gets_the_agent() {
    let mut book = registered();
    assert!(offer(&mut book, 1, true, Gate::Queue));
    assert!(!offer(&mut book, 2, true, Gate::Queue));
    assert!(offer(&mut book, 1, true, Gate::Queue), "a repetition of the first");
    assert_eq!(book.find(b"anna").unwrap().calls().len(), 1);
}

#[test]
fn a_direct_call_may_wait_unless_the_gate_is_for_all() {
    let mut book = registered();
    assert!(offer(&mut book, 1, true, Gate::Queue));
    assert!(offer(&mut book, 2, false, Gate::Queue), "call waiting");
    assert!(!offer(&mut book, 3, false, Gate::All));
    assert!(offer(&mut book, 4, true, Gate::Off));
}

#[test]
fn a_call_from_a_queue_is_followed_by_wrap_up_and_a_direct_one_is_not() {
    let mut book = registered();
    offer(&mut book, 1, true, Gate::Queue);
    note(&mut book, 1, Some(Doing::Talking), 11);
    note(&mut book, 1, None, 20);
    assert_eq!(states(&mut book), ["ready", "ringing", "in_use", "wrapup"]);
    assert!(!offer(&mut book, 2, true, Gate::Queue));
    book.tick(at(27));
    assert_eq!(book.state(b"anna", at(27)), State::Wrapup);
    book.tick(at(28));
    assert_eq!(states(&mut book), ["ready"]);
    offer(&mut book, 3, false, Gate::Queue);
    note(&mut book, 3, Some(Doing::Talking), 30);
    note(&mut book, 3, None, 31);
    assert_eq!(states(&mut book), ["ringing", "in_use", "ready"]);
}

#[test]
fn wrap_up_goes_by_the_queue_that_called_and_a_users_own_stands_before_it() {
    let mut policy = policy();
    let queue = Queue { wrapup: Some(Duration::from_secs(20)), ..Queue::default() };
    policy.queues.insert("q700".into(), queue);
    for (own, expected) in [(None, 20), (Some(Duration::from_secs(3)), 3)] {
        policy.people.insert(anna(), Person { wrapup: own, ..Person::default() });
        let mut book = registered();
        offer(&mut book, 1, true, Gate::Queue);
        for doing in [Some(Doing::Talking), None] {
            book.note(&anna(), Note { key: CallKey(1), doing, queue: None, is_own: false }, &policy, at(50));
        }
        book.tick(at(50 + expected - 1));
        assert_eq!(book.state(b"anna", at(50 + expected - 1)), State::Wrapup);
        assert_eq!(book.state(b"anna", at(50 + expected)), State::Ready);
    }
}

#[test]
fn a_call_that_nobody_took_is_not_wrapped_up() {
    let mut book = registered();
    offer(&mut book, 1, true, Gate::Queue);
    note(&mut book, 1, None, 20);
    assert_eq!(book.state(b"anna", at(20)), State::Ready);
}

#[test]
fn saying_ready_ends_a_wrap_up_and_saying_not_ready_keeps_queues_away() {
    let mut book = registered();
    offer(&mut book, 1, true, Gate::Queue);
    note(&mut book, 1, Some(Doing::Talking), 11);
    note(&mut book, 1, None, 20);
    says(&mut book, Intent::Ready, 21);
    assert_eq!(book.state(b"anna", at(21)), State::Ready);
    says(&mut book, Intent::NotReady("lunch".into()), 22);
    assert!(!offer(&mut book, 2, true, Gate::Queue));
    assert!(offer(&mut book, 3, false, Gate::All), "a person may still call her");
    book.tick(at(1_000));
    assert!(book.wrapups.is_empty());
}

#[test]
fn two_calls_are_in_use_until_the_last_one_ends() {
    let mut book = registered();
    note(&mut book, 1, Some(Doing::Talking), 2);
    offer(&mut book, 2, false, Gate::Queue);
    note(&mut book, 2, Some(Doing::Talking), 3);
    note(&mut book, 1, None, 4);
    assert_eq!(book.state(b"anna", at(4)), State::InUse);
    note(&mut book, 2, None, 5);
    assert_eq!(book.state(b"anna", at(5)), State::Ready);
}

#[test]
fn a_call_on_hold_is_told_and_a_second_one_stands_before_it() {
    let mut book = registered();
    offer(&mut book, 1, true, Gate::Queue);
    for (doing, secs) in [(Doing::Talking, 11), (Doing::Holding, 12), (Doing::Talking, 13), (Doing::Holding, 14)] {
        note(&mut book, 1, Some(doing), secs);
    }
    assert_eq!(states(&mut book), ["ready", "ringing", "in_use", "on_hold", "in_use", "on_hold"]);
    assert!(!offer(&mut book, 2, true, Gate::Queue));
    assert!(offer(&mut book, 3, false, Gate::Queue), "call waiting");
    note(&mut book, 3, Some(Doing::Talking), 15);
    note(&mut book, 3, None, 16);
    note(&mut book, 1, None, 17);
    assert_eq!(states(&mut book), ["ringing", "in_use", "on_hold", "wrapup"]);
}

#[test]
fn nobody_is_remembered_for_nothing_but_what_he_did_last() {
    let mut book = registered();
    note(&mut book, 9, None, 2);
    book.set_registered(&anna(), false, at(3));
    assert_eq!(states(&mut book), ["ready", "unavailable"]);
    assert_eq!(book.iter().count(), 0);
    assert_eq!(book.find(b"anna").unwrap().history().iter().count(), 2);
    for number in 0..GONE_MAX {
        let other = aor(&number.to_string());
        book.set_registered(&other, true, at(4));
        book.set_registered(&other, false, at(5));
    }
    assert!(book.find(b"anna").is_none(), "so many came after her");
    assert_eq!((book.agents.len(), book.gone.len()), (GONE_MAX, GONE_MAX));
    book.set_registered(&aor("7"), true, at(6));
    assert_eq!((book.iter().count(), book.gone.len()), (1, GONE_MAX - 1));
}

#[test]
fn an_agent_whose_registration_ran_out_is_in_use_until_he_hangs_up() {
    let mut book = registered();
    offer(&mut book, 1, false, Gate::Queue);
    note(&mut book, 1, Some(Doing::Talking), 11);
    book.set_registered(&anna(), false, at(12));
    assert_eq!(book.state(b"anna", at(12)), State::InUse);
    note(&mut book, 1, None, 13);
    assert_eq!(book.state(b"anna", at(13)), State::Unavailable);
}

#[test]
fn the_history_tells_why_he_is_what_he_is() {
    let mut book = registered();
    offer(&mut book, 1, true, Gate::Queue);
    note(&mut book, 1, Some(Doing::Talking), 11);
    says(&mut book, Intent::NotReady("lunch".into()), 12);
    note(&mut book, 1, None, 20);
    book.tick(at(28));
    says(&mut book, Intent::NotReady("training".into()), 30);
    says(&mut book, Intent::NotReady("training".into()), 31);
    book.set_intent(&anna(), Intent::Ready, Cause::SupervisorsWord, at(32));
    let own = Note { key: CallKey(2), doing: Some(Doing::Talking), queue: None, is_own: true };
    book.note(&anna(), own, &policy(), at(33));
    let line = |entry: &Entry| {
        let secs = entry.at.since(Moment::ZERO).as_secs();
        let text = entry.text.as_deref().unwrap_or("-");
        format!("{secs} {} -> {}: {} {text}", entry.from.as_str(), entry.to.as_str(), entry.cause.as_str())
    };
    let lines: Vec<String> = book.find(b"anna").unwrap().history().iter().map(line).collect();
    assert_eq!(
        lines,
        [
            "1 unavailable -> ready: registered -",
            "10 ready -> ringing: queue_call q700",
            "11 ringing -> in_use: answered q700",
            "20 in_use -> wrapup: call_ended q700",
            "28 wrapup -> not_ready: wrapup_ended lunch",
            "30 not_ready -> not_ready: own_word training",
            "32 not_ready -> ready: supervisors_word -",
            "33 ready -> in_use: own_call -",
        ]
    );
}

/// Anna has been free since 1, bert since 2, carl since 3.
fn three() -> Book {
    let mut book = registered();
    book.set_registered(&aor("bert"), true, at(2));
    book.set_registered(&aor("carl"), true, at(3));
    let skill = |name: &str| (aor(name), vec!["sales".into()]);
    book.set_skills([skill("bert"), skill("carl")].into());
    book
}

fn reserve(book: &mut Book, skills: &[&str], token: u64, secs: u64) -> String {
    let wanted = Wanted { skills, queue: Some("q700"), hold: Duration::from_secs(10), token };
    book.reserve(wanted, at(secs)).map_or_else(|| "nobody".to_owned(), |aor| aor.to_string())
}

fn with_token(aor: &Aor, key: u128, token: u64) -> Offer<'_> {
    Offer { reservation: Some(token), ..offered(aor, key, None, Gate::Queue) }
}

#[test]
fn of_two_that_want_an_agent_at_the_same_moment_each_gets_another_one() {
    let mut book = three();
    assert_eq!(reserve(&mut book, &["sales"], 7, 20), "bert");
    assert_eq!(reserve(&mut book, &["sales"], 8, 20), "carl");
    assert_eq!(reserve(&mut book, &["sales"], 9, 20), "nobody");
    assert_eq!(reserve(&mut book, &[], 9, 20), "anna");
    assert_eq!(reserve(&mut book, &["french"], 9, 20), "nobody");
    let counts = book.reservations();
    assert_eq!((counts.made, counts.refused), (3, 2));
}

#[test]
fn who_is_reserved_is_free_for_the_call_that_shows_the_token_and_for_no_queue_else() {
    let mut book = three();
    let bert = aor("bert");
    assert_eq!(reserve(&mut book, &["sales"], 7, 20), "bert");
    assert_eq!(book.state(b"bert", at(20)), State::Ringing);
    assert!(!book.offer(offered(&bert, 1, Some("q700"), Gate::Queue), at(21)));
    assert!(!book.offer(Offer { queue: Some(b"q"), ..with_token(&bert, 2, 8) }, at(21)), "a wrong token");
    assert!(book.offer(with_token(&bert, 3, 7), at(22)));
    assert!(book.find(b"bert").unwrap().reserved_until().is_none());
    for doing in [Some(Doing::Talking), None] {
        book.note(&bert, Note { key: CallKey(3), doing, queue: None, is_own: false }, &policy(), at(30));
    }
    assert_eq!(book.reservations().used, 1);
}

#[test]
fn whom_another_edge_holds_is_free_for_its_call_alone_until_that_came() {
    let (mut book, bert) = (three(), aor("bert"));
    let heard = |token| Held { token, ends: at(25), queue: Some("q700") };
    book.hear_reservation(&bert, heard(7), at(20));
    assert_eq!(book.state(b"bert", at(20)), State::Ringing);
    assert_eq!(reserve(&mut book, &["sales"], 8, 20), "carl");
    book.hear_used(&bert, 8, at(21));
    assert_eq!(book.state(b"bert", at(21)), State::Ringing, "another one's call");
    assert!(book.would_take(with_token(&bert, 3, 7), at(22)));
    book.hear_used(&bert, 7, at(22));
    assert_eq!(book.state(b"bert", at(22)), State::Ready);
    book.hear_reservation(&bert, heard(9), at(23));
    book.tick(at(25));
    assert_eq!(book.state(b"bert", at(25)), State::Ready, "it ends by itself");
    assert_eq!(book.reservations().made, 1, "carl");
}

#[test]
fn who_was_held_elsewhere_first_stays_held_for_a_moment() {
    let mut book = three();
    assert_eq!(reserve(&mut book, &["sales"], 7, 20), "bert");
    book.lose_reservation(&aor("bert"), at(20));
    assert_eq!(reserve(&mut book, &["sales"], 8, 20), "carl");
    book.tick(at(21));
    assert_eq!(book.state(b"bert", at(21)), State::Ready);
    assert_eq!((book.reservations().made, book.reservations.len()), (1, 1));
}

#[test]
fn who_was_held_here_and_then_elsewhere_for_nothing_keeps_his_place_in_the_line() {
    let mut book = three();
    assert_eq!(reserve(&mut book, &[], 7, 20), "anna");
    book.lose_reservation(&anna(), at(20));
    book.hear_reservation(&anna(), Held { token: 8, ends: at(25), queue: None }, at(20));
    book.tick(at(25));
    assert_eq!(reserve(&mut book, &[], 9, 26), "anna");
}

#[test]
fn a_call_that_was_reserved_for_is_one_of_a_queue() {
    let mut book = registered();
    assert_eq!(reserve(&mut book, &[], 7, 20), "anna");
    assert!(book.offer(with_token(&anna(), 3, 7), at(22)));
    note(&mut book, 3, Some(Doing::Talking), 23);
    note(&mut book, 3, None, 30);
    assert_eq!(states(&mut book), ["ready", "ringing", "in_use", "wrapup"]);
    assert!(!book.offer(Offer { queue: Some(b"q"), ..with_token(&anna(), 4, 7) }, at(31)), "it holds once");
}

#[test]
fn a_reservation_that_nobody_uses_ends_and_costs_him_no_place_in_the_line() {
    let mut book = three();
    assert_eq!(reserve(&mut book, &[], 7, 20), "anna");
    book.tick(at(29));
    assert_eq!(book.state(b"anna", at(29)), State::Ringing);
    book.tick(at(30));
    assert_eq!(book.state(b"anna", at(30)), State::Ready);
    assert!(book.reservations.is_empty());
    assert_eq!((book.reservations().expired, reserve(&mut book, &[], 8, 31).as_str()), (1, "anna"));
    assert!(
        !book.offer(Offer { queue: Some(b"q700"), ..with_token(&anna(), 1, 7) }, at(32)),
        "the first token is worth nothing"
    );
}

#[test]
fn who_was_away_meanwhile_stands_at_the_end_of_the_line() {
    let mut book = three();
    assert_eq!(reserve(&mut book, &[], 7, 20), "anna");
    says(&mut book, Intent::NotReady("lunch".into()), 21);
    says(&mut book, Intent::Ready, 22);
    let line = [8, 9, 10, 11].map(|token| reserve(&mut book, &[], token, 23));
    assert_eq!(line, ["bert", "carl", "anna", "nobody"]);
}

#[test]
fn nobody_is_held_for_longer_than_a_minute() {
    let mut book = registered();
    let wanted = Wanted { skills: &[], queue: None, hold: Duration::from_secs(3_600), token: 7 };
    book.reserve(wanted, at(20)).unwrap();
    assert_eq!(book.find(b"anna").unwrap().reserved_until(), Some(at(80)));
}

#[test]
fn who_says_not_ready_or_leaves_is_reserved_no_longer() {
    let mut book = registered();
    assert_eq!(reserve(&mut book, &[], 7, 20), "anna");
    says(&mut book, Intent::NotReady("lunch".into()), 21);
    assert_eq!(book.state(b"anna", at(21)), State::NotReady);
    assert!(!book.offer(Offer { queue: Some(b"q700"), ..with_token(&anna(), 1, 7) }, at(22)));
    says(&mut book, Intent::Ready, 23);
    assert_eq!(reserve(&mut book, &[], 8, 24), "anna");
    book.set_registered(&anna(), false, at(25));
    assert_eq!(reserve(&mut book, &[], 9, 26), "nobody");
    assert_eq!((book.reservations().withdrawn, book.reservations.len()), (2, 0));
}

#[test]
fn a_person_who_calls_meanwhile_comes_first_and_the_reserved_call_is_refused() {
    let mut book = registered();
    assert_eq!(reserve(&mut book, &[], 7, 20), "anna");
    assert!(book.offer(offered(&anna(), 1, None, Gate::Queue), at(21)));
    assert!(!book.offer(with_token(&anna(), 2, 7), at(22)));
    book.take_back(&anna(), CallKey(1), at(23));
    assert!(book.offer(with_token(&anna(), 2, 7), at(24)), "his caller gave up in time");
}

#[test]
fn choosing_one_of_ten_thousand_is_no_search() {
    let mut book = Book::default();
    let names: Vec<Aor> = (0..10_000).map(|number| aor(&format!("{number:05}"))).collect();
    book.set_skills(names.iter().map(|name| (name.clone(), vec!["sales".into()])).collect());
    names.iter().for_each(|name| book.set_registered(name, true, at(1)));
    let began = std::time::Instant::now();
    let chosen: Vec<String> = (0..10_000).map(|token| reserve(&mut book, &["sales"], token, 2)).collect();
    println!("{:?} for each of 10000 reservations", began.elapsed() / 10_000);
    assert!(chosen.iter().zip(&names).all(|(chosen, name)| *chosen == name.to_string()), "by name, all idle as long");
    assert_eq!(reserve(&mut book, &[], 0, 2), "nobody");
}
