//! Queues on several nodes and one agent: he is rung once, and every queue knows what he is doing.

use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use crate::farm::Farm;
use crate::phone::{Message, Phone};
use crate::process::{secs, until};
use crate::sipp::{Load, Sipp};

pub const AGENT: &str = "1001";

/// Two nodes with the queue 700, whose members are these users.
pub fn farm(net: u8, users: &[&str], agents: &str) -> Farm {
    let users: Vec<String> = users.iter().map(|user| (*user).to_owned()).collect();
    let farm = Farm::new(net).node("weight: 10").node("weight: 10").pool("algorithm: round_robin");
    farm.registrar(&users, "").with(&format!("agents: {agents}")).with_asterisk()
}

/// What a node's dialplan gets for an expression.
pub fn evaluated(farm: &Farm, node: &str, expression: &str) -> String {
    let text = farm.lab().does(&["cli", node, "dialplan", "eval", "function", expression]);
    let result = text.lines().find_map(|line| line.strip_prefix("Result: ")).unwrap_or_default();
    result.trim().to_owned()
}

/// What the queue of a node says of a member.
fn queue_says(farm: &Farm, node: &str, user: &str) -> String {
    let text = farm.lab().does(&["cli", node, "queue", "show", "q700"]);
    let member = text.lines().find(|line| line.contains(&format!("Custom:{user})")));
    let member = member.unwrap_or_else(|| panic!("{user} is no member: {text}"));
    let known = ["Not in use", "In use", "On Hold", "Ringing", "Busy", "Unavailable", "Unknown"];
    let state = known.iter().find(|state| member.contains(&format!("({state})")));
    state.unwrap_or_else(|| panic!("{member}")).to_string()
}

pub fn until_queues_say(farm: &Farm, state: &str) {
    for node in ["ast-1", "ast-2"] {
        until(&format!("the queue of {node} says {state}"), secs(10), || queue_says(farm, node, AGENT) == state);
    }
}

/// How long after this moment the first look began that showed the state, for each node.
fn lags_until_queues_say(farm: &Farm, state: &str) -> Vec<Duration> {
    let changed = std::time::Instant::now();
    let lag = |node| {
        let mut began = Duration::ZERO;
        until(&format!("the queue of {node} says {state}"), secs(10), || {
            began = changed.elapsed();
            queue_says(farm, node, AGENT) == state
        });
        began
    };
    std::thread::scope(|scope| {
        let looks = ["ast-1", "ast-2"].map(|node| scope.spawn(move || lag(node)));
        looks.into_iter().map(|look| look.join().unwrap()).collect()
    })
}

pub fn agent_says(farm: &Farm, state: &str) {
    let agents = farm.cli(&["agents"]).stdout;
    let line = agents.lines().find(|line| line.contains(AGENT)).unwrap_or_default();
    assert!(line.split_whitespace().any(|word| word == state), "{agents}");
}

pub fn rings(farm: &Farm) -> u64 {
    farm.edge().metric("cordboard_agent_calls_total", &[]) as u64
}

/// A call at a phone, as SIPp's log of its messages has it: when its first INVITE came and when it was over, in seconds.
#[derive(Debug)]
struct Rung {
    call_id: String,
    began: f64,
    ended: f64,
}

/// All calls that were at a phone, the first first. One that is not over lasts for ever.
fn rung(messages: &str) -> Vec<Rung> {
    let mut calls: Vec<Rung> = Vec::new();
    for line in messages.lines() {
        let [_, _, at, direction, call_id, cseq, first] = line.split('\t').collect::<Vec<_>>()[..] else { continue };
        let at: f64 = at.parse().unwrap();
        let known = calls.iter_mut().find(|call| call.call_id == call_id);
        let is_over = direction == "S" && (cseq.ends_with("BYE") || is_refusal(first));
        match known {
            None if first.starts_with("INVITE") => {
                calls.push(Rung { call_id: call_id.to_owned(), began: at, ended: f64::INFINITY });
            }
            Some(call) if is_over => call.ended = call.ended.min(at),
            _ => {}
        }
    }
    calls
}

