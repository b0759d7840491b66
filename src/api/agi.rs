//! FastAGI: what a node's dialplan asks with `AGI(agi://EDGE:4573/locate,1001)`.
//!
//! | script | arguments | variables that it sets |
//! |---|---|---|
//! | `locate` | user | `LOC_STATE`, and `LOC_DIAL`: what to dial, empty while he is registered nowhere |
//! | `state` | user | `AGENT_STATE`, and `AGENT_REASON`: why he is not ready |
//! | `set` | user, `ready` or `not_ready`, reason | `AGENT_STATE`: the state that follows, `refused` for a reason that is not allowed |
//! | `reserve` | skills (`sales&english`, empty for any), seconds, queue | `RESERVED_AGENT`, `RESERVED_DIAL`: empty when nobody is free |
//!
//! `reserve` also sets `__EDGE_RESERVATION`, which the dialplan of `asterisk-config` puts on the call as `X-Edge-Reservation`.
//! Whoever is no user has the state `unknown`. Only nodes and this machine are answered; everything is bounded in size and time, so a node that hangs
//! holds up nobody but itself.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use crate::agents::reservation::{HOLD, HOLD_MAX};
use crate::agents::{Cause, Intent};
use crate::dispatch::rules::Source;
use crate::edge::located::{ReservedView, Unsaid, dial};
use crate::edge::view::Viewer;
use crate::transport::flow::{Flow, ListenerId, Protocol};

/// Connections at once.
const CONNECTIONS_MAX: usize = 256;
/// Octets that one conversation may bring.
const OCTETS_MAX: u64 = 64 << 10;
/// How long one conversation may take.
const TIME_MAX: Duration = Duration::from_secs(5);

/// FastAGI, bound and not served yet.
pub struct AgiServer {
    listener: TcpListener,
    viewer: Viewer,
}

/// What a node asks.
#[derive(Debug, Default, PartialEq, Eq)]
struct Question {
    script: String,
    arguments: Vec<String>,
}

impl AgiServer {
    /// Binds it.
    ///
    /// # Errors
    /// When the address cannot be bound; the text says why.
    pub async fn bind(listen: SocketAddr, viewer: Viewer) -> Result<Self, String> {
        let listener = TcpListener::bind(listen).await.map_err(|error| format!("agents.agi {listen}: {error}"))?;
        Ok(AgiServer { listener, viewer })
    }

    /// Serves until the task is aborted.
    pub async fn serve(self) {
        let permits = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        loop {
            // The semaphore is never closed.
            let Ok(permit) = Arc::clone(&permits).acquire_owned().await else { return };
            let Ok((stream, remote)) = self.listener.accept().await else {
                // Out of descriptors: a pause instead of a busy loop.
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            };
            let viewer = self.viewer.clone();
            tokio::spawn(async move {
                if is_node(&viewer, remote) {
                    // A node that hangs or breaks off has its answer: none.
                    let _ = tokio::time::timeout(TIME_MAX, converse(stream, &viewer)).await;
                } else {
                    tracing::debug!(%remote, "FastAGI from an address that is no node's");
                }
                drop(permit);
            });
        }
    }
}

/// A node, or something on this machine: a node beside the edge connects from whatever loopback address the system picks.
fn is_node(viewer: &Viewer, remote: SocketAddr) -> bool {
    if remote.ip().to_canonical().is_loopback() {
        return true;
    }
    let flow = Flow { listener: ListenerId::default(), protocol: Protocol::Tcp, remote, connection: None };
    matches!(viewer.engine.farm.load().sources.classify(flow), Source::Node(_))
}

async fn converse(stream: TcpStream, viewer: &Viewer) -> io::Result<()> {
    let (read, mut write) = stream.into_split();
    let mut lines = BufReader::new(read.take(OCTETS_MAX)).lines();
    let mut environment = Vec::new();
    while let Some(line) = lines.next_line().await?.filter(|line| !line.is_empty()) {
        environment.push(line);
    }
    for (name, value) in answer(viewer, &asked(&environment)).await {
        write.write_all(format!("SET VARIABLE {name} \"{}\"\n", quoted(&value)).as_bytes()).await?;
        if lines.next_line().await?.is_none() {
            return Ok(());
        }
    }
    write.shutdown().await
}

