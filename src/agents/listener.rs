//! What one node has still to hear of agents, and when.
//!
//! Those who changed go before those who are only told again. One message is on its way for each agent, so a node that deals with
//! messages in their order ends with the last state. A node that refuses, or is silent, is asked again after a pause that grows: one that
//! starts refuses for a second, one without the module for ever.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::calls::errand::{T1, T2};
use crate::moment::Moment;
use crate::registrar::Aor;

/// Messages on their way to one node at a time.
const WINDOW: usize = 64;
/// How long a node that refuses is left alone at first, and at most. Each pause is twice the one before.
const PAUSE_FIRST: Duration = Duration::from_millis(250);
const PAUSE_LONGEST: Duration = Duration::from_secs(60);
/// A node that is left alone for so long does not refuse because it starts.
const PAUSE_LASTING: Duration = Duration::from_secs(1);
/// After this a message is given up (Timer F of RFC 3261 section 17.1.2.2).
const GIVE_UP: Duration = Duration::from_secs(32);

/// One node that listens.
pub struct Listener {
    /// Whose state changed, and when.
    changed: BTreeMap<Aor, Moment>,
    /// Who is told again.
    owed: BTreeSet<Aor>,
    on_the_way: Vec<Message>,
    cseq: u32,
    is_up: bool,
    tell_all_at: Moment,
    refusal: Option<Refusal>,
}

/// A node that did not take the last message.
struct Refusal {
    pause: Duration,
    until: Moment,
}

/// One PUBLISH that is not answered yet.
struct Message {
    cseq: u32,
    aor: Aor,
    octets: Vec<u8>,
    /// When the state changed, if that is why it is sent.
    changed: Option<Moment>,
    sent: Moment,
    again: Moment,
    pause: Duration,
}

/// Somebody of whom a node is told next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Next {
    /// The agent.
    pub aor: Aor,
    /// The number of the message.
    pub cseq: u32,
    changed: Option<Moment>,
}

/// What an answer meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The node knows. Since when there was something to know, when it was a change.
    Taken(Option<Moment>),
    /// It did not take it, and is asked again later. A node that starts refuses for a moment; this one may have for longer.
    Refused {
        /// It has refused ever since it was asked for about a second.
        is_lasting: bool,
    },
}

impl Listener {
    /// A node of which nothing is known. `first` is a number for the first message: branches are made from it, and a node takes one that
    /// it saw within half a minute, from an edge that was killed since, for a repetition.
    pub fn new(first: u32) -> Self {
        Listener {
            changed: BTreeMap::new(),
            owed: BTreeSet::new(),
            on_the_way: Vec::new(),
            // CSeq stays below 2^31 (RFC 3261 section 8.1.1.5), for a billion messages more.
            cseq: first >> 2,
            is_up: false,
            tell_all_at: Moment::ZERO,
            refusal: None,
        }
    }

    /// True while there is something to do that an answer or a moment decides.
    pub fn is_busy(&self) -> bool {
        !self.on_the_way.is_empty() || !self.owed.is_empty() || !self.changed.is_empty()
    }

    /// Notes whether the node is up. True when it is to hear everything: it is back, or has not heard everything for a while.
    pub fn look(&mut self, is_up: bool, now: Moment) -> bool {
        let is_back = is_up && !self.is_up;
        self.is_up = is_up;
        if !is_up {
            self.owed.clear();
            self.changed.clear();
            self.on_the_way.clear();
        }
        if is_back {
            self.refusal = None;
        }
        is_back || (is_up && self.tell_all_at <= now)
    }

    /// The node asked for everything: it has just started and knows nothing. What was sent before it could hear is sent again at once.
    pub fn ask(&mut self, now: Moment) {
        self.refusal = None;
        for message in &mut self.on_the_way {
            (message.sent, message.again, message.pause) = (now, now, T1);
        }
    }

