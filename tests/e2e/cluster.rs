//! Two edges that act as one.

use std::time::Duration;

use crate::edge::Edge;
use crate::farm::Farm;
use crate::phone::Phone;
use crate::process::{secs, until};
use crate::sipp::{Load, Sipp};
use crate::two::Two;

#[test]
fn two_edges_count_as_one() {
    let mut two = Two::start(150, "affinity: strict, deadline: 500ms");
    let mut loads = two.calls(20, 20, secs(6));
    until("all calls are up", secs(10), || two.on("ast-1")[0] + two.on("ast-2")[0] == 40);
    for node in ["ast-1", "ast-2"] {
        until("both edges see the same", secs(2), || two.on(node)[0] == two.on(node)[1]);
    }
    assert_eq!((two.on("ast-1")[0], two.on("ast-2")[0]), (10, 30), "by weight, over both edges");
    loads.iter_mut().for_each(Sipp::succeeds);
    for node in ["ast-1", "ast-2"] {
        until("nothing is left", secs(5), || two.on(node) == [0, 0]);
    }
    let missed = two.farm.edge().metric("cordboard_shared_store_questions_total", &["missed"]);
    assert!(missed <= 2.0, "{missed} questions were missed");
    two.ends_well();
}

#[test]
fn calls_of_an_edge_that_is_killed_go_on_at_the_other_and_are_counted_once() {
    let mut two = Two::start(151, "gone_after: 1s");
    let mut loads = two.calls(10, 20, secs(8));
    until("all calls are up", secs(10), || two.on("ast-1")[0] + two.on("ast-2")[0] == 20);
    two.other.process.end("KILL", secs(5));
    let edge = two.farm.edge();
    until("the other edge is gone", secs(5), || edge.status().edges.is_empty());
    until("its calls are here", secs(5), || edge.open_calls() == 20);
    assert_eq!(edge.node("ast-1").other_calls + edge.node("ast-2").other_calls, 0);
    loads[0].succeeds();
    // The gateway of the other edge has nobody to say BYE to.
    loads[1].process.end_or_kill("KILL", secs(5));
    let other = two.farm.other_edge();
    until("it is here again", secs(10), || other.status().edges.len() == 1);
    two.other = other;
}

#[test]
fn while_redis_is_away_calls_go_by_what_each_edge_knows() {
    let mut two = Two::start(152, "affinity: strict");
    two.redis.signal("STOP");
    let mut loads = two.calls(15, 15, secs(1));
    loads.iter_mut().for_each(Sipp::succeeds);
    until("it is said", secs(5), || {
        two.farm.edge().http("/readyz").is_some_and(|(_, text)| text.contains("shared store is away"))
    });
    two.redis.signal("CONT");
    until("Redis is asked again", secs(10), || two.farm.edge().metric("cordboard_shared_store_up", &[]) == 1.0);

    // Started again, and empty: what both know is told again.
    let mut loads = two.calls(6, 20, secs(6));
    until("all calls are up", secs(10), || two.on("ast-1")[0] + two.on("ast-2")[0] == 12);
    two.redis.end_or_kill("KILL", secs(5));
    two.redis = two.farm.redis();
    until("both know each other again", secs(10), || {
        [two.farm.edge(), &two.other].iter().all(|edge| edge.status().edges.len() == 1)
    });
    until("the counts are right again", secs(5), || {
        let [here, there] = [0, 1].map(|at| two.on("ast-1")[at] + two.on("ast-2")[at]);
        here == 12 && there == 12
    });
    loads.iter_mut().for_each(Sipp::succeeds);
    two.ends_well();
}

