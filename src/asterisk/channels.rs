//! What a node says of its calls: the answer to `GET /ari/channels`. Pure.
//!
//! Asterisk says more than this of each channel; only these fields are read, and what is unknown among the rest harms nothing.

use serde::Deserialize;

/// One call leg on a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Channel {
    /// The node's name for it, which DELETE wants.
    pub id: String,
    /// The SIP Call-ID.
    pub call_id: String,
    /// Whether it is answered. What is not is being set up, or just ends.
    pub is_up: bool,
    /// Whether its other end is the edge, as the files of [`node_files`](super::node_files) name it.
    pub is_of_edge: bool,
    /// Who called whom.
    pub direction: Direction,
    /// The number at the other end.
    pub number: String,
    /// For a call to the node, the number that was called, as far as the dialplan has not gone on from it.
    pub exten: String,
}

/// Who sent the INVITE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// The edge: the call came to the node.
    ToNode,
    /// The node: it calls an agent, or the outside.
    FromNode,
}

/// Why an answer cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// It is something else.
    #[error("its answer is no list of channels")]
    NoList,
    /// An Asterisk before 18.13 does not tell them.
    #[error("it tells no Call-IDs (protocol_id); Asterisk does so from 18.13 and 20.0 on")]
    NoCallIds,
}

/// The SIP channels of a node.
pub fn read(body: &[u8]) -> Result<Vec<Channel>, Unreadable> {
    let list: Vec<Raw<'_>> = serde_json::from_slice(body).map_err(|_| Unreadable::NoList)?;
    list.into_iter().filter(|raw| raw.name.starts_with("PJSIP/")).map(Raw::into_channel).collect()
}

/// The fields that are read.
#[derive(Deserialize)]
struct Raw<'a> {
    id: String,
    #[serde(borrow)]
    name: std::borrow::Cow<'a, str>,
    state: std::borrow::Cow<'a, str>,
    protocol_id: Option<String>,
    #[serde(default)]
    caller: Party,
    #[serde(default)]
    dialplan: Dialplan,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Party {
    number: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Dialplan {
    exten: String,
    app_name: String,
    app_data: String,
}

/// Endpoint of the edge in a node's pjsip.conf.
const EDGE_ENDPOINT: &str = "PJSIP/edge-";

impl Raw<'_> {
    fn into_channel(self) -> Result<Channel, Unreadable> {
        let call_id = self.protocol_id.filter(|id| !id.is_empty()).ok_or(Unreadable::NoCallIds)?;
        Ok(Channel {
            is_up: self.state == "Up",
            is_of_edge: self.name.starts_with(EDGE_ENDPOINT),
            direction: direction(&self.dialplan),
            id: self.id,
            call_id,
            number: self.caller.number,
            exten: self.dialplan.exten,
        })
    }
}

/// Legs that Dial and Queue made run no dialplan; these words stand in its place.
fn direction(dialplan: &Dialplan) -> Direction {
    let made_by_node = matches!(&*dialplan.app_name, "AppDial" | "AppDial2" | "AppQueue");
    if made_by_node || dialplan.app_data == "(Outgoing Line)" { Direction::FromNode } else { Direction::ToNode }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As Asterisk 22 says it, shortened by channel variables.
    const TWO: &str = r#"[
      {"id":"1763740000.12","name":"PJSIP/edge-00000004","state":"Up","protocol_id":"1-77@127.0.0.20",
       "caller":{"name":"","number":"+15551234567"},"connected":{"name":"","number":"1001"},"accountcode":"",
       "dialplan":{"context":"from-edge","exten":"1001","priority":2,"app_name":"Dial","app_data":"PJSIP/1001@edge,30"},
       "creationtime":"2026-11-21T16:00:00.000+0000","language":"en"},
      {"id":"1763740000.13","name":"PJSIP/edge-00000005","state":"Ringing","protocol_id":"bfc43481-d082-4ed8",
       "caller":{"name":"","number":"1001"},"connected":{"name":"","number":"+15551234567"},
       "dialplan":{"context":"from-edge","exten":"","priority":1,"app_name":"AppDial","app_data":"(Outgoing Line)"}},
      {"id":"1763740000.14","name":"Local/1001@edge-agent-0001;1","state":"Up","protocol_id":"",
       "dialplan":{"app_name":"AppQueue","app_data":"(Outgoing Line)"}},
      {"id":"1763740000.15","name":"PJSIP/desk-00000006","state":"Up","protocol_id":"x@desk"}]"#;

    fn channel(id: &str, call_id: &str, direction: Direction) -> Channel {
        Channel {
            id: id.to_owned(),
            call_id: call_id.to_owned(),
            is_up: true,
            is_of_edge: true,
            direction,
            number: String::new(),
            exten: String::new(),
        }
    }

    #[test]
    fn both_directions_and_other_endpoints_are_told_apart_and_local_legs_are_none() {
        let channels = read(TWO.as_bytes()).unwrap();
        let inbound = channel("1763740000.12", "1-77@127.0.0.20", Direction::ToNode);
        let agent = channel("1763740000.13", "bfc43481-d082-4ed8", Direction::FromNode);
        let desk = channel("1763740000.15", "x@desk", Direction::ToNode);
        assert_eq!(
            channels,
            [
                Channel { number: "+15551234567".to_owned(), exten: "1001".to_owned(), ..inbound },
                Channel { number: "1001".to_owned(), is_up: false, ..agent },
                Channel { is_of_edge: false, ..desk },
            ]
        );
    }

    #[test]
    fn an_answer_that_is_none_and_an_asterisk_that_tells_no_call_ids_are_told_apart() {
        assert_eq!(read(b"{\"message\":\"Authentication required\"}"), Err(Unreadable::NoList));
        assert_eq!(read(b"[{\"id\":\"1\",\"name\":\"PJSIP/edge-1\""), Err(Unreadable::NoList));
        assert_eq!(read(br#"[{"id":"1","name":"PJSIP/edge-1","state":"Up"}]"#), Err(Unreadable::NoCallIds));
        assert_eq!(read(b"[]"), Ok(vec![]));
    }

    #[test]
    fn two_thousand_channels_are_read() {
        let one = TWO.trim().trim_start_matches('[').split("},\n      {\"id\":\"1763740000.13\"").next().unwrap();
        let all = format!("[{}]", vec![format!("{one}}}"); 2_000].join(","));
        assert_eq!(read(all.as_bytes()).unwrap().len(), 2_000);
    }
}