    /// An agent's state changed.
    pub fn change(&mut self, aor: &Aor, since: Moment) {
        self.owed.remove(aor);
        self.changed.entry(aor.clone()).or_insert(since);
    }

    /// Everybody is to be told again, and then not before `again`; of those who changed it is known already.
    pub fn owe(&mut self, everybody: BTreeSet<Aor>, again: Moment) {
        self.tell_all_at = again;
        self.owed.extend(everybody.into_iter().filter(|aor| !self.changed.contains_key(aor)));
    }

    /// Takes in a final answer; `None` when it is none to a message on its way.
    pub fn answer(&mut self, cseq: u32, code: u16, now: Moment) -> Option<Answer> {
        let at = self.on_the_way.iter().position(|message| message.cseq == cseq)?;
        let message = self.on_the_way.swap_remove(at);
        if code < 300 {
            self.refusal = None;
            return Some(Answer::Taken(message.changed));
        }
        self.refuse(message, now);
        let is_lasting = self.refusal.as_ref().is_some_and(|refusal| refusal.pause >= PAUSE_LASTING);
        Some(Answer::Refused { is_lasting })
    }

    /// It will hear of it again, but not at once. What changed meanwhile goes on being a change.
    fn refuse(&mut self, message: Message, now: Moment) {
        let pause = match &self.refusal {
            // Others that were on their way with the one that was refused first tell nothing new.
            Some(refusal) if refusal.until > now => refusal.pause,
            Some(refusal) => (refusal.pause * 2).min(PAUSE_LONGEST),
            None => PAUSE_FIRST,
        };
        self.refusal = Some(Refusal { pause, until: now + pause });
        match message.changed {
            Some(since) => drop(self.changed.entry(message.aor).or_insert(since)),
            None if self.changed.contains_key(&message.aor) => {}
            None => drop(self.owed.insert(message.aor)),
        }
    }

    /// Whom to tell of next; the caller sends each and says so by [`sent`](Self::sent). A node that refused gets one message to show
    /// whether it still does.
    pub fn next(&mut self, now: Moment) -> Vec<Next> {
        let window = match &self.refusal {
            Some(refusal) if refusal.until > now => 0,
            Some(_) => 1,
            None => WINDOW,
        };
        let room = window.saturating_sub(self.on_the_way.len());
        let changed = self.changed.iter().map(|(aor, since)| (aor, Some(*since)));
        let all = changed.chain(self.owed.iter().map(|aor| (aor, None)));
        let free = all.filter(|(aor, _)| !self.is_on_the_way(aor)).take(room);
        let list: Vec<_> = free.map(|(aor, changed)| (aor.clone(), changed)).collect();
        let number = |(aor, changed)| {
            self.changed.remove(&aor);
            self.owed.remove(&aor);
            self.cseq += 1;
            Next { aor, cseq: self.cseq, changed }
        };
        list.into_iter().map(number).collect()
    }

    /// A message is on its way.
    pub fn sent(&mut self, next: Next, octets: Vec<u8>, now: Moment) {
        let Next { aor, cseq, changed } = next;
        let message = Message { cseq, aor, octets, changed, sent: now, again: now + T1, pause: T1 * 2 };
        self.on_the_way.push(message);
    }

    fn is_on_the_way(&self, aor: &Aor) -> bool {
        self.on_the_way.iter().any(|message| message.aor == *aor)
    }

    /// Gives up what was not answered for too long; it is owed again. Returns how many messages that were.
    pub fn give_up(&mut self, now: Moment) -> usize {
        let is_over = |message: &Message| now.since(message.sent) >= GIVE_UP;
        let (over, kept): (Vec<_>, Vec<_>) = std::mem::take(&mut self.on_the_way).into_iter().partition(is_over);
        self.on_the_way = kept;
        let given_up = over.len();
        over.into_iter().for_each(|message| self.refuse(message, now));
        given_up
    }