/// Reads the script and its arguments from what Asterisk sends first.
fn asked(environment: &[String]) -> Question {
    let value = |key: &str| environment.iter().find_map(|line| line.strip_prefix(key)?.strip_prefix(": "));
    let arguments = (1..=4).map_while(|number| value(&format!("agi_arg_{number}")).map(str::to_owned));
    Question { script: value("agi_network_script").unwrap_or_default().to_owned(), arguments: arguments.collect() }
}

async fn answer(viewer: &Viewer, question: &Question) -> Vec<(&'static str, String)> {
    let argument = |at: usize| question.arguments.get(at).map_or("", String::as_str);
    let user = argument(0);
    let unknown = || "unknown".to_owned();
    match question.script.as_str() {
        "locate" => {
            let agent = viewer.location(user);
            let reached = agent.as_ref().filter(|agent| !agent.contacts.is_empty());
            let dial = reached.map_or_else(String::new, |agent| dial(&agent.user));
            vec![("LOC_STATE", agent.map_or_else(unknown, |agent| agent.state)), ("LOC_DIAL", dial)]
        }
        "state" => {
            let agent = viewer.location(user);
            let reason = agent.as_ref().and_then(|agent| agent.reason.clone()).unwrap_or_default();
            vec![("AGENT_STATE", agent.map_or_else(unknown, |agent| agent.state)), ("AGENT_REASON", reason)]
        }
        "set" => vec![("AGENT_STATE", said(viewer, user, argument(1), argument(2)))],
        "reserve" => {
            let reserved = reserved(viewer, argument(0), argument(1), argument(2)).await;
            vec![
                ("RESERVED_AGENT", reserved.agent.unwrap_or_default()),
                ("RESERVED_DIAL", reserved.dial.unwrap_or_default()),
                // The legs that this call dials inherit it.
                ("__EDGE_RESERVATION", reserved.token.unwrap_or_default()),
            ]
        }
        _ => Vec::new(),
    }
}

/// What an agent says of himself, and the state that follows.
fn said(viewer: &Viewer, user: &str, word: &str, reason: &str) -> String {
    let intent = match word {
        "ready" => Intent::Ready,
        "not_ready" => Intent::NotReady(reason.chars().take(64).collect::<String>().into()),
        _ => return "unknown".to_owned(),
    };
    match viewer.set_intent(user, intent, Cause::OwnWord) {
        Ok(agent) => agent.state,
        Err(Unsaid::Reason(_)) => "refused".to_owned(),
        Err(Unsaid::Unknown | Unsaid::Store(_)) => "unknown".to_owned(),
    }
}

/// Nobody, too, for a skill that no user has.
async fn reserved(viewer: &Viewer, skills: &str, secs: &str, queue: &str) -> ReservedView {
    let skills: Vec<&str> = skills.split('&').filter(|skill| !skill.is_empty()).collect();
    let hold = secs.parse().map_or(HOLD, Duration::from_secs).clamp(Duration::from_secs(1), HOLD_MAX);
    let queue = Some(queue).filter(|queue| !queue.is_empty());
    viewer.reserve(&skills, queue, hold).await.unwrap_or_else(|known| {
        tracing::debug!("a node wants {skills:?} of an agent; known are {known:?}");
        ReservedView::default()
    })
}

/// Text inside the quotes of an AGI command.
fn quoted(text: &str) -> String {
    text.chars()
        .filter(|c| !c.is_control())
        .flat_map(|c| matches!(c, '"' | '\\').then_some('\\').into_iter().chain([c]))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_is_read_from_what_asterisk_sends_first() {
        let lines =
            ["agi_network: yes", "agi_network_script: set", "agi_arg_1: 1001", "agi_arg_2: not_ready", "agi_arg_4: x"];
        let lines: Vec<String> = lines.map(str::to_owned).into();
        let arguments = vec!["1001".to_owned(), "not_ready".to_owned()];
        assert_eq!(asked(&lines), Question { script: "set".to_owned(), arguments });
        assert_eq!(asked(&[]), Question::default());
    }

    #[test]
    fn nothing_in_a_value_ends_its_command() {
        assert_eq!(quoted("a\"b\\c\nEXEC System"), "a\\\"b\\\\cEXEC System");
    }
}