/// A final answer that is none to an INVITE, which ends it; the 200 to a CANCEL does not.
fn is_refusal(first: &str) -> bool {
    let code = first.strip_prefix("SIP/2.0 ").and_then(|rest| rest.get(..3)).and_then(|code| code.parse().ok());
    code.is_some_and(|code: u16| code >= 300)
}

#[test]
fn two_queues_that_want_one_agent_at_the_same_moment_ring_him_once() {
    let mut farm = farm(180, &[AGENT], "{ publish: true, wrapup: 1s }");
    let log = farm.path("phone.messages");
    let traced = ["-d", "300", "-trace_shortmsg", "-shortmessage_file", log.to_str().unwrap()];
    farm.phones(5060, &[AGENT.to_owned()], "answer-slow", &traced);
    let repetitions =
        std::env::var("CORDBOARD_E2E_REPETITIONS").ok().and_then(|count| count.parse().ok()).unwrap_or(8_u32);
    for _ in 0..repetitions {
        until_queues_say(&farm, "Not in use");
        let before = rings(&farm);
        // Both callers hold until both hang up, one on each node; the second one waits in its queue. On a busy machine one may be
        // gone before the phone has answered: then the other one has the agent, after him. Or both are, before their queues come so far.
        let mut callers = farm.load(&Load::of("call").called("700").calls(2, 1_000).hold(Duration::from_millis(1_500)));
        callers.succeeds();
        assert!(rings(&farm) - before <= 2, "a caller rings him once");
    }
    let per_node = |node| farm.edge().metric("cordboard_node_calls_total", &[&format!("\"{node}\"")]);
    let each = f64::from(repetitions);
    assert_eq!((per_node("ast-1"), per_node("ast-2")), (each, each), "one caller on each node");
    farm.edge().until_no_calls(secs(10));

    let calls = rung(&std::fs::read_to_string(&log).unwrap());
    let after_each_other = calls.windows(2).all(|pair| pair[0].ended <= pair[1].began);
    assert!(after_each_other, "he has two calls at once: {calls:#?}");
    assert_eq!(calls.len() as u64, rings(&farm), "what the edge counts is what was at the phone");
    assert!(calls.len() * 10 >= repetitions as usize * 9, "{} in {repetitions} repetitions", calls.len());
    println!("{} calls rang him in {repetitions} repetitions of two callers, never two at once", calls.len());
    farm.ends_well();
}

#[test]
fn the_caller_who_waits_is_served_when_the_agent_is_free_again() {
    let mut farm = farm(181, &[AGENT], "{ publish: true }");
    farm.phones(5060, &[AGENT.to_owned()], "answer", &[]);
    until_queues_say(&farm, "Not in use");
    let mut first = farm.load(&Load::of("call").called("700").hold(secs(6)));
    until_queues_say(&farm, "In use");
    let mut second = farm.load(&Load::of("call").called("700").hold(secs(14)));
    first.succeeds();
    until("the second caller has the agent", secs(5), || rings(&farm) == 2);
    second.succeeds();
    assert_eq!(rings(&farm), 2);
    farm.ends_well();
}