#[test]
fn a_drain_that_is_said_at_one_edge_holds_at_all_also_after_they_started_anew() {
    let mut two = Two::start(153, "affinity: strict");
    assert_eq!(two.farm.cli(&["drain", "ast-1"]).code, 0);
    until("it drains at the other edge", secs(5), || two.other.node("ast-1").admin == "draining");
    two.calls(8, 20, Duration::from_millis(200)).iter_mut().for_each(Sipp::succeeds);
    assert_eq!(two.other.metric("cordboard_node_calls_total", &["\"ast-1\""]), 0.0);

    // One is away when it is taken back, and comes back with what it knew.
    two.other.process.end("TERM", secs(10));
    assert_eq!(two.farm.cli(&["enable", "ast-1"]).code, 0);
    two.other = two.farm.other_edge();
    until("the other one hears of it", secs(5), || two.other.node("ast-1").admin == "enabled");

    assert_eq!(two.other.cli(&["drain", "ast-2"]).code, 0);
    until("it drains here", secs(5), || two.farm.edge().node("ast-2").admin == "draining");
    two.other.process.end("TERM", secs(10));
    two.farm.edge_mut().process.end("TERM", secs(10));
    two.farm.start_edge();
    two.other = two.farm.other_edge();
    assert_eq!(two.farm.edge().node("ast-2").admin, "draining");
    assert_eq!(two.other.node("ast-2").admin, "draining");
    assert_eq!(two.other.cli(&["enable", "ast-2"]).code, 0);
    until("it is enabled everywhere", secs(5), || two.farm.edge().node("ast-2").admin == "enabled");
    two.ends_well();
}

/// A node that dials by hand: a socket at its address.
struct Dialler {
    socket: std::net::UdpSocket,
    at: String,
    edge: String,
}

impl Dialler {
    fn new(farm: &Farm, k: usize, edge: &str) -> Self {
        let socket = std::net::UdpSocket::bind(farm.at(k)).unwrap();
        socket.set_read_timeout(Some(secs(10))).unwrap();
        Dialler { socket, at: farm.at(k), edge: edge.to_owned() }
    }

    /// A queue's call for an agent.
    fn dials(&self, user: &str, call_id: &str) {
        self.dials_with(user, call_id, "X-Edge-Queue: q700");
    }

    /// The same with another header.
    fn dials_with(&self, user: &str, call_id: &str, header: &str) {
        let at = &self.at;
        let text = format!(
            "INVITE sip:{user}@pbx.example.com SIP/2.0\r\nVia: SIP/2.0/UDP {at};branch=z9hG4bK-{call_id};rport\r\n\
             Max-Forwards: 70\r\nFrom: <sip:700@pbx.example.com>;tag={call_id}\r\nTo: <sip:{user}@pbx.example.com>\r\n\
             Call-ID: {call_id}\r\nCSeq: 1 INVITE\r\nContact: <sip:{at}>\r\n{header}\r\nContent-Length: 0\r\n\r\n"
        );
        self.socket.send_to(text.as_bytes(), &self.edge).unwrap();
    }

    fn hangs_up(&self, bye: &str) {
        self.socket.send_to(bye.as_bytes(), &self.edge).unwrap();
    }

    /// The final answer to what was dialled last, acknowledged, and the BYE of a call that is up.
    fn final_answer(&self, user: &str, call_id: &str) -> (u16, Option<String>) {
        let mut octets = [0; 65_536];
        loop {
            let (len, _) = self.socket.recv_from(&mut octets).expect("a final answer comes");
            let text = String::from_utf8_lossy(&octets[..len]).into_owned();
            let code: u16 = text.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
            if !text.starts_with("SIP/2.0") || code < 200 || !text.contains(call_id) || !text.contains("INVITE") {
                continue;
            }
            let to = text.lines().find(|line| line.starts_with("To:")).unwrap_or_default().to_owned();
            let at = &self.at;
            // SIPp writes those that it heard into one line.
            let recorded = text.lines().filter_map(|line| line.strip_prefix("Record-Route:"));
            let recorded: Vec<&str> = recorded.flat_map(|line| line.split(',')).map(str::trim).collect();
            let routes: String = recorded.into_iter().rev().map(|route| format!("Route: {route}\r\n")).collect();
            let contact = text.lines().find_map(|line| line.strip_prefix("Contact: <")?.split('>').next());
            let contact = contact.filter(|_| code < 300);
            let uri = contact.map_or_else(|| format!("sip:{user}@pbx.example.com"), str::to_owned);
            let request = |method: &str, cseq: u32| {
                format!(
                    "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {at};branch=z9hG4bK-{method}-{call_id};rport\r\nMax-Forwards: 70\r\n\
                     {routes}From: <sip:700@pbx.example.com>;tag={call_id}\r\n{to}\r\nCall-ID: {call_id}\r\n\
                     CSeq: {cseq} {method}\r\nContent-Length: 0\r\n\r\n"
                )
            };
            if code < 300 {
                self.socket.send_to(request("ACK", 1).as_bytes(), &self.edge).unwrap();
                return (code, Some(request("BYE", 2)));
            }
            let ack = format!(
                "ACK {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {at};branch=z9hG4bK-{call_id};rport\r\nMax-Forwards: 70\r\n\
                 From: <sip:700@pbx.example.com>;tag={call_id}\r\n{to}\r\nCall-ID: {call_id}\r\nCSeq: 1 ACK\r\nContent-Length: 0\r\n\r\n"
            );
            self.socket.send_to(ack.as_bytes(), &self.edge).unwrap();
            return (code, None);
        }
    }
}

