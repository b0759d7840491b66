//! Commands that ask a running edge, or tell it something.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::api::config::ReloadView;
use crate::edge::located::{AgentView, ChangeView};
use crate::edge::view::{CallView, ExplainView, NodeView, StatusView};

use super::client::{Client, parse, path_part};
use super::exit::{CommandResult, Exit, Failure};
use super::show;

/// How often things are looked at again.
const AGAIN: Duration = Duration::from_secs(1);

/// `status`
pub fn status(client: &Client, watch: bool, json: bool) -> CommandResult {
    loop {
        let status: StatusView = client.get("/api/v1/status")?;
        if watch && std::io::stdout().is_terminal() {
            print!("\x1b[2J\x1b[H");
        }
        print(&status, json, show::status);
        if !watch {
            return Ok(Exit::Done);
        }
        let _ = std::io::stdout().flush();
        std::thread::sleep(AGAIN);
    }
}

/// `nodes`
pub fn nodes(client: &Client, json: bool) -> CommandResult {
    let nodes: Vec<NodeView> = client.get("/api/v1/nodes")?;
    print(&nodes, json, |nodes| show::nodes(nodes));
    Ok(Exit::Done)
}

/// `calls`
pub fn calls(client: &Client, node: Option<&str>, limit: usize, json: bool) -> CommandResult {
    let node = node.map_or_else(String::new, |node| format!("&node={}", path_part(node)));
    let calls: Vec<CallView> = client.get(&format!("/api/v1/calls?limit={limit}{node}"))?;
    print(&calls, json, |calls| show::calls(calls));
    Ok(Exit::Done)
}

/// `agents`
pub fn agents(client: &Client, limit: usize, json: bool) -> CommandResult {
    let agents: Vec<AgentView> = client.get(&format!("/api/v1/agents?limit={limit}"))?;
    print(&agents, json, |agents| show::agents(agents));
    Ok(Exit::Done)
}

/// One agent and what he did last, the oldest first.
#[derive(Debug, Serialize, Deserialize)]
pub struct AgentStory {
    /// What he is doing.
    pub agent: AgentView,
    /// What he did.
    pub history: Vec<ChangeView>,
}

/// `agents USER`
pub fn agent(client: &Client, user: &str, json: bool) -> CommandResult {
    let path = format!("/api/v1/agents/{}", path_part(user));
    let story = AgentStory { agent: client.get(&path)?, history: client.get(&format!("{path}/history"))? };
    print(&story, json, show::agent);
    Ok(Exit::Done)
}

/// `ready` and `not-ready`
pub fn set_agent(client: &Client, user: &str, state: &str, reason: Option<&str>, json: bool) -> CommandResult {
    let body = serde_json::json!({ "state": state, "reason": reason }).to_string();
    let path = format!("/api/v1/agents/{}/state", path_part(user));
    let (code, text) = client.send("PUT", &path, "application/json", &body)?;
    let view: AgentView = parse(code, &text)?;
    print(&view, json, |view| show::agents(std::slice::from_ref(view)));
    Ok(Exit::Done)
}

/// `registrations`
pub fn registrations(client: &Client, limit: usize, json: bool) -> CommandResult {
    let users: Vec<AgentView> = client.get(&format!("/api/v1/registrations?limit={limit}"))?;
    print(&users, json, |users| show::registrations(users));
    Ok(Exit::Done)
}

/// `locate`
pub fn locate(client: &Client, user: &str, json: bool) -> CommandResult {
    let agent: AgentView = client.get(&format!("/api/v1/location/{}", path_part(user)))?;
    let is_somewhere = !agent.contacts.is_empty();
    print(&agent, json, |agent| match agent.contacts.is_empty() {
        true => format!("{} is registered nowhere\n", agent.user),
        false => show::registrations(std::slice::from_ref(agent)),
    });
    Ok(if is_somewhere { Exit::Done } else { Exit::Failed })
}

