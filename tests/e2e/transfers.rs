//! Calls that belong together, on real nodes: an agent holds a caller, asks a colleague and joins the two.

use crate::farm::Farm;
use crate::phone::Phone;
use crate::phone::dialog::Dialog;
use crate::process::{secs, until};

const AGENT: &str = "1001";
const COLLEAGUE: &str = "1002";

/// A farm of so many nodes that take calls in turn, with an agent, his colleague and somebody outside.
struct Office {
    farm: Farm,
    agent: Phone,
    colleague: Phone,
    outside: Phone,
}

impl Office {
    fn open(net: u8, nodes: usize, agents: &str) -> Self {
        let mut farm = Farm::new(net).pool("algorithm: round_robin");
        for _ in 0..nodes {
            farm = farm.node("weight: 10");
        }
        let users = [AGENT, COLLEAGUE].map(str::to_owned);
        let farm = farm.registrar(&users, "").with(&format!("agents: {agents}")).with_asterisk();
        let phone = |user, port| {
            let mut phone = Phone::on_udp(user, &farm.phone_at(port), &farm.edge_at());
            let lines = phone.binding(600);
            assert_eq!(phone.registers(&lines).code(), 200);
            phone
        };
        let (agent, colleague) = (phone(AGENT, 5061), phone(COLLEAGUE, 5062));
        let outside = Phone::on_udp("+15551234", &format!("{}:5060", farm.ip(20)), &farm.edge_at());
        Office { farm, agent, colleague, outside }
    }

    /// Somebody from outside calls the agent. Both ends, and the node.
    fn caller(&mut self) -> (Dialog, Dialog, String) {
        let dialled = self.outside.dials(AGENT);
        let at_agent = self.agent.answers();
        let caller = self.outside.connected(dialled);
        self.agent.hears(&at_agent, &self.outside, &caller);
        let node = self.node_of(&caller);
        (caller, at_agent, node)
    }

    /// The agent calls his colleague. Both ends, and the node.
    fn consultation(&mut self) -> (Dialog, Dialog, String) {
        let dialled = self.agent.dials(COLLEAGUE);
        let at_colleague = self.colleague.answers();
        let consult = self.agent.connected(dialled);
        self.agent.hears(&consult, &self.colleague, &at_colleague);
        let node = self.node_of(&consult);
        (consult, at_colleague, node)
    }

    fn node_of(&self, dialog: &Dialog) -> String {
        self.farm.edge().explain(&dialog.call_id).tries[0].node.clone()
    }

    fn channels(&self, node: &str) -> u32 {
        self.farm.lab().channels(node)
    }

    fn agent_says(&self, user: &str, state: &str) {
        until(&format!("{user} is {state}"), secs(10), || {
            let agents = self.farm.cli(&["agents"]).stdout;
            let line = agents.lines().find(|line| line.contains(user)).unwrap_or_default();
            line.split_whitespace().any(|word| word == state)
        });
    }

    /// The caller and the colleague hear each other, the agent has nothing to do with it, and all ends when one of them hangs up.
    fn others_talk(mut self, caller: Dialog, at_colleague: Dialog, nodes: usize) {
        self.outside.hears(&caller, &self.colleague, &at_colleague);
        self.colleague.hears(&at_colleague, &self.outside, &caller);
        self.agent_says(AGENT, "ready");
        self.agent_says(COLLEAGUE, "in_use");
        let mut caller = caller;
        self.outside.hangs_up(&mut caller);
        self.colleague.until_hung_up(&[&at_colleague]);
        self.agent_says(COLLEAGUE, "ready");
        self.farm.edge().until_no_calls(secs(10));
        until("no call is left on a node", secs(10), || {
            (1..=nodes).all(|node| self.channels(&format!("ast-{node}")) == 0)
        });
        self.farm.ends_well();
    }
}

#[test]
fn an_agent_joins_his_caller_and_the_colleague_whom_he_asked_on_the_node_that_has_both() {
    let mut office = Office::open(210, 3, "{ gate: queue }");
    let (caller, mut held, node) = office.caller();
    assert_eq!(office.agent.reinvites(&mut held, "sendonly"), "recvonly");
    let (consult, at_colleague, second) = office.consultation();
    let explained = office.farm.edge().explain(&consult.call_id);
    assert_eq!((second.as_str(), explained.choice.as_str()), (node.as_str(), "agent_affinity"));
    office.agent_says(AGENT, "in_use");
    let refer_to = consult.replaced_at(&consult.target);
    office.agent.refers(&mut held, &refer_to);
    office.agent.until_transferred(&mut held);
    office.agent.until_hung_up(&[&consult]);
    assert_eq!(office.channels(&node), 2, "one for the caller and one for the colleague");
    office.others_talk(caller, at_colleague, 3);
}

