//! What `sipp/gateway/tell.xml` says of its calls, and what the edge says of them.

use std::collections::BTreeMap;

use crate::edge::Edge;
use crate::sipp::Sipp;

/// How a call ended for the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Its BYE was answered 200.
    Ended,
    /// Its BYE was answered 481 or 408: the node had lost it.
    Cut,
    /// It did not end.
    Open,
}

/// One call that was answered.
#[derive(Clone, Debug)]
pub struct Told {
    pub call_id: String,
    /// The node that answered, by its name.
    pub node: String,
    pub ending: Ending,
    /// When its INVITE came, in milliseconds of Unix time, by the edge.
    pub opened_at_ms: u64,
    /// Nodes that had been given up before.
    pub given_up: usize,
}

/// All calls that were answered.
pub fn told(gateway: &Sipp, edge: &Edge) -> Vec<Told> {
    let mut calls: BTreeMap<String, Ending> = BTreeMap::new();
    for line in gateway.log().lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let &[.., call_id, what, _] = words.as_slice() else { panic!("not understood: {line}") };
        let ending = match what {
            "answered" => Ending::Open,
            "ended" => Ending::Ended,
            "cut" => Ending::Cut,
            other => panic!("not understood: {other} in {line}"),
        };
        calls.insert(call_id.to_owned(), ending);
    }
    calls.into_iter().map(|(call_id, ending)| of_call(edge, call_id, ending)).collect()
}

fn of_call(edge: &Edge, call_id: String, ending: Ending) -> Told {
    let explain = edge.explain(&call_id);
    let answered = explain.tries.iter().find(|t| t.result == "answered 200");
    let node = answered.unwrap_or_else(|| panic!("no try of {call_id} was answered: {explain:?}")).node.clone();
    let given_up = explain.tries.iter().filter(|t| t.result.starts_with("given up")).count();
    Told { call_id, node, ending, opened_at_ms: explain.opened_at_ms, given_up }
}
