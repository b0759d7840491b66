//! Realtime over HTTP (`res_config_curl`): a node asks for its queues and their members. Pure.
//!
//! | a node asks | it hears |
//! |---|---|
//! | `queues/single` with `name=q700` | one line `name=q700&strategy=rrmemory&...`; nothing when there is no such queue |
//! | `queue_members/multi` with `interface LIKE=%&queue_name=q700` | a line for each member |
//! | `update`, `store`, `destroy` | `0` rows: nothing is changed from a node |
//! | `require` | `0`: nothing is missing |
//!
//! To a node nothing is "no such queue", whatever the code of the answer, and what stands in the body of a refusal would be a row. So an
//! answer that is not an answer has a code that says so and no body.
//!
//! A row has no column `paused`. With one, each look would undo what a node's own pause or `autopause` did; whom no queue shall
//! ring on any node is not ready.

use std::collections::BTreeMap;

use crate::registrar::{AgentPolicy, Member, Queue};
use crate::sip::pattern::Pattern;

use super::queues;

/// Conditions of one question.
const CONDITIONS_MAX: usize = 32;

/// What a node is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Lines of rows, or a number of them.
    Found(String),
    /// There is no such table or operation.
    Unknown,
    /// The question cannot be understood.
    Bad,
}

/// Columns and values, in the order in which they are told.
type Row = Vec<(String, String)>;

/// Answers a question: the table, the operation, and the form that came with it.
pub fn answer(policy: &AgentPolicy, table: &str, operation: &str, form: &[u8]) -> Answer {
    if !matches!(table, "queues" | "queue_members") {
        return Answer::Unknown;
    }
    match operation {
        "single" | "multi" => {
            let Some(conditions) = conditions(form) else { return Answer::Bad };
            let rows = if table == "queues" { queues(policy, &conditions) } else { members(policy, &conditions) };
            let most = if operation == "single" { 1 } else { usize::MAX };
            Answer::Found(rows.take(most).map(|row| line(&row)).collect())
        }
        "update" | "store" | "destroy" | "require" => Answer::Found("0".to_owned()),
        _ => Answer::Unknown,
    }
}

fn queues<'p>(policy: &'p AgentPolicy, conditions: &'p [Condition]) -> Box<dyn Iterator<Item = Row> + 'p> {
    let rows = named(&policy.queues, conditions, "name").map(|(name, queue)| {
        let options = queues::options(queue, policy.realtime).into_iter();
        let pairs = [("name", name)].into_iter().chain(options);
        pairs.map(|(column, value)| (column.to_owned(), value.to_owned())).collect()
    });
    Box::new(rows.filter(|row| fits(row, conditions)))
}

fn members<'p>(policy: &'p AgentPolicy, conditions: &'p [Condition]) -> Box<dyn Iterator<Item = Row> + 'p> {
    let rows = named(&policy.queues, conditions, "queue_name")
        .flat_map(|(name, queue)| queue.members.iter().map(move |member| member_row(name, member)));
    Box::new(rows.filter(|row| fits(row, conditions)))
}

/// The queues that may fit: the one that is named by its column, else all.
fn named<'p>(
    queues: &'p BTreeMap<Box<str>, Queue>,
    conditions: &[Condition],
    column: &str,
) -> impl Iterator<Item = (&'p str, &'p Queue)> {
    let is_name = |asked: &&Condition| asked.column == column && matches!(asked.operator, Operator::Equal);
    let name = conditions.iter().find(is_name);
    let one = name.map(|condition| queues.get_key_value(condition.value.as_str()));
    let all = name.is_none().then(|| queues.iter());
    one.flatten().into_iter().chain(all.into_iter().flatten()).map(|(name, queue)| (&**name, queue))
}

fn member_row(queue: &str, member: &Member) -> Row {
    let name = queues::name(&member.user);
    let pair = |column: &str, value: String| (column.to_owned(), value);
    vec![
        pair("uniqueid", format!("{queue}.{name}")),
        pair("queue_name", queue.to_owned()),
        pair("interface", queues::interface(&member.user)),
        pair("membername", name),
        pair("state_interface", queues::state_interface(&member.user)),
        pair("penalty", member.penalty.to_string()),
    ]
}

