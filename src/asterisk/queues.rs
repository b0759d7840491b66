//! What a node is told of a queue, in its `queues.conf` or when it asks. Pure.

use crate::registrar::{Aor, Member, Queue, Realtime};

/// What is the same of all queues, unless a queue says it otherwise, with the reason.
const STANDARD: [(&str, &str, &str); 9] = [
    ("strategy", "rrmemory", ""),
    ("timeout", "15", ""),
    ("retry", "1", ""),
    ("ringinuse", "no", "needs the fourth part of each member: the state that the edge tells"),
    ("joinempty", "paused,invalid", "callers may wait for agents to register"),
    ("leavewhenempty", "no", ""),
    ("autopause", "yes", "only for who lets it ring"),
    ("autopausebusy", "no", ""),
    ("autopauseunavail", "no", ""),
];

/// Where nodes ask for members a queue has none while the edge is away, and its callers shall wait.
const JOIN_EMPTY_QUEUES: (&str, &str) = ("yes", "callers may wait for the edge: without it there are no members");

/// The options that every queue has, each with its reason, which may be empty.
pub fn standard(realtime: Realtime) -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
    let asks = realtime != Realtime::Off;
    STANDARD.into_iter().map(move |(name, value, why)| match name {
        "joinempty" if asks => (name, JOIN_EMPTY_QUEUES.0, JOIN_EMPTY_QUEUES.1),
        _ => (name, value, why),
    })
}

/// The options of one queue that is asked for: the standard ones, but for those that it says otherwise.
pub fn options(queue: &Queue, realtime: Realtime) -> Vec<(&str, &str)> {
    let is_said = |name: &str| queue.options.iter().any(|(own, _)| **own == *name);
    let standard = standard(realtime).map(|(name, value, _)| (name, value)).filter(|(name, _)| !is_said(name));
    // autofill is no option of one queue's section alone: queues.conf has it under [general].
    let general = [("autofill", "yes")].into_iter().filter(|(name, _)| !is_said(name));
    general.chain(standard).chain(queue.options.iter().map(|(name, value)| (&**name, &**value))).collect()
}

/// How a queue reaches a member.
pub fn interface(user: &Aor) -> String {
    format!("Local/{}@edge-agent/n", name(user))
}

/// Where a queue reads what a member is doing.
pub fn state_interface(user: &Aor) -> String {
    format!("Custom:{}", name(user))
}

/// What a member is called.
pub fn name(user: &Aor) -> String {
    String::from_utf8_lossy(user.as_bytes()).into_owned()
}

/// A member as a line of `queues.conf`.
pub fn member_line(member: &Member) -> String {
    let (user, penalty) = (&member.user, member.penalty);
    format!("member => {},{penalty},{},{}", interface(user), name(user), state_interface(user))
}

/// The number that callers dial for a queue: 700 for `q700`, else its name.
pub fn number(queue: &str) -> &str {
    match queue.strip_prefix('q') {
        Some(digits) if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) => digits,
        _ => queue,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_queue_says_goes_before_what_all_have() {
        let own = vec![("timeout".into(), "20".into()), ("announce-position".into(), "yes".into())];
        let queue = Queue { options: own, ..Queue::default() };
        let told = options(&queue, Realtime::Off);
        let of = |name: &str| told.iter().filter(|(own, _)| *own == name).map(|(_, v)| *v).collect::<Vec<_>>();
        assert_eq!(of("timeout"), ["20"]);
        assert_eq!((of("retry"), of("announce-position")), (vec!["1"], vec!["yes"]));
        assert_eq!(of("joinempty"), ["paused,invalid"]);
        assert!(options(&queue, Realtime::Members).contains(&("joinempty", "yes")));
    }

    #[test]
    fn the_number_of_a_queue_is_that_in_its_name() {
        assert_eq!([number("q700"), number("sales"), number("q"), number("q7a")], ["700", "sales", "q", "q7a"]);
    }
}
