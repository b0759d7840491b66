//! Phones: they register at the edge, nodes reach them there, and they call.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use cordboard::registrar::digest::Algorithm;

use crate::farm::Farm;
use crate::phone::Phone;
use crate::process::{Process, need, secs, until};
use crate::sipp::{Load, Sipp, password_of};

/// For phones that register side by side from one address, as hundreds of them never would.
const CROWD: &str = "limits: { stranger_rate: 100000 }";

/// Users whose names are numbers, one after the other.
pub fn users(from: u32, count: u32) -> Vec<String> {
    (from..from + count).map(|number| number.to_string()).collect()
}

fn no_channel_is_left(farm: &Farm, nodes: usize) {
    until("no call is left on a node", secs(15), || {
        (1..=nodes).all(|node| farm.lab().channels(&format!("ast-{node}")) == 0)
    });
}

fn bindings(farm: &Farm) -> f64 {
    farm.edge().metric("cordboard_bindings", &[])
}

/// A call of this user's to this number.
fn call_of(farm: &Farm, user: &str, number: &str) -> Load {
    let target = format!("{number}@{}", farm.edge_at());
    Load::of_phones("call", &[user.to_owned()]).called(number).with(&["-auth_uri", &target])
}

#[test]
fn phones_register_refresh_and_leave() {
    let mut farm =
        Farm::new(170).player("weight: 10", "answer", &[]).with(CROWD).registrar(&users(1001, 20), "").start();
    let at = farm.phone_at(5060);
    let phones = |scenario| Load::of_phones(scenario, &users(1001, 20)).from(&at);
    farm.carries(&phones("register"));
    assert_eq!(farm.edge().contacts_of("1001"), [format!("sip:1001@{at};transport=UDP")]);
    farm.carries(&phones("refresh").hold(Duration::from_millis(300)));
    assert_eq!(bindings(&farm), 20.0);
    assert_eq!(farm.edge().metric("cordboard_registrations_total", &["added"]), 20.0);
    farm.carries(&phones("unregister").hold(Duration::from_millis(300)));
    assert_eq!(farm.edge().metric("cordboard_bindings_ended_total", &["removed"]), 20.0);
    assert!(farm.edge().registrations().is_empty());
    farm.carries(&phones("register").with(&["-t", "t1"]));
    assert_eq!(farm.edge().contacts_of("1020"), [format!("sip:1020@{at};transport=TCP")]);
    farm.ends_well();
}

#[test]
fn an_agent_is_reached_through_every_node_and_either_end_may_hang_up() {
    let farm = Farm::new(171).node("weight: 10").node("weight: 10").node("weight: 10");
    let mut farm = farm.registrar(&users(1001, 3), "").with_asterisk();
    farm.phones(5060, &users(1001, 1), "answer", &[]);
    farm.phones(5070, &users(1002, 1), "answer-then-bye", &["-d", "300"]);
    let loads = [
        Load::of("call").called("1001").calls(9, 6).hold(Duration::from_millis(1_500)),
        Load::of("call-node-bye").called("1002").calls(9, 6),
    ];
    let mut gateways: Vec<Sipp> = loads.iter().map(|load| farm.load(load)).collect();
    gateways.iter_mut().for_each(Sipp::succeeds);
    for node in ["ast-1", "ast-2", "ast-3"] {
        let calls = farm.edge().metric("cordboard_node_calls_total", &[&format!("\"{node}\"")]);
        assert!(calls >= 3.0, "{node} had {calls} calls");
    }
    assert_eq!(farm.edge().metric("cordboard_agent_calls_total", &[]), 18.0);

    // Who is registered nowhere is not waited for.
    let began = Instant::now();
    farm.carries(&Load::of("refused").called("1003").with(&["-set", "code", "480"]));
    assert!(began.elapsed() < secs(3), "the caller heard it after {:?}", began.elapsed());
    farm.edge().until_no_calls(secs(10));
    no_channel_is_left(&farm, 3);
    farm.ends_well();
}