/// What is asked of a column.
#[derive(Clone, Debug)]
struct Condition {
    column: String,
    operator: Operator,
    value: String,
}

/// How. It stands behind the column's name, with a blank between them.
#[derive(Clone, Copy, Debug)]
enum Operator {
    Equal,
    Different,
    Like,
    Compared(fn(std::cmp::Ordering) -> bool),
}

impl Operator {
    fn of(word: &str) -> Option<Self> {
        Some(match word {
            "" | "=" => Operator::Equal,
            "!=" | "<>" => Operator::Different,
            "<" => Operator::Compared(std::cmp::Ordering::is_lt),
            "<=" => Operator::Compared(std::cmp::Ordering::is_le),
            ">" => Operator::Compared(std::cmp::Ordering::is_gt),
            ">=" => Operator::Compared(std::cmp::Ordering::is_ge),
            word if word.eq_ignore_ascii_case("LIKE") => Operator::Like,
            _ => return None,
        })
    }
}

impl Condition {
    fn fits(&self, value: &str) -> bool {
        match self.operator {
            Operator::Equal => value == self.value,
            Operator::Different => value != self.value,
            // As in SQL, `%` is any run of characters and `_` any one.
            Operator::Like => Pattern::new(&self.value.replace('%', "*").replace('_', "?")).matches(value.as_bytes()),
            Operator::Compared(holds) => match (value.parse::<i64>(), self.value.parse::<i64>()) {
                (Ok(value), Ok(other)) => holds(value.cmp(&other)),
                _ => holds(value.cmp(self.value.as_str())),
            },
        }
    }
}

/// A column that the table does not have fits nothing, as NULL does.
fn fits(row: &Row, conditions: &[Condition]) -> bool {
    let value = |column: &str| row.iter().find(|(name, _)| name == column).map(|(_, value)| value.as_str());
    conditions.iter().all(|condition| value(&condition.column).is_some_and(|value| condition.fits(value)))
}

fn conditions(form: &[u8]) -> Option<Vec<Condition>> {
    let pairs: Vec<&[u8]> = form.split(|octet| *octet == b'&').filter(|pair| !pair.is_empty()).collect();
    if pairs.len() > CONDITIONS_MAX {
        return None;
    }
    let condition = |pair: &&[u8]| {
        let at = pair.iter().position(|octet| *octet == b'=')?;
        let name = decoded(&pair[..at])?;
        let (column, word) = name.split_once(' ').unwrap_or((&name, ""));
        let operator = Operator::of(word.trim())?;
        Some(Condition { column: column.to_owned(), operator, value: decoded(&pair[at + 1..])? })
    };
    pairs.iter().map(condition).collect()
}

/// A piece of a form as text: `+` is a blank, `%40` an octet.
fn decoded(piece: &[u8]) -> Option<String> {
    let (mut octets, mut rest) = (Vec::with_capacity(piece.len()), piece);
    while let Some((octet, tail)) = rest.split_first() {
        rest = tail;
        match octet {
            b'+' => octets.push(b' '),
            b'%' => {
                let (digits, tail) = rest.split_at_checked(2)?;
                octets.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?);
                rest = tail;
            }
            octet => octets.push(*octet),
        }
    }
    String::from_utf8(octets).ok()
}

fn line(row: &Row) -> String {
    let pairs: Vec<String> = row.iter().map(|(name, value)| format!("{}={}", encoded(name), encoded(value))).collect();
    pairs.join("&") + "\n"
}