#[test]
fn every_queue_tells_what_an_agent_is_doing_also_after_a_node_or_the_edge_was_killed() {
    let mut farm = farm(182, &[AGENT, "1002"], "{ publish: true, wrapup: 2s }");
    until_queues_say(&farm, "Unavailable");
    farm.phones(5060, &[AGENT.to_owned()], "answer-slow", &["-d", "5000"]);
    until_queues_say(&farm, "Not in use");
    let mut caller = farm.load(&Load::of("call").called("700").hold(secs(14)));
    until_queues_say(&farm, "Ringing");
    agent_says(&farm, "ringing");
    until_queues_say(&farm, "In use");
    agent_says(&farm, "in_use");

    // The edge forgets nothing of it.
    farm.edge_mut().process.end("KILL", secs(5));
    farm.start_edge();
    agent_says(&farm, "in_use");
    farm.until_known(&["ast-1", "ast-2"]);
    until_queues_say(&farm, "In use");
    caller.succeeds();
    until_queues_say(&farm, "Not in use");

    // The queues say the same as the edge within a tenth of a second, in the middle of several changes on a busy machine.
    let mut lags: Vec<Duration> = Vec::new();
    for (word, state) in [("not-ready", "Unavailable"), ("ready", "Not in use")].into_iter().cycle().take(10) {
        assert_eq!(farm.cli(&[word, AGENT]).code, 0);
        lags.extend(lags_until_queues_say(&farm, state));
    }
    lags.sort();
    println!("queues follow the edge: median {:?}, longest {:?}", lags[lags.len() / 2], lags[lags.len() - 1]);
    assert!(lags[lags.len() / 2] <= Duration::from_millis(100), "{lags:?}");

    // A node that starts again knows nothing and asks.
    assert_eq!(farm.cli(&["not-ready", AGENT, "lunch"]).code, 0);
    until_queues_say(&farm, "Unavailable");
    farm.lab().does(&["kill", "ast-2"]);
    assert_eq!(farm.cli(&["ready", AGENT]).code, 0);
    farm.lab().does(&["start", "ast-2"]);
    until_queues_say(&farm, "Not in use");
    until("the node knows all agents again", secs(5), || queue_says(&farm, "ast-2", "1002") == "Unavailable");
    farm.ends_well();
}

#[test]
fn a_queues_call_is_wrapped_up_and_a_phone_that_leaves_is_unavailable() {
    let mut farm = farm(183, &[AGENT], "{ publish: true, wrapup: 6s }");
    let mut phone = Phone::on_udp(AGENT, &farm.phone_at(5060), &farm.edge_at());
    let lines = phone.binding(600);
    assert_eq!(phone.registers(&lines).code(), 200);
    until_queues_say(&farm, "Not in use");
    let mut caller: Sipp = farm.load(&Load::of("call").called("700").hold(secs(1)));
    let invite = phone.takes_a_call();
    assert!(invite.header("X-Edge-Queue").is_none(), "what nodes say to the edge is not the phone's business");
    caller.succeeds();
    until_queues_say(&farm, "Busy");
    agent_says(&farm, "wrapup");
    until_queues_say(&farm, "Not in use");
    assert_eq!(phone.registers("Contact: *\r\nExpires: 0\r\n").code(), 200);
    until_queues_say(&farm, "Unavailable");
    farm.ends_well();
}

#[test]
fn a_dialplan_asks_by_http_who_is_free_and_an_edge_that_is_away_keeps_nobody_waiting() {
    let mut farm = farm(185, &[AGENT, "1002"], "{ publish: true }");
    for module in ["res_curl.so", "func_curl.so"] {
        farm.lab().does(&["cli", "ast-1", "module", "load", module]);
    }
    farm.phones(5060, &[AGENT.to_owned()], "answer", &[]);
    let lookup = |user: &str| format!("CURL(http://{}:8080/api/v1/location/{user}/dial)", farm.ip(10));
    assert_eq!(evaluated(&farm, "ast-1", &lookup(AGENT)), "ready,PJSIP/1001@edge");
    assert_eq!(evaluated(&farm, "ast-1", &lookup("1002")), "unavailable,");
    let (asked, began) = (lookup(AGENT), std::time::Instant::now());
    farm.edge_mut().process.end("KILL", secs(5));
    assert_eq!(evaluated(&farm, "ast-1", &asked), "");
    assert!(began.elapsed() < secs(3));
    farm.start_edge();
    farm.ends_well();
}

