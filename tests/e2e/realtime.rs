//! Nodes ask the edge who is in their queues, and what becomes of callers while it is away.

use crate::farm::Farm;
use crate::phone::Phone;
use crate::process::{secs, until};
use crate::sipp::Load;

/// One node, and these queues.
fn farm(net: u8, agents: &str) -> Farm {
    let users = ["1001", "1002"].map(str::to_owned);
    Farm::new(net).node("weight: 10").registrar(&users, "").with(&format!("agents: {agents}")).with_asterisk()
}

/// What the node says of the queue.
fn shown(farm: &Farm) -> String {
    farm.lab().does(&["cli", "ast-1", "queue", "show", "q700"])
}

/// A line for each member, without its state.
fn members(farm: &Farm) -> Vec<String> {
    let of = |line: &str| Some(line.trim().split_once(" (ringinuse")?.0.to_owned());
    shown(farm).lines().filter_map(of).collect()
}

const ANNA: &str = "1001 (Local/1001@edge-agent/n from Custom:1001)";
const BERT: &str = "1002 (Local/1002@edge-agent/n from Custom:1002)";

fn reload(farm: &Farm, from: &str, to: &str) {
    let text = farm.yaml();
    assert!(text.contains(from), "{from} is not in {text}");
    farm.write(&text.replace(from, to));
    assert_eq!(farm.cli(&["reload"]).code, 0);
}

fn registered(farm: &Farm, port: u16) -> Phone {
    let mut phone = Phone::on_udp("1001", &farm.phone_at(port), &farm.edge_at());
    let lines = phone.binding(600);
    assert_eq!(phone.registers(&lines).code(), 200);
    phone
}

#[test]
fn a_queue_of_the_edges_is_on_the_node_with_its_members_as_they_change_and_is_none_without_the_edge() {
    let queue = "queues: [{ name: q700, members: [1001], options: { strategy: ringall, timeout: 20 } }]";
    let mut farm = farm(247, &format!("{{ publish: true, realtime: queues, {queue} }}"));
    assert_eq!(members(&farm), [ANNA]);
    assert!(shown(&farm).contains("'ringall' strategy"), "{}", shown(&farm));

    // Who comes and goes is known with the next look, on all nodes, without a word to them.
    reload(&farm, "members: [1001]", "members: [1001, { user: 1002, penalty: 3 }]");
    assert_eq!(members(&farm), [ANNA.to_owned(), format!("{BERT} with penalty 3")]);
    reload(&farm, "members: [1001]", "members: [\"*2\"]");
    assert_eq!(members(&farm), [BERT]);
    reload(&farm, "members: [1001]", "members: [\"10*\"]");
    assert_eq!(members(&farm), [ANNA, BERT]);

    // A pause on a node stays that node's, and is not undone by the next look.
    farm.lab().does(&["cli", "ast-1", "queue", "pause", "member", "Local/1002@edge-agent/n"]);
    assert!(shown(&farm).lines().any(|line| line.contains(BERT) && line.contains("(paused")), "{}", shown(&farm));
    assert!(shown(&farm).lines().any(|line| line.contains(BERT) && line.contains("(paused")), "{}", shown(&farm));

    let mut phone = registered(&farm, 5060);
    let mut caller = farm.load(&Load::of("call").called("700").hold(secs(2)));
    let invite = phone.until_request("INVITE");
    phone.answers_invite(&invite);
    phone.is_hung_up_on();
    caller.succeeds();

    farm.edge_mut().process.end("KILL", secs(5));
    assert!(shown(&farm).contains("No such queue"), "{}", shown(&farm));
    farm.start_edge();
    assert_eq!(members(&farm), [ANNA, BERT]);
    farm.ends_well();
}

#[test]
fn who_waits_in_a_queue_whose_members_the_edge_knows_is_served_when_an_edge_that_was_away_is_back() {
    let mut farm = farm(248, "{ publish: true, realtime: members, queues: [{ name: q700, members: [1001] }] }");
    assert_eq!(members(&farm), [ANNA]);
    let waiting = |farm: &Farm| shown(farm).matches("(wait:").count();
    let mut caller = farm.load(&Load::of("call").called("700").hold(secs(20)));
    until("the caller waits for somebody to register", secs(5), || waiting(&farm) == 1);
    farm.edge_mut().process.end("KILL", secs(5));
    let empty = |farm: &Farm| shown(farm).contains("No Members");
    assert!(empty(&farm) && waiting(&farm) == 1, "the queue is there, and nobody in it: {}", shown(&farm));
    farm.start_edge();
    let mut phone = registered(&farm, 5060);
    let invite = phone.until_request("INVITE");
    phone.answers_invite(&invite);
    assert_eq!(members(&farm), [ANNA]);
    phone.is_hung_up_on();
    caller.succeeds();
    farm.ends_well();
}

#[test]
fn a_question_that_is_none_has_a_code_and_no_body() {
    let users = ["1001".to_owned()];
    let farm = Farm::new(249).node("weight: 10").registrar(&users, "");
    let farm = farm.with("agents: { publish: true, queues: [{ name: q700, members: [1001] }] }").start_unheard();
    let asked = |path: &str, form: &str| farm.edge().send_form(path, form);
    let (code, rows) = asked("/rt/queue_members/multi", "interface%20LIKE=%25&queue_name=q700");
    assert_eq!((code, rows.lines().count()), (200, 1), "{rows}");
    assert!(rows.contains("interface=Local%2F1001%40edge-agent%2Fn"), "{rows}");
    assert_eq!(asked("/rt/queue_members/update?uniqueid=q700.1001", "paused=1"), (200, "0".to_owned()));
    assert_eq!(asked("/rt/queues/single", "name=q701"), (200, String::new()));
    assert_eq!(asked("/rt/ps_endpoints/single", "id=1001"), (404, String::new()));
    assert_eq!(asked("/rt/queues/single", "name%20NEAR=q700"), (400, String::new()));
    assert_eq!(farm.edge().form("/rt/queues/single", "name=q700", "http://elsewhere.example"), 415);
    let no_registrar = farm.yaml().split("registrar:").next().unwrap().to_owned();
    farm.write(&no_registrar);
    assert_eq!(farm.cli(&["reload"]).code, 0);
    assert_eq!(asked("/rt/queues/single", "name=q700"), (503, String::new()), "that is not a queue that is gone");
}