/// As it stands in a form or in the user part of a URL.
pub fn encoded(text: &str) -> String {
    let octet = |octet: u8| match octet {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => char::from(octet).to_string(),
        octet => format!("%{octet:02X}"),
    };
    text.bytes().map(octet).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registrar::{Aor, Realtime};

    fn policy() -> AgentPolicy {
        let member = |name: &str, penalty| Member { user: Aor::from_user(name.as_bytes()).unwrap(), penalty };
        let sales = Queue { members: vec![member("1001", 0), member("anna&b", 2)], ..Queue::default() };
        let night = Queue { options: vec![("strategy".into(), "ringall".into())], ..Queue::default() };
        let queues = [("q700".into(), sales), ("night".into(), night)].into();
        AgentPolicy { queues, realtime: Realtime::Queues, ..AgentPolicy::default() }
    }

    fn asked(table: &str, operation: &str, form: &str) -> Answer {
        answer(&policy(), table, operation, form.as_bytes())
    }

    fn found(table: &str, operation: &str, form: &str) -> Vec<String> {
        match asked(table, operation, form) {
            Answer::Found(text) => text.lines().map(str::to_owned).collect(),
            other => panic!("{other:?}"),
        }
    }

    const FIRST: &str = "uniqueid=q700.1001&queue_name=q700&interface=Local%2F1001%40edge-agent%2Fn&membername=1001\
                         &state_interface=Custom%3A1001&penalty=0";
    const SECOND: &str = "uniqueid=q700.anna%26b&queue_name=q700&interface=Local%2Fanna%26b%40edge-agent%2Fn\
                          &membername=anna%26b&state_interface=Custom%3Aanna%26b&penalty=2";

    #[test]
    fn a_node_that_wants_a_queue_has_its_options_in_one_line_and_its_members_in_one_each() {
        assert_eq!(
            found("queues", "single", "name=q700"),
            [
                "name=q700&autofill=yes&strategy=rrmemory&timeout=15&retry=1&ringinuse=no&joinempty=yes&leavewhenempty=no\
              &autopause=yes&autopausebusy=no&autopauseunavail=no"
            ]
        );
        assert_eq!(found("queue_members", "multi", "interface%20LIKE=%25&queue_name=q700"), [FIRST, SECOND]);
        assert_eq!(found("queues", "multi", "name%20LIKE=%25").len(), 2);
        assert!(found("queues", "single", "name=night")[0].contains("strategy=ringall"));
    }

    #[test]
    fn a_queue_that_is_none_and_one_without_members_are_nothing() {
        for (table, form) in [("queues", "name=q701"), ("queue_members", "interface%20LIKE=%25&queue_name=night")] {
            assert_eq!(asked(table, "multi", form), Answer::Found(String::new()));
            assert_eq!(asked(table, "single", form), Answer::Found(String::new()));
        }
    }

    #[test]
    fn conditions_carry_their_operator_in_the_name() {
        for (form, count) in [
            ("", 2),
            ("interface+LIKE=Local%2F10__%25", 1),
            ("interface%20like=%25&queue_name%20LIKE=Q7%25", 2),
            ("penalty%20%3E=1", 1),
            ("penalty%20%3C%3D=2", 2),
            ("membername%20%21%3D=1001&", 1),
            ("uniqueid=q700.1001", 1),
            ("uniqueid=q700.1002", 0),
            ("paused=1", 0),
        ] {
            assert_eq!(found("queue_members", "multi", form).len(), count, "{form}");
        }
        assert_eq!(found("queue_members", "single", "queue_name=q700"), [FIRST]);
    }

    #[test]
    fn nothing_is_changed_from_a_node_and_nothing_is_missing() {
        for operation in ["update", "store", "destroy", "require"] {
            assert_eq!(asked("queue_members", operation, "paused=1"), Answer::Found("0".to_owned()), "{operation}");
        }
        assert_eq!(found("queue_members", "multi", "uniqueid=q700.1001"), [FIRST]);
    }

    #[test]
    fn what_is_not_understood_is_no_empty_answer() {
        for form in ["name", "name=%4", "name=%zz", "name%20NEAR=x", "name=%ff", &"a=b&".repeat(33)] {
            assert_eq!(asked("queues", "single", form), Answer::Bad, "{form}");
        }
        assert_eq!(asked("queues", "drop", ""), Answer::Unknown);
        assert_eq!(asked("queues", "static", ""), Answer::Unknown);
        assert_eq!(asked("ps_endpoints", "single", "id=1001"), Answer::Unknown);
    }

    #[test]
    fn what_is_told_can_be_read_back() {
        for text in ["1001", "a&b=c%d e+f", "Zoë"] {
            assert_eq!(decoded(encoded(text).as_bytes()).as_deref(), Some(text));
        }
    }
}