/// `explain`
pub fn explain(client: &Client, call_id: &str, json: bool) -> CommandResult {
    let explain: ExplainView = client.get(&format!("/api/v1/explain/{}", path_part(call_id)))?;
    print(&explain, json, show::explain);
    Ok(Exit::Done)
}

/// `enable` and `disable`
pub fn set(client: &Client, node: &str, state: &str, json: bool) -> CommandResult {
    let view = set_state(client, node, state)?;
    print(&view, json, |view| format!("{} is {}\n", view.name, view.admin));
    Ok(Exit::Done)
}

fn set_state(client: &Client, node: &str, state: &str) -> Result<NodeView, Failure> {
    let body = serde_json::json!({ "state": state }).to_string();
    let (code, text) =
        client.send("PUT", &format!("/api/v1/nodes/{}/state", path_part(node)), "application/json", &body)?;
    parse(code, &text)
}

/// `drain`
pub fn drain(client: &Client, node: &str, wait: bool, timeout: Option<Duration>, json: bool) -> CommandResult {
    let mut view = set_state(client, node, "draining")?;
    if !wait {
        print(&view, json, left);
        return Ok(Exit::Done);
    }
    let began = Instant::now();
    let is_terminal = std::io::stdout().is_terminal();
    while view.calls > 0 {
        if !json {
            let end = if is_terminal { "\x1b[K\r" } else { "\n" };
            print!("{}{end}", left(&view).trim_end());
            let _ = std::io::stdout().flush();
        }
        if timeout.is_some_and(|timeout| began.elapsed() >= timeout) {
            let message = format!("{} calls are left on {node} after {:?}", view.calls, began.elapsed());
            return Err(Failure::new(Exit::NotReady, message).hint("it goes on draining"));
        }
        std::thread::sleep(AGAIN);
        view = client.get(&format!("/api/v1/nodes/{}", path_part(node)))?;
        if view.admin != "draining" {
            return Err(Failure::new(Exit::Failed, format!("{node} was set to {} meanwhile", view.admin)));
        }
    }
    print(&view, json, |view| format!("{} is drained: no calls left\n", view.name));
    Ok(Exit::Done)
}

fn left(view: &NodeView) -> String {
    if view.calls == 0 {
        return format!("{} is drained: no calls left\n", view.name);
    }
    let estimate = match view.drain_estimate_secs {
        Some(secs) => format!(", about {} to go", show::duration(secs)),
        None => String::new(),
    };
    format!("{} drains: {} calls left{estimate}\n", view.name, view.calls)
}

/// `reload`
pub fn reload(client: &Client, json: bool) -> CommandResult {
    let (code, text) = client.send("POST", "/api/v1/config/reload", "application/json", "{}")?;
    let view: ReloadView = if code == 422 { parse(200, &text)? } else { parse(code, &text)? };
    print(&view, json, |view| {
        let lines: String = view.changes.iter().chain(&view.problems).map(|line| format!("{line}\n")).collect();
        match (view.ok, view.changes.is_empty()) {
            (false, _) => format!("{lines}refused; generation {} goes on\n", view.generation),
            (true, true) => format!("nothing changed; generation {} serves\n", view.generation),
            (true, false) => format!("{lines}generation {} serves\n", view.generation),
        }
    });
    Ok(if view.ok { Exit::Done } else { Exit::BadConfig })
}

/// `healthcheck`
pub fn healthcheck(client: &Client) -> CommandResult {
    let (code, text) = client.get_text("/readyz")?;
    print!("{text}");
    Ok(if code == 200 { Exit::Done } else { Exit::NotReady })
}

fn print<T: Serialize + DeserializeOwned>(value: &T, json: bool, text: impl Fn(&T) -> String) {
    if json {
        // Views are plain data; they can always be written.
        println!("{}", serde_json::to_string_pretty(value).unwrap_or_default());
    } else {
        print!("{}", text(value));
    }
}
