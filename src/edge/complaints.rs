//! What does not work between the edge and a node beside its calls: said once in the log, and shown for as long as it lasts.

use std::collections::BTreeMap;

use parking_lot::Mutex;

use crate::calls::NodeId;

/// What a complaint is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum About {
    /// Reading its channels by ARI.
    Channels,
    /// Telling it the states of agents by PUBLISH.
    States,
}

impl About {
    /// Both, in the order of [`COMPLAINTS`](crate::metrics::COMPLAINTS).
    pub const ALL: [About; 2] = [About::Channels, About::States];
}

/// All complaints: at most one for each node and matter.
#[derive(Debug, Default)]
pub struct Complaints(Mutex<BTreeMap<(NodeId, About), String>>);

impl Complaints {
    /// Notes one. True when there was none before: then it is worth a line in the log.
    pub fn note(&self, node: NodeId, about: About, what: String) -> bool {
        self.0.lock().insert((node, about), what).is_none()
    }

    /// It works, or there is nothing to work any more. True when there was a complaint.
    pub fn settle(&self, node: NodeId, about: About) -> bool {
        self.0.lock().remove(&(node, about)).is_some()
    }

    /// What there is to say about a node.
    pub fn of(&self, node: NodeId) -> Vec<String> {
        let list = self.0.lock();
        list.range((node, About::Channels)..=(node, About::States)).map(|(_, what)| what.clone()).collect()
    }

    /// True while there is one.
    pub fn has(&self, node: NodeId, about: About) -> bool {
        self.0.lock().contains_key(&(node, about))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_complaint_is_news_once_and_is_gone_when_it_is_settled() {
        let (complaints, node) = (Complaints::default(), NodeId(3));
        assert!(complaints.note(node, About::States, "refused with 403".to_owned()));
        assert!(!complaints.note(node, About::States, "refused with 404".to_owned()));
        complaints.note(NodeId(4), About::Channels, "no answer".to_owned());
        assert_eq!(complaints.of(node), ["refused with 404"]);
        assert!(complaints.has(node, About::States) && !complaints.has(node, About::Channels));
        assert!(complaints.settle(node, About::States) && !complaints.settle(node, About::States));
        assert_eq!(complaints.of(node), [""; 0]);
    }
}