#[test]
fn phones_call_each_other_and_the_outside_through_a_node() {
    let farm = Farm::new(172).node("weight: 10").registrar(&users(1001, 3), "");
    let outside = format!("{}:5060", farm.ip(21));
    let farm = farm.gateway(&format!("name: outside, uri: \"sip:{outside}\""));
    let mut farm = farm.with_asterisk();
    farm.play_at(21, &outside, "answer", &[]);
    farm.until_all_up();
    farm.phones(5060, &users(1001, 2), "answer", &[]);
    let calls = [
        call_of(&farm, "1001", "1002").from(&farm.phone_at(5071)).calls(3, 5).hold(secs(1)),
        call_of(&farm, "1002", "0301234").from(&farm.phone_at(5072)).calls(3, 5).hold(secs(1)),
    ];
    let mut phones: Vec<Sipp> = calls.iter().map(|load| farm.load(load)).collect();
    phones.iter_mut().for_each(Sipp::succeeds);
    assert_eq!(farm.edge().metric("cordboard_agent_calls_total", &[]), 3.0);
    assert_eq!(farm.edge().metric("cordboard_node_calls_total", &["\"outside\""]), 3.0);

    // A phone that listens nowhere takes its call over the connection that it registered by.
    let mut phone = Phone::on_tcp("1003", &farm.edge_at());
    let lines = phone.binding(600);
    assert_eq!(phone.registers(&lines).code(), 200);
    let mut gateway = farm.load(&Load::of("call").called("1003").hold(Duration::from_millis(500)));
    let invite = phone.takes_a_call();
    assert_eq!(invite.first_line(), format!("INVITE {} SIP/2.0", phone.contact()));
    gateway.succeeds();
    farm.edge().until_no_calls(secs(10));
    no_channel_is_left(&farm, 1);
    farm.ends_well();
}

#[test]
fn a_phone_that_says_nothing_is_followed_by_the_next_one_and_one_whose_connection_is_gone_is_not_waited_for() {
    let mut farm = Farm::new(178).node("weight: 10").registrar(&users(1001, 2), "").with_asterisk();
    let register = |phone: &mut Phone, q: &str| {
        let lines = format!("Contact: <{}>;q={q}\r\nExpires: 600\r\n", phone.contact());
        assert_eq!(phone.registers(&lines).code(), 200);
    };
    let mut silent = Phone::on_udp("1001", &farm.phone_at(5060), &farm.edge_at());
    register(&mut silent, "1.0");
    let mut other = Phone::on_tcp("1001", &farm.edge_at());
    register(&mut other, "0.5");
    let mut gateway = farm.load(&Load::of("call").called("1001").hold(Duration::from_millis(500)));
    other.takes_a_call();
    gateway.succeeds();
    assert_eq!(silent.receive().unwrap().first_line(), format!("INVITE {} SIP/2.0", silent.contact()));
    farm.edge().until_no_calls(secs(40));

    let mut gone = Phone::on_tcp("1002", &farm.edge_at());
    register(&mut gone, "1.0");
    drop(gone);
    let began = Instant::now();
    farm.carries(&Load::of("refused").called("1002").with(&["-set", "code", "480"]));
    assert!(began.elapsed() < secs(4), "the caller heard it after {:?}", began.elapsed());
    farm.ends_well();
}

/// The users whose 200 came.
fn granted(phones: &Sipp) -> BTreeSet<String> {
    let log = phones.log();
    let granted = log.lines().filter_map(|line| line.strip_suffix(" registered"));
    granted.map(|line| line.rsplit(' ').next().unwrap().to_owned()).collect()
}

fn registered(farm: &Farm) -> BTreeSet<String> {
    farm.edge().registrations().into_iter().map(|agent| agent.user).collect()
}

#[test]
fn an_edge_that_is_killed_while_phones_register_knows_every_phone_that_was_told_so() {
    let mut farm = Farm::new(173).node("weight: 10").with(CROWD).registrar(&users(1000, 205), "").with_asterisk();
    farm.phones(5060, &users(1000, 5), "answer", &[]);
    let load = Load::of_phones("register", &users(1005, 200)).from(&farm.phone_at(5070));
    let mut phones = farm.load(&load);
    phones.until_logged("registered", 80, secs(10));
    farm.edge_mut().process.end("KILL", secs(5));
    let before = granted(&phones);
    farm.start_edge();

    let after = registered(&farm);
    let lost: Vec<&String> = before.difference(&after).collect();
    assert!(before.len() < 200 && lost.is_empty(), "{} were told, lost: {lost:?}", before.len());
    farm.until_known(&["ast-1"]);
    farm.carries(&Load::of("call").called("1003").calls(5, 10).hold(Duration::from_millis(500)));
    phones.succeeds();
    let all: BTreeSet<String> = users(1000, 205).into_iter().collect();
    assert_eq!(granted(&phones).len(), 200);
    assert_eq!(registered(&farm), all);
    assert_eq!(bindings(&farm), 205.0);
    farm.ends_well();
}