#[test]
fn a_user_has_one_list_of_phones_over_both_edges() {
    let farm = Farm::new(157).node("weight: 10").registrar(&["1001".to_owned()], "  max_contacts: 2\n");
    let farm = farm.of_two("affinity: local");
    let mut redis = farm.redis();
    let farm = farm.start_unheard();
    let mut other = farm.other_edge();
    let knows = |edge: &Edge, port: &str| edge.cli(&["locate", "1001"]).stdout.contains(&format!(":{port}"));
    let mut phones = [(5061, farm.edge_at()), (5062, farm.other_at()), (5063, farm.other_at())]
        .map(|(port, edge)| Phone::on_udp("1001", &farm.phone_at(port), &edge));
    let mut register = |at: usize| {
        let binding = phones[at].binding(300);
        let granted = phones[at].registers(&binding);
        assert_eq!(granted.code(), 200);
        let port = |line: &str| line.split([';', '>']).next().unwrap().rsplit(':').next().unwrap().to_owned();
        let mut ports: Vec<String> = granted.headers("Contact").map(port).collect();
        ports.sort_unstable();
        ports
    };
    assert_eq!(register(0), ["5061"]);
    until("the other edge knows him", secs(5), || knows(&other, "5061"));
    assert_eq!(register(1), ["5061", "5062"]);
    until("this edge knows both", secs(5), || knows(farm.edge(), "5062"));
    // The one that was refreshed longest ago makes room, at the edge where it is.
    assert_eq!(register(2), ["5062", "5063"]);
    let bindings = || farm.edge().metric("cordboard_bindings", &[]);
    until("it has gone from the first edge", secs(5), || bindings() == 0.0);
    assert_eq!(other.process.end("TERM", secs(10)), 0);
    farm.ends_well();
    redis.end_or_kill("TERM", secs(5));
}

#[test]
fn of_two_who_reserve_an_agent_at_two_edges_at_the_same_moment_one_gets_him_and_calls_him_through_either() {
    let farm = Farm::new(156).node("weight: 10").node("weight: 10").registrar(&["1001".to_owned()], "");
    let farm = farm.of_two("affinity: local");
    let mut redis = farm.redis();
    let mut farm = farm.start_unheard();
    let mut other = farm.other_edge();
    until("both edges know each other", secs(10), || {
        farm.edge().status().edges.len() == 1 && other.status().edges.len() == 1
    });
    farm.phones(5060, &["1001".to_owned()], "answer", &[]);
    let is_ready =
        |edge: &Edge| edge.cli(&["agents"]).stdout.lines().any(|line| line.contains("1001") && line.contains(" ready"));
    let nodes = [Dialler::new(&farm, 1, &farm.edge_at()), Dialler::new(&farm, 2, &farm.other_at())];
    for repetition in 0..20 {
        until("he is ready at both edges", secs(10), || is_ready(farm.edge()) && is_ready(&other));
        let reserve = |edge: &Edge| edge.send("POST", "/api/v1/agents/reserve", "{\"hold_secs\":20}").1;
        let both = std::thread::scope(|scope| {
            let there = scope.spawn(|| reserve(&other));
            [reserve(farm.edge()), there.join().unwrap()]
        });
        let read = |text: &String| serde_json::from_str::<serde_json::Value>(text).unwrap()["token"].clone();
        let tokens: Vec<_> = both.iter().map(read).filter(|token| !token.is_null()).collect();
        let [token] = &tokens[..] else { panic!("repetition {repetition}: {both:?}") };
        // Each edge in turn, whichever held him.
        let (node, call) = (&nodes[repetition % 2], format!("reserved-{repetition}"));
        node.dials_with("1001", &call, &format!("X-Edge-Reservation: {}", token.as_str().unwrap()));
        let (code, bye) = node.final_answer("1001", &call);
        assert_eq!(code, 200, "repetition {repetition}");
        node.hangs_up(&bye.unwrap());
    }
    for edge in [farm.edge(), &other] {
        edge.until_no_calls(secs(40));
    }
    assert_eq!(other.process.end("TERM", secs(10)), 0);
    farm.ends_well();
    redis.end_or_kill("TERM", secs(5));
}