#[test]
fn calls_on_two_nodes_are_joined_across_them() {
    let mut office = Office::open(211, 2, "{ affinity: false }");
    let (caller, mut held, first) = office.caller();
    let (consult, at_colleague, second) = office.consultation();
    assert_ne!(first, second);
    let refer_to = consult.replaced_at(&consult.target);
    office.agent.refers(&mut held, &refer_to);
    office.agent.until_transferred(&mut held);
    office.agent.until_hung_up(&[&consult]);
    let join =
        office.farm.edge().calls().into_iter().find(|call| call.node == second).expect("a call on the second node");
    let explained = office.farm.edge().explain(&join.call_id);
    assert_eq!((explained.choice.as_str(), explained.from.as_str()), ("replaces", first.as_str()));
    office.others_talk(caller, at_colleague, 2);
}

#[test]
fn calls_on_two_nodes_are_joined_by_the_colleagues_number_too() {
    let mut office = Office::open(212, 2, "{ affinity: false }");
    let (caller, mut held, first) = office.caller();
    let (consult, at_colleague, second) = office.consultation();
    assert_ne!(first, second);
    let refer_to = consult.replaced_at(&format!("sip:{COLLEAGUE}@pbx.example.com"));
    office.agent.refers(&mut held, &refer_to);
    office.agent.until_transferred(&mut held);
    office.agent.until_hung_up(&[&consult]);
    office.others_talk(caller, at_colleague, 2);
}

#[test]
fn an_agent_passes_his_caller_on_without_asking_anybody() {
    let mut office = Office::open(213, 3, "{ gate: queue }");
    let (caller, mut held, node) = office.caller();
    office.agent.refers(&mut held, &format!("<sip:{COLLEAGUE}@pbx.example.com>"));
    let at_colleague = office.colleague.answers();
    office.agent.until_transferred(&mut held);
    assert_eq!(office.channels(&node), 2);
    office.others_talk(caller, at_colleague, 3);
}

#[test]
fn both_ends_hold_and_either_hangs_up_on_every_node() {
    let mut office = Office::open(214, 3, "{ gate: queue }");
    let mut nodes = std::collections::BTreeSet::new();
    for round in 0..6 {
        let (mut caller, mut at_agent, node) = office.caller();
        nodes.insert(node);
        assert_eq!(office.agent.reinvites(&mut at_agent, "sendonly"), "recvonly");
        assert_eq!(office.agent.reinvites(&mut at_agent, "sendrecv"), "sendrecv");
        assert_eq!(office.outside.reinvites(&mut caller, "sendonly"), "recvonly");
        assert_eq!(office.outside.reinvites(&mut caller, "sendrecv"), "sendrecv");
        office.agent.hears(&at_agent, &office.outside, &caller);
        office.outside.hears(&caller, &office.agent, &at_agent);
        if round % 2 == 0 {
            office.outside.hangs_up(&mut caller);
            office.agent.until_hung_up(&[&at_agent]);
        } else {
            office.agent.hangs_up(&mut at_agent);
            office.outside.until_hung_up(&[&caller]);
        }
    }
    assert_eq!(nodes.len(), 3, "a call on each node");
    office.farm.ends_well();
}

#[test]
fn a_nodes_own_reinvite_reaches_the_phone_on_every_node() {
    let mut office = Office::open(215, 3, "{ gate: queue }");
    for _ in 0..3 {
        // The node asks for another codec as soon as the agent has answered.
        let dialled = office.outside.dials("142");
        let at_agent = office.agent.answers();
        let mut caller = office.outside.connected(dialled);
        assert_eq!(office.agent.takes_reinvite(&at_agent), "sendrecv");
        office.agent.hears(&at_agent, &office.outside, &caller);
        office.outside.hangs_up(&mut caller);
        office.agent.until_hung_up(&[&at_agent]);
    }
    office.farm.ends_well();
}