#[test]
fn whoever_does_not_prove_whose_phone_he_has_registers_nothing() {
    let mut farm =
        Farm::new(174).player("weight: 10", "answer", &[]).with(CROWD).registrar(&users(1001, 2), "").start();
    let at = farm.phone_at(5060);
    farm.carries(&Load::of_phones("wrong-password", &users(1001, 2)).password("guess").from(&at));
    farm.carries(&Load::of_phones("wrong-password", &users(6661, 2)).from(&at));

    let mut forger = Phone::on_udp("1001", &farm.phone_at(5080), &farm.edge_at());
    let lines = forger.binding(600);
    let proven = |forger: &mut Phone, lines: &str| {
        let challenge = forger.register("");
        let challenge = forger.ask(&challenge);
        let proof = forger.proof(&challenge);
        forger.register(&format!("{lines}{proof}"))
    };
    let contact = |text: &str| format!("Contact: {text}\r\nExpires: 600\r\n");
    let mut forged: Vec<(&str, String, u16)> = vec![];
    forged.push(("without a proof", forger.register(&lines), 401));
    forged.push((
        "with somebody's scheme",
        forger.register(&format!("{lines}Authorization: Basic MTAwMTpwdw==\r\n")),
        401,
    ));
    forged.push(("with an empty proof", forger.register(&format!("{lines}Authorization: Digest\r\n")), 401));
    let text = proven(&mut forger, &lines);
    forged.push(("with a wrong digest", text.replace("response=\"", "response=\"0"), 401));
    let text = proven(&mut forger, &lines);
    forged.push(("with a nonce of one's own", text.replace("nonce=\"", "nonce=\"0"), 401));
    let text = proven(&mut forger, &lines);
    forged.push(("with two users", text.replace("Digest ", "Digest username=\"1002\", "), 401));
    let text = proven(&mut forger, &lines);
    forged.push(("for another realm", text.replace("realm=\"pbx", "realm=\"abx"), 401));
    let text = proven(&mut forger, &lines);
    forged.push(("made for somebody else", text.replace("username=\"1001\"", "username=\"1002\""), 401));
    let text = proven(&mut forger, &lines);
    forged.push(("made for another registrar", text.replace("uri=\"sip:", "uri=\"sip:1002@"), 401));
    let text = proven(&mut forger, &lines);
    forged.push(("for somebody else", text.replace("To: <sip:1001@", "To: <sip:1002@"), 403));
    let text = proven(&mut forger, &lines);
    forged.push(("for nobody", text.replace("To: <sip:1001@", "To: <sip:"), 404));
    let text = proven(&mut forger, &lines);
    forged.push(("for another farm", text.replace("To: <sip:1001@pbx", "To: <sip:1001@abx"), 404));
    for (sentence, text, code) in [
        ("with a contact that is no URI", "<1001 at home>", 400),
        ("with a contact that is no SIP", "<tel:+491234>", 400),
        ("with headers in its contact", "<sip:1001@127.0.0.1?Route=%3Csip:127.0.0.66%3E>", 400),
        ("with an open bracket", "<sip:1001@127.0.0.1", 400),
        ("with a second contact that is broken", "<sip:1001@127.0.0.1>, <>", 400),
        ("with an impossible preference", "<sip:1001@127.0.0.1>;q=7", 400),
        ("with everything, for ten minutes", "*", 400),
    ] {
        forged.push((sentence, proven(&mut forger, &contact(text)), code));
    }
    let brief = forger.binding(5);
    forged.push(("for too short a time", proven(&mut forger, &brief), 423));
    let everything = format!("Contact: *\r\n{}", contact("<sip:1001@127.0.0.1>"));
    forged.push(("with everything and something", proven(&mut forger, &everything), 400));
    for (sentence, text, code) in &forged {
        let answer = forger.ask(text);
        assert_eq!(answer.code(), *code, "{sentence}: {answer:?}");
        assert!(farm.edge().registrations().is_empty(), "{sentence}: something is stored");
    }

    // A proof that was read on the wire is worth nothing a second time, nor at another address.
    let text = proven(&mut forger, &lines);
    assert_eq!(forger.ask(&text).code(), 200);
    let recorded = text.replace(&forger.contact(), "sip:1001@127.0.0.66").replace("z9hG4bK", "z9hG4bK-thief");
    let mut thief = Phone::on_udp("1001", &farm.phone_at(5081), &farm.edge_at());
    for _ in 0..3 {
        let answer = thief.ask(&recorded);
        assert_eq!(answer.code(), 401);
        assert!(answer.header("WWW-Authenticate").unwrap().contains("stale=true"), "{answer:?}");
    }
    assert_eq!(farm.edge().contacts_of("1001"), [forger.contact()]);
    assert_eq!(bindings(&farm), 1.0);
    farm.ends_well();
}