#[test]
fn a_dialplan_asks_and_says_by_fastagi() {
    let agents = "{ publish: true, agi: \"127.0.186.10:4573\" }";
    let mut farm = farm(186, &[AGENT, "1002"], agents);
    farm.phones(5060, &[AGENT.to_owned()], "answer", &[]);
    assert_eq!(farm.cli(&["drain", "ast-2"]).code, 0);
    let edge = format!("agi://{}:4573", farm.ip(10));
    let ask = |farm: &Farm, line: &str| {
        let context = ["dialplan", "add", "extension"];
        let words = [&["cli", "ast-1"][..], &context, &[line, "into", "from-edge", "replace"]].concat();
        farm.lab().does(&words);
    };
    ask(&farm, "*1,1,AGI(EDGE/locate,1001)".replace("EDGE", &edge).as_str());
    // The console takes quotes away, so nothing in an expression needs any.
    ask(&farm, "*1,2,GotoIf($[${LOC_STATE}${LEN(${LOC_DIAL})}=ready15]?3:9)");
    ask(&farm, "*1,3,AGI(EDGE/set,1001,not_ready,lunch)".replace("EDGE", &edge).as_str());
    ask(&farm, "*1,4,AGI(EDGE/state,1001)".replace("EDGE", &edge).as_str());
    ask(&farm, "*1,5,GotoIf($[${AGENT_STATE}${AGENT_REASON}=not_readylunch]?6:9)");
    ask(&farm, "*1,6,Answer()");
    ask(&farm, "*1,7,Wait(5)");
    ask(&farm, "*1,9,Hangup(1)");
    farm.carries(&Load::of("call").called("*1").hold(Duration::from_millis(300)));
    agent_says(&farm, "not_ready");
    until_queues_say(&farm, "Unavailable");
    farm.ends_well();
}

