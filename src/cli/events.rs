//! `events`: what happens in a running edge, line by line.

use std::io::BufRead;

use crate::edge::events::News;

use super::client::{Client, path_part};
use super::exit::{CommandResult, Exit, Failure};

/// `events`
pub fn follow(client: &Client, kind: Option<&str>, json: bool) -> CommandResult {
    let kind = kind.map_or_else(String::new, |kind| format!("?kind={}", path_part(kind)));
    for line in client.follow(&format!("/api/v1/events{kind}"))?.lines() {
        let line = line.map_err(|error| Failure::new(Exit::NoEdge, format!("the edge went away: {error}")))?;
        if let Some(data) = line.strip_prefix("data: ") {
            println!("{}", if json { data.to_owned() } else { shown(data) });
        }
    }
    Err(Failure::new(Exit::NoEdge, "the edge ended the connection"))
}

/// One line for people; what an edge of another version says is shown as it is.
fn shown(data: &str) -> String {
    match serde_json::from_str(data) {
        Ok(News::Agent { user, state }) => format!("agent {user} is {state}"),
        Ok(News::Call { call_id, caller, called, node, phase }) => {
            format!("call from {caller} to {called} on {node} is {phase} ({call_id})")
        }
        Ok(News::Registration { user, phones: 0 }) => format!("user {user} has no phone any more"),
        Ok(News::Registration { user, phones }) => format!("user {user} has phones: {phones}"),
        Ok(News::Node { node, change }) => format!("node {node} is {change}"),
        Err(_) => data.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn news_are_sentences() {
        assert_eq!(shown(r#"{"event":"agent","user":"1001","state":"ready"}"#), "agent 1001 is ready");
        assert_eq!(shown(r#"{"event":"lost","news":3}"#), r#"{"event":"lost","news":3}"#);
    }
}