#[test]
fn a_registration_is_proven_by_any_digest_that_is_offered_and_ends_when_its_time_is_over() {
    let farm = Farm::new(175).player("weight: 10", "answer", &[]);
    let mut farm = farm.registrar(&users(1001, 2), "  min_expires: 1s\n  max_expires: 1h\n").start();
    let ports = [(5060, Algorithm::Md5), (5061, Algorithm::Sha256)];
    for (port, algorithm) in ports {
        let mut phone = Phone::on_udp("1001", &farm.phone_at(port), &farm.edge_at());
        phone.algorithm = algorithm;
        let lines = phone.binding(600);
        assert_eq!(phone.registers(&lines).code(), 200, "{algorithm:?}");
    }
    assert_eq!(farm.edge().contacts_of("1001").len(), 2);

    let mut phone = Phone::on_udp("1002", &farm.phone_at(5062), &farm.edge_at());
    let lines = phone.binding(1);
    assert!(phone.registers(&lines).header("Contact").unwrap().ends_with(";expires=1"));
    assert_eq!(bindings(&farm), 3.0);
    let is_there = || farm.edge().cli(&["locate", "1002"]).code == 0;
    assert!(is_there());
    until("the registration is over", secs(4), || !is_there());
    until("it is counted", secs(4), || farm.edge().metric("cordboard_bindings_ended_total", &["expired"]) == 1.0);
    until("its place is free", secs(4), || bindings(&farm) == 2.0);
    assert_eq!(farm.edge().cli(&["locate", "1001"]).code, 0);
    assert_eq!(farm.edge_mut().process.end("KILL", secs(5)), -1);
    farm.start_edge();
    assert_eq!(farm.edge().contacts_of("1001").len(), 2, "both are known again");
    assert!(farm.edge().contacts_of("1002").is_empty());
    farm.until_all_up();
    farm.ends_well();
}

#[test]
fn calls_go_on_while_hundreds_of_phones_register_each_second() {
    let farm = Farm::new(176).player("weight: 10", "answer", &[]).player("weight: 10", "answer", &[]);
    let mut farm = farm.with(CROWD).registrar(&users(2000, 1_500), "").start();
    // Two REGISTERs each: 300 a second, for ten seconds.
    let load = Load::of_phones("register", &users(2000, 1_500)).calls(1_500, 150).from(&farm.phone_at(5060));
    let mut phones = farm.load(&load);
    phones.until_logged("registered", 10, secs(5));
    let mut calls = farm.load(&Load::of("call").calls(180, 20).hold(secs(1)));
    calls.succeeds();
    phones.succeeds();
    assert_eq!(farm.edge().registrations().len(), 1_500);
    let commits = farm.edge().metric("cordboard_registration_commits_total", &[]);
    assert!((1.0..=1_500.0).contains(&commits), "{commits}");
    farm.ends_well();
}

/// So many seconds of nothing, as WAV: one channel, 8000 samples a second of 16 bits.
fn silence(secs: u32) -> Vec<u8> {
    let len = secs * 16_000;
    let mut file = b"RIFF".to_vec();
    file.extend((36 + len).to_le_bytes());
    file.extend(b"WAVEfmt \x10\0\0\0\x01\0\x01\0\x40\x1f\0\0\x80\x3e\0\0\x02\0\x10\0data");
    file.extend(len.to_le_bytes());
    file.resize(file.len() + len as usize, 0);
    file
}

/// Starts baresip as a phone of this user's: it registers, and answers every call. It would hang up at the end of its sound.
fn softphone(farm: &Farm, user: &str) -> Process {
    need("baresip");
    let folder = farm.path("baresip");
    std::fs::create_dir(&folder).unwrap();
    let at = farm.phone_at(5060);
    let config = format!(
        "module_path /usr/lib/baresip/modules\nsip_listen {at}\nnet_interface {ip}\naudio_source aufile,{silence}\n\
         audio_player aufile,/dev/null\nmodule g711.so\nmodule aufile.so\nmodule_app account.so\nmodule_app menu.so\n",
        ip = farm.ip(30),
        silence = folder.join("silence.wav").display()
    );
    let account = format!(
        "<sip:{user}@pbx.example.com>;outbound=\"sip:{}\";auth_user={user};auth_pass={};regint=60;answermode=auto\n",
        farm.edge_at(),
        password_of(user)
    );
    for (name, text) in [("config", config.into()), ("accounts", account.into()), ("silence.wav", silence(20))] {
        std::fs::write(folder.join(name), text).unwrap();
    }
    let arguments = ["-4", "-f", folder.to_str().unwrap()].map(str::to_owned);
    Process::start("baresip", "baresip", &arguments, &folder)
}