#[test]
fn queues_behind_two_edges_that_want_one_agent_at_the_same_moment_ring_him_once() {
    let farm = Farm::new(154).node("weight: 10").node("weight: 10").registrar(&["1001".to_owned()], "");
    let farm = farm.of_two("affinity: strict");
    let mut redis = farm.redis();
    let mut farm = farm.start_unheard();
    let mut other = farm.other_edge();
    until("both edges know each other", secs(10), || {
        farm.edge().status().edges.len() == 1 && other.status().edges.len() == 1
    });
    farm.phones(5060, &["1001".to_owned()], "answer", &[]);
    let is_ready =
        |edge: &Edge| edge.cli(&["agents"]).stdout.lines().any(|line| line.contains("1001") && line.contains(" ready"));
    let nodes = [Dialler::new(&farm, 1, &farm.edge_at()), Dialler::new(&farm, 2, &farm.other_at())];
    let repetitions =
        std::env::var("CORDBOARD_E2E_REPETITIONS").ok().and_then(|count| count.parse().ok()).unwrap_or(200);
    for repetition in 1..=repetitions {
        until("he is ready at both edges", secs(10), || is_ready(farm.edge()) && is_ready(&other));
        let calls = [1, 2].map(|node| format!("both-{repetition}-{node}"));
        nodes.iter().zip(&calls).for_each(|(node, call)| node.dials("1001", call));
        let answers = [0, 1].map(|at| nodes[at].final_answer("1001", &calls[at]));
        let mut codes = [answers[0].0, answers[1].0];
        codes.sort_unstable();
        assert_eq!(codes, [200, 486], "repetition {repetition}");
        // He is talking until both have heard.
        for (node, (_, bye)) in nodes.iter().zip(&answers) {
            bye.iter().for_each(|bye| node.hangs_up(bye));
        }
    }
    for edge in [farm.edge(), &other] {
        edge.until_no_calls(secs(40));
    }
    let rings = [farm.edge(), &other].map(|edge| edge.metric("cordboard_agent_calls_total", &[])).iter().sum::<f64>();
    println!("{repetitions} repetitions: {rings} rings");
    assert_eq!(rings, f64::from(repetitions));
    assert_eq!(other.process.end("TERM", secs(10)), 0);
    farm.ends_well();
    redis.end_or_kill("TERM", secs(5));
}

#[test]
fn a_phone_on_tcp_takes_calls_that_come_to_another_edge_and_moves_when_its_edge_dies() {
    let farm = Farm::new(155).node("weight: 10").registrar(&["1001".to_owned()], "").of_two("gone_after: 1s");
    let mut redis = farm.redis();
    let mut farm = farm.with_asterisk();
    let mut other = farm.other_edge();
    until("both edges know each other", secs(10), || {
        farm.edge().status().edges.len() == 1 && other.status().edges.len() == 1
    });
    let mut phone = Phone::on_tcp("1001", &farm.other_at());
    let lines = phone.binding(600);
    assert_eq!(phone.registers(&lines).code(), 200);
    let is_ready =
        |farm: &Farm| farm.cli(&["agents"]).stdout.lines().any(|line| line.contains("1001") && line.contains(" ready"));
    until("the first edge knows", secs(5), || is_ready(&farm));
    assert_eq!(farm.cli(&["locate", "1001"]).code, 0);

    let mut gateway = farm.load(&Load::of("call").called("1001").hold(Duration::from_millis(500)));
    phone.takes_a_call();
    gateway.succeeds();
    farm.edge().until_no_calls(secs(10));

    other.process.end("KILL", secs(5));
    drop(phone);
    until("the other edge is gone", secs(5), || farm.edge().status().edges.is_empty());
    let mut phone = Phone::on_tcp("1001", &farm.edge_at());
    let lines = phone.binding(600);
    assert_eq!(phone.registers(&lines).code(), 200);
    let mut gateway = farm.load(&Load::of("call").called("1001").hold(Duration::from_millis(500)));
    phone.takes_a_call();
    gateway.succeeds();
    farm.ends_well();
    redis.end_or_kill("TERM", secs(5));
}