    /// Messages of which another copy is due, for a protocol that may lose one (RFC 3261 section 17.1.2.2).
    pub fn repeat(&mut self, now: Moment) -> impl Iterator<Item = &[u8]> {
        let due = self.on_the_way.iter_mut().filter(move |message| message.again <= now);
        due.map(move |message| {
            (message.again, message.pause) = (now + message.pause, (message.pause * 2).min(T2));
            message.octets.as_slice()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEVER: Moment = Moment::NEVER;

    fn aor(user: &str) -> Aor {
        Aor::from_user(user.as_bytes()).unwrap()
    }

    fn at(millis: u64) -> Moment {
        Moment::ZERO + Duration::from_millis(millis)
    }

    fn all(users: &[&str]) -> BTreeSet<Aor> {
        users.iter().map(|user| aor(user)).collect()
    }

    /// A node that is up and has heard everything.
    fn content() -> Listener {
        let mut node = Listener::new(0);
        assert!(node.look(true, at(0)));
        node.owe(BTreeSet::new(), NEVER);
        node
    }

    /// Sends whatever is next; says of whom, with numbers.
    fn send(node: &mut Listener, now: Moment) -> Vec<(String, u32)> {
        let list = node.next(now);
        let told = |next: &Next| (String::from_utf8_lossy(next.aor.as_bytes()).into_owned(), next.cseq);
        let names = list.iter().map(told).collect();
        list.into_iter().for_each(|next| node.sent(next, b"PUBLISH".to_vec(), now));
        names
    }

    fn named(list: &[(&str, u32)]) -> Vec<(String, u32)> {
        list.iter().map(|(user, cseq)| ((*user).to_owned(), *cseq)).collect()
    }

    #[test]
    fn who_changed_is_told_before_the_others() {
        let mut node = content();
        node.owe(all(&["1001", "1002", "1003"]), NEVER);
        node.change(&aor("1003"), at(5));
        assert_eq!(send(&mut node, at(5)), named(&[("1003", 1), ("1001", 2), ("1002", 3)]));
        assert_eq!(node.answer(1, 200, at(6)), Some(Answer::Taken(Some(at(5)))));
        assert_eq!(node.answer(2, 200, at(6)), Some(Answer::Taken(None)));
        assert_eq!(node.answer(2, 200, at(7)), None, "a repeated answer");
    }

    #[test]
    fn one_message_is_on_its_way_for_an_agent_at_a_time() {
        let mut node = content();
        node.change(&aor("1001"), at(0));
        assert_eq!(send(&mut node, at(0)), named(&[("1001", 1)]));
        node.change(&aor("1001"), at(1));
        assert!(send(&mut node, at(1)).is_empty());
        node.answer(1, 200, at(2));
        assert_eq!(send(&mut node, at(2)), named(&[("1001", 2)]));
    }

    #[test]
    fn a_message_is_repeated_ever_more_seldom_and_given_up_after_32_seconds() {
        let mut node = content();
        node.change(&aor("1001"), at(0));
        send(&mut node, at(0));
        let copies: Vec<u64> = (0..31_900).filter(|millis| node.repeat(at(*millis)).count() == 1).collect();
        assert_eq!(copies, [500, 1_500, 3_500, 7_500, 11_500, 15_500, 19_500, 23_500, 27_500, 31_500]);
        assert_eq!((node.give_up(at(31_999)), node.give_up(at(32_000))), (0, 1));
        assert!(send(&mut node, at(32_000)).is_empty());
        assert_eq!(send(&mut node, at(32_250)), named(&[("1001", 2)]));
    }

    #[test]
    fn a_node_that_refuses_while_it_starts_is_asked_again_a_moment_later() {
        let mut node = content();
        node.owe(all(&["1001", "1002"]), NEVER);
        send(&mut node, at(0));
        assert_eq!(node.answer(1, 489, at(1)), Some(Answer::Refused { is_lasting: false }));
        assert_eq!(node.answer(2, 489, at(2)), Some(Answer::Refused { is_lasting: false }));
        assert!(send(&mut node, at(250)).is_empty());
        assert_eq!(send(&mut node, at(252)), named(&[("1001", 3)]), "one shows whether it still refuses");
        node.answer(3, 200, at(260));
        assert_eq!(send(&mut node, at(260)), named(&[("1002", 4)]));
    }

    #[test]
    fn a_node_that_refuses_for_ever_is_asked_once_a_minute() {
        let mut node = content();
        node.change(&aor("1001"), at(0));
        let (mut asked, mut lasting) = (Vec::new(), Vec::new());
        for millis in (0..400_000).step_by(50) {
            for (_, cseq) in send(&mut node, at(millis)) {
                asked.push(millis);
                let answer = node.answer(cseq, 404, at(millis));
                lasting.push(answer == Some(Answer::Refused { is_lasting: true }));
            }
        }
        let pauses: Vec<u64> = asked.windows(2).map(|two| two[1] - two[0]).collect();
        assert_eq!(
            pauses,
            [250, 500, 1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000, 60_000, 60_000, 60_000]
        );
    }

    #[test]
    fn a_change_that_was_refused_is_still_a_change() {
        let mut node = content();
        node.change(&aor("1002"), at(0));
        send(&mut node, at(0));
        node.answer(1, 503, at(10));
        node.owe(all(&["1001"]), NEVER);
        assert_eq!(send(&mut node, at(300)), named(&[("1002", 2)]));
        assert_eq!(node.answer(2, 200, at(310)), Some(Answer::Taken(Some(at(0)))));
    }

    #[test]
    fn a_node_that_asks_is_told_at_once_whatever_it_did_before() {
        let mut node = content();
        node.change(&aor("1001"), at(0));
        send(&mut node, at(0));
        assert_eq!(node.give_up(at(32_000)), 1);
        node.ask(at(32_001));
        node.owe(all(&["1001", "1002"]), NEVER);
        assert_eq!(send(&mut node, at(32_001)), named(&[("1001", 2), ("1002", 3)]));
    }

    #[test]
    fn what_went_to_a_node_before_it_started_anew_is_repeated_when_it_asks_and_then_told_again() {
        let mut node = content();
        node.change(&aor("1001"), at(0));
        send(&mut node, at(0));
        [500, 1_500].iter().for_each(|millis| assert_eq!(node.repeat(at(*millis)).count(), 1));
        node.ask(at(1_600));
        node.owe(all(&["1001"]), NEVER);
        assert_eq!(node.repeat(at(1_600)).count(), 1);
        node.answer(1, 200, at(1_601));
        assert_eq!(send(&mut node, at(1_601)), named(&[("1001", 2)]));
    }

    #[test]
    fn a_node_that_comes_back_hears_everything_even_if_it_refused_before() {
        let mut node = content();
        node.change(&aor("1001"), at(0));
        send(&mut node, at(0));
        node.answer(1, 489, at(1));
        assert!(!node.look(false, at(2)));
        assert!(!node.is_busy(), "a node that is down is told nothing");
        assert!(node.look(true, at(3)));
        node.owe(all(&["1001"]), at(60_000));
        assert_eq!(send(&mut node, at(3)), named(&[("1001", 2)]));
        assert!(!node.look(true, at(59_999)));
        assert!(node.look(true, at(60_000)), "and once a minute");
    }

    #[test]
    fn a_window_of_messages_is_on_its_way() {
        let mut node = content();
        let users: Vec<String> = (0..200).map(|number| format!("{number:04}")).collect();
        node.owe(users.iter().map(|user| aor(user)).collect(), NEVER);
        assert_eq!(send(&mut node, at(0)).len(), WINDOW);
        assert!(send(&mut node, at(1)).is_empty());
        node.answer(1, 200, at(2));
        assert_eq!(send(&mut node, at(2)).len(), 1);
    }
}