#[test]
fn a_phone_that_people_use_registers_takes_a_call_and_leaves() {
    // baresip 1.0 knows MD5, and gives up when it is offered anything else beside it.
    let farm = Farm::new(177).node("weight: 10").registrar(&users(1001, 1), "  algorithms: [md5]\n");
    let mut farm = farm.with_asterisk();
    let mut phone = softphone(&farm, "1001");
    until("baresip is registered", secs(10), || !farm.edge().contacts_of("1001").is_empty());
    farm.carries(&Load::of("call").called("1001").calls(2, 1).hold(secs(1)));
    farm.edge().until_no_calls(secs(10));
    no_channel_is_left(&farm, 1);
    phone.signal("TERM");
    until("baresip has taken its contact back", secs(10), || farm.edge().contacts_of("1001").is_empty());
    phone.wait(secs(10));
    farm.ends_well();
}

#[test]
fn a_phone_behind_nat_is_kept_reachable_and_is_gone_when_it_does_not_answer_any_more() {
    let lines = "  keep_alive: 300ms\n";
    let mut farm = Farm::new(184).player("weight: 10", "answer", &[]).registrar(&users(1001, 2), lines).start();
    let mut phone = Phone::on_udp("1001", &farm.phone_at(5060), &farm.edge_at());
    assert_eq!(phone.registers("Contact: <sip:1001@10.9.8.7:5060>\r\nExpires: 600\r\n").code(), 200);
    let mut open = Phone::on_udp("1002", &farm.phone_at(5061), &farm.edge_at());
    let own = open.binding(600);
    assert_eq!(open.registers(&own).code(), 200);
    for _ in 0..5 {
        let question = phone.receive().expect("an OPTIONS");
        assert_eq!(question.first_line(), "OPTIONS sip:1001@10.9.8.7:5060 SIP/2.0");
        phone.send(&question.reply("200 OK", ""));
    }
    assert_eq!(farm.edge().contacts_of("1001"), ["sip:1001@10.9.8.7:5060"]);
    until("a phone that says nothing is gone", secs(10), || farm.edge().contacts_of("1001").is_empty());
    assert_eq!(farm.edge().metric("cordboard_bindings_ended_total", &["unreachable"]), 1.0);
    assert_eq!(farm.edge().contacts_of("1002").len(), 1, "one that says where it is is not asked");
    // It is gone for good, also after a restart.
    farm.edge_mut().process.end("KILL", secs(5));
    farm.start_edge();
    assert!(farm.edge().contacts_of("1001").is_empty());
    farm.ends_well();
}

#[test]
fn what_phones_send_to_keep_their_own_way_open_is_answered_on_tcp_and_is_no_fault_on_udp() {
    let mut farm = Farm::new(218).player("weight: 10", "answer", &[]).registrar(&users(1001, 1), "");
    // Each thread lets its share of them through, and one may get all that a phone sends.
    farm = farm.with("limits: { stranger_rate: 20 }").start();
    let mut phone = Phone::on_udp("1001", &farm.phone_at(5060), &farm.edge_at());
    for ping in ["\r\n\r\n", "\r\n"].iter().cycle().take(200) {
        phone.send(ping);
    }
    let lines = phone.binding(600);
    assert_eq!(phone.registers(&lines).code(), 200, "they do not count as messages of a stranger");
    assert_eq!(farm.edge().metric("cordboard_messages_dropped_total", &[]), 0.0);

    let mut connection = TcpStream::connect(farm.edge_at()).unwrap();
    connection.set_read_timeout(Some(secs(5))).unwrap();
    let mut pong = [0; 2];
    for _ in 0..3 {
        // Also in two pieces, and behind the line end that answers a ping of the edge's side.
        connection.write_all(b"\r\n\r").unwrap();
        connection.write_all(b"\n").unwrap();
        connection.read_exact(&mut pong).unwrap();
        assert_eq!(&pong, b"\r\n", "one line end for two (RFC 5626 section 3.5.1)");
    }
    connection.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    assert!(connection.read(&mut pong).is_err(), "and no more");
    assert_eq!(farm.edge().metric("cordboard_messages_dropped_total", &[]), 0.0);
    farm.ends_well();
}