/// A node that answers OPTIONS and refuses PUBLISH with this code, until it is dropped.
struct Refuser {
    stop: Arc<AtomicBool>,
    published: Arc<AtomicUsize>,
    socket: UdpSocket,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Refuser {
    fn start(at: &str, refusal: &Arc<AtomicUsize>) -> Self {
        let socket = UdpSocket::bind(at).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let (stop, published) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let (stopped, count, refusal) = (Arc::clone(&stop), Arc::clone(&published), Arc::clone(refusal));
        let own = socket.try_clone().unwrap();
        let thread = std::thread::spawn(move || {
            let mut buffer = [0; 4_096];
            while !stopped.load(Ordering::Relaxed) {
                let Ok((len, from)) = socket.recv_from(&mut buffer) else { continue };
                let request = Message::read(&buffer[..len]);
                if request.code() != 0 {
                    continue;
                }
                let is_publish = request.first_line().starts_with("PUBLISH");
                count.fetch_add(usize::from(is_publish), Ordering::Relaxed);
                let code = if is_publish { refusal.load(Ordering::Relaxed) } else { 200 };
                socket.send_to(request.reply(&format!("{code} So"), "").as_bytes(), from).unwrap();
            }
        });
        Refuser { stop, published, socket: own, thread: Some(thread) }
    }

    /// Wants to be told of all agents, as a node does that starts.
    fn asks(&self, edge: &str) {
        let at = self.socket.local_addr().unwrap();
        let body = r#"{"type":"refresh","eid":"02:00:00:00:00:11"}"#;
        let request = format!(
            "PUBLISH sip:ast-1@{edge} SIP/2.0\r\nVia: SIP/2.0/UDP {at};rport;branch=z9hG4bKasks\r\nMax-Forwards: 70\r\n\
             From: <sip:ast-1@{at}>;tag=1\r\nTo: <sip:ast-1@{edge}>\r\nCall-ID: asks@{at}\r\nCSeq: 1 PUBLISH\r\n\
             Event: asterisk-devicestate\r\nExpires: 600\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        self.socket.send_to(request.as_bytes(), edge).unwrap();
    }

    fn published(&self) -> usize {
        self.published.load(Ordering::Relaxed)
    }
}

impl Drop for Refuser {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().map(std::thread::JoinHandle::join);
    }
}

#[test]
fn a_node_that_refuses_states_is_left_alone_and_complained_of_once() {
    let users: Vec<String> = (1001..1201).map(|user| user.to_string()).collect();
    let farm = Farm::new(224).node("weight: 10").registrar(&users, "").with("agents: { publish: true }");
    let refusal = Arc::new(AtomicUsize::new(403));
    let node = Refuser::start(&farm.at(1), &refusal);
    let farm = farm.start();
    let complaints = |farm: &Farm| farm.edge().node("ast-1").complaints.join("; ");
    until("it is complained of", secs(10), || complaints(&farm).contains("not told of agents: it answers 403"));
    let gauge = |farm: &Farm| farm.edge().metric("cordboard_node_complaint", &["\"ast-1\"", "states"]);
    assert_eq!(gauge(&farm), 1.0);
    // Changes do not make it ask again before its time: after 250 ms, and then twice as long each time.
    for word in ["not-ready", "ready"].into_iter().cycle().take(6) {
        assert_eq!(farm.cli(&[word, AGENT]).code, 0);
    }
    assert!(node.published() <= 64 + 8, "{} for 200 agents", node.published());
    assert_eq!(farm.edge_log().matches("node ast-1 does not take agents' states").count(), 1, "{}", farm.edge_log());
    assert_eq!(farm.edge().node("ast-1").state, "up", "calls go on");

    // It asks for the states when it has been put right, and is told at once.
    refusal.store(200, Ordering::Relaxed);
    node.asks(&farm.edge_at());
    until("it is told of everybody", secs(10), || node.published() >= 200);
    until("there is nothing to complain of", secs(5), || complaints(&farm).is_empty() && gauge(&farm) == 0.0);
    assert!(farm.edge_log().contains("node ast-1 takes agents' states again"));
    farm.ends_well();
}

/// The number of a metric's bucket that half of the observations are within, in seconds.
fn median_within(farm: &Farm, name: &str) -> f64 {
    let metrics = farm.edge().metrics();
    let bucket = |line: &str| {
        let (labels, count) = line.strip_prefix(&format!("{name}_bucket{{le=\""))?.split_once("\"} ")?;
        Some((labels.parse::<f64>().unwrap_or(f64::INFINITY), count.parse::<f64>().unwrap()))
    };
    let buckets: Vec<(f64, f64)> = metrics.lines().filter_map(bucket).collect();
    let all = buckets.iter().map(|(_, count)| *count).fold(0.0, f64::max);
    buckets.iter().find(|(_, count)| *count * 2.0 >= all).map_or(f64::INFINITY, |(within, _)| *within)
}

#[test]
fn five_nodes_hear_of_a_change_at_once_and_of_a_thousand_agents_within_seconds() {
    let users: Vec<String> = (1001..2001).map(|user| user.to_string()).collect();
    let mut farm = Farm::new(225);
    for _ in 0..5 {
        farm = farm.node("weight: 10");
    }
    let farm = farm.registrar(&users, "").with("agents: { publish: true }").with_asterisk();
    let told = |farm: &Farm| farm.edge().metric("cordboard_agent_publications_total", &["2xx"]);
    until("the first one is told", secs(10), || told(&farm) > 0.0);
    let began = std::time::Instant::now();
    until("all nodes know all agents", secs(30), || told(&farm) >= 5_000.0);
    println!("1,000 agents at each of 5 nodes: told within {:?}", began.elapsed());
    assert!(began.elapsed() < secs(15), "{:?}", began.elapsed());

    // His phone need not be there: what he says counts as soon as it is.
    let mut phone = Phone::on_udp(AGENT, &farm.phone_at(5060), &farm.edge_at());
    let lines = phone.binding(600);
    assert_eq!(phone.registers(&lines).code(), 200);
    let observed = |farm: &Farm| farm.edge().metric("cordboard_agent_publication_seconds_count", &[]);
    let before = observed(&farm);
    for word in ["not-ready", "ready"].into_iter().cycle().take(20) {
        assert_eq!(farm.cli(&[word, AGENT]).code, 0);
    }
    until("all of it is known", secs(10), || observed(&farm) >= before + 20.0);
    let (sum, count) = (farm.edge().metric("cordboard_agent_publication_seconds_sum", &[]), observed(&farm));
    let median = median_within(&farm, "cordboard_agent_publication_seconds");
    println!("a change: median within {median} s, mean {:.4} s of {count} at 5 nodes", sum / count);
    assert!(median <= 0.25, "half of them took longer than {median} s");
    farm.ends_well();
}
