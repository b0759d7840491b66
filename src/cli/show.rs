//! How things look in a terminal.

use crate::edge::located::{AgentView, ChangeView, ContactView};
use crate::edge::view::{CallView, ExplainView, NodeView, StatusView};

use super::operate::AgentStory;

/// A table with aligned columns; numbers stand right.
pub fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let columns = head.len();
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.chain([head[column].len()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let is_number = |column: usize| {
        let numeric = |cell: &str| {
            cell.is_empty() || cell == "-" || cell.starts_with(|c: char| c.is_ascii_digit()) && !cell.contains(':')
        };
        rows.iter().all(|row| numeric(&row[column]))
    };
    let right: Vec<bool> = (0..columns).map(is_number).collect();
    let line = |cells: Vec<&str>| {
        let padded = cells.iter().enumerate().map(|(column, cell)| {
            let gap = " ".repeat(widths[column].saturating_sub(cell.chars().count()));
            if right[column] { format!("{gap}{cell}") } else { format!("{cell}{gap}") }
        });
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned() + "\n"
    };
    let body = rows.iter().map(|row| line(row.iter().map(String::as_str).collect()));
    line(head.to_vec()) + &body.collect::<String>()
}

/// Seconds as people say them.
pub fn duration(secs: u64) -> String {
    match secs {
        0..60 => format!("{secs}s"),
        60..3_600 => format!("{}m{:02}s", secs / 60, secs % 60),
        3_600..86_400 => format!("{}h{:02}m", secs / 3_600, secs % 3_600 / 60),
        _ => format!("{}d{:02}h", secs / 86_400, secs % 86_400 / 3_600),
    }
}

/// The edge at a glance.
pub fn status(status: &StatusView) -> String {
    let calls = &status.calls;
    let mut text = format!(
        "{} {} - {}, up {}, generation {}\n",
        status.edge,
        status.version,
        status.state,
        duration(status.uptime_secs),
        status.config.generation
    );
    text += &format!("listens on {}\n", status.listeners.join(", "));
    text += &format!("calls: {} up, {} being set up, {} ending\n", calls.up, calls.trying, calls.ending);
    for edge in &status.edges {
        text += &format!(
            "edge {} at {}: {} calls, heard {} ms ago{}{}\n",
            edge.edge,
            edge.address,
            edge.calls,
            edge.heard_millis_ago,
            if edge.has_same_configuration { "" } else { ", another configuration" },
            if edge.is_stopping { ", ending" } else { "" }
        );
    }
    for reason in &status.reasons {
        text += &format!("! {reason}\n");
    }
    for problem in &status.config.problems {
        text += &format!("  {problem}\n");
    }
    for line in &status.config.needs_restart {
        text += &format!("! at the next start: {line}\n");
    }
    text + "\n" + &nodes(&status.nodes)
}

/// Nodes and gateways.
pub fn nodes(nodes: &[NodeView]) -> String {
    let row = |node: &NodeView| {
        let weight = node.pools.iter().map(|pool| pool.weight.to_string()).collect::<Vec<_>>().join("/");
        let trip = node
            .addresses
            .iter()
            .filter_map(|a| a.round_trip_ms)
            .fold(None, |best: Option<f64>, trip| Some(best.map_or(trip, |best| best.min(trip))));
        let seen = node.addresses.iter().filter_map(|a| a.answered_secs_ago).fold(f64::INFINITY, f64::min);
        vec![
            node.name.clone(),
            node.state.clone(),
            node.calls.to_string(),
            node.max_calls.map_or("-".to_owned(), |max| max.to_string()),
            if weight.is_empty() { "-".to_owned() } else { weight },
            format!("{}%", node.share_percent),
            trip.map_or("-".to_owned(), |trip| format!("{trip:.1} ms")),
            if seen.is_finite() { format!("{seen:.1}s ago") } else { "never".to_owned() },
            node.addresses.first().map_or_else(|| "?".to_owned(), |a| a.address.clone()),
            node.why.iter().chain(&node.complaints).map(String::as_str).collect::<Vec<_>>().join("; "),
        ]
    };
    let rows: Vec<Vec<String>> = nodes.iter().map(row).collect();
    table(&["NODE", "STATE", "CALLS", "MAX", "WEIGHT", "SHARE", "RTT", "ANSWERED", "ADDRESS", ""], &rows)
}

/// Calls.
pub fn calls(calls: &[CallView]) -> String {
    let row = |call: &CallView| {
        vec![
            call.call_id.clone(),
            call.phase.clone(),
            duration(call.secs),
            call.caller.clone(),
            call.called.clone(),
            call.node.clone(),
            call.from.clone(),
        ]
    };
    let rows: Vec<Vec<String>> = calls.iter().map(row).collect();
    table(&["CALL-ID", "PHASE", "FOR", "CALLER", "CALLED", "NODE", "FROM"], &rows)
}

/// Agents and what they are doing.
pub fn agents(agents: &[AgentView]) -> String {
    let row = |agent: &AgentView| {
        let phone = agent.contacts.first().map_or_else(|| "-".to_owned(), |contact| contact.reached_at.clone());
        let reserved = agent.reserved_secs.map(|secs| format!("reserved for {}", duration(secs)));
        let reason = reserved.or_else(|| agent.reason.clone()).unwrap_or_default();
        vec![
            agent.user.clone(),
            agent.state.clone(),
            agent.for_secs.map_or_else(|| "-".to_owned(), duration),
            agent.calls.to_string(),
            phone,
            reason,
        ]
    };
    let rows: Vec<Vec<String>> = agents.iter().map(row).collect();
    table(&["AGENT", "STATE", "FOR", "CALLS", "PHONE", ""], &rows)
}

/// One agent, and what he did last.
pub fn agent(story: &AgentStory) -> String {
    let mut text = agents(std::slice::from_ref(&story.agent));
    if !story.agent.skills.is_empty() {
        text += &format!("skills: {}\n", story.agent.skills.join(", "));
    }
    if story.history.is_empty() {
        return text;
    }
    let row = |change: &ChangeView| {
        vec![
            duration(change.secs_ago),
            change.from.clone(),
            change.to.clone(),
            change.cause.clone(),
            change.text.clone().unwrap_or_default(),
        ]
    };
    let rows: Vec<Vec<String>> = story.history.iter().map(row).collect();
    text + "\n" + &table(&["AGO", "FROM", "TO", "CAUSE", ""], &rows)
}

/// Users and their phones.
pub fn registrations(users: &[AgentView]) -> String {
    let row = |user: &AgentView, contact: &ContactView| {
        vec![
            user.user.clone(),
            contact.reached_at.clone(),
            contact.expires_secs.map_or_else(|| "permanent".to_owned(), duration),
            contact.registered_secs_ago.map_or_else(|| "-".to_owned(), duration),
            format!("{:.1}", contact.q),
            contact.uri.clone(),
        ]
    };
    let rows: Vec<Vec<String>> =
        users.iter().flat_map(|user| user.contacts.iter().map(move |contact| row(user, contact))).collect();
    table(&["USER", "REACHED AT", "FOR", "SINCE", "Q", "CONTACT"], &rows)
}

/// Why a call went where it went.
pub fn explain(explain: &ExplainView) -> String {
    let mut text = format!("call {} to {} from {}\n", explain.call_id, explain.called, explain.from);
    // A call to an agent, or one node's to another, is chosen from no pool.
    let pool = match explain.pool.as_str() {
        "" => String::new(),
        pool => format!(" -> pool {pool} ({} nodes)", explain.pool_size),
    };
    text += &format!("rule {}{pool}, chosen by {}\n\n", explain.rule, explain.choice);
    let candidate = |c: &crate::edge::view::CandidateView| {
        let barred = c.barred.clone().map_or_else(String::new, |why| format!("barred: {why}"));
        vec![c.node.clone(), c.calls.to_string(), format!("{:.1}", c.weight), format!("{:.3}", c.load), barred]
    };
    let rows: Vec<Vec<String>> = explain.candidates.iter().map(candidate).collect();
    if !rows.is_empty() {
        text += &table(&["CANDIDATE", "CALLS", "WEIGHT", "(CALLS+1)/WEIGHT", ""], &rows);
        text.push('\n');
    }
    let tried = |(number, t): (usize, &crate::edge::view::TryView)| {
        let at = t.result_after_ms.map_or("-".to_owned(), |ms| format!("{ms} ms"));
        vec![
            (number + 1).to_string(),
            t.node.clone(),
            t.address.clone(),
            format!("{} ms", t.after_ms),
            at,
            t.result.clone(),
        ]
    };
    let rows: Vec<Vec<String>> = explain.tries.iter().enumerate().map(tried).collect();
    text += &table(&["TRY", "NODE", "ADDRESS", "ASKED AFTER", "RESULT AFTER", "RESULT"], &rows);
    match (&explain.end, &explain.call) {
        (Some(end), _) => {
            let code = end.code.map_or_else(String::new, |code| format!(", the caller got {code}"));
            text += &format!("\nended after {} ms: {}{code}\n", end.after_ms, end.cause);
        }
        (None, Some(call)) => text += &format!("\n{} for {}\n", call.phase, duration(call.secs)),
        (None, None) => {}
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_under_each_other_and_numbers_to_the_right() {
        let rows = vec![vec!["ast-1".to_owned(), "7".to_owned()], vec!["x".to_owned(), "1234".to_owned()]];
        assert_eq!(table(&["NODE", "CALLS"], &rows), "NODE   CALLS\nast-1      7\nx       1234\n");
    }

    #[test]
    fn durations_are_short() {
        assert_eq!([59, 61, 3_661, 90_000].map(duration), ["59s", "1m01s", "1h01m", "1d01h"]);
    }
}
