//! The registrar: users from a file, phones that cannot register, registering for others, devices, and those who try what is
//! not theirs.

use std::process::Command;
use std::time::Duration;

use cordboard::registrar::digest::{Algorithm, ha1};

use crate::farm::Farm;
use crate::phone::{Message, Phone};
use crate::phones::users;
use crate::process::{need, run, secs, until};
use crate::sipp::{Load, Sipp, password_of};

/// A line of htdigest for this user.
fn line(user: &str) -> String {
    let hash = ha1(Algorithm::Md5, user.as_bytes(), b"pbx.example.com", password_of(user).as_bytes());
    format!("{user}:pbx.example.com:{}\n", String::from_utf8_lossy(hash.digits()))
}

/// Replaces a file at once.
fn write(farm: &Farm, name: &str, text: &str) {
    let new = farm.path("new");
    std::fs::write(&new, text).unwrap();
    std::fs::rename(new, farm.path(name)).unwrap();
}

fn phone(farm: &Farm, user: &str, port: u16) -> Phone {
    let mut phone = Phone::on_udp(user, &farm.phone_at(port), &farm.edge_at());
    phone.algorithm = Algorithm::Md5;
    phone
}

fn registers(phone: &mut Phone) -> u16 {
    let lines = phone.binding(600);
    phone.registers(&lines).code()
}

fn ended(farm: &Farm, cause: &str) -> f64 {
    farm.edge().metric("cordboard_bindings_ended_total", &[cause])
}

#[test]
fn users_come_and_go_with_their_file_and_a_broken_file_changes_nobody() {
    let farm = Farm::new(200).player("weight: 10", "answer", &[]);
    let file = farm.path("users.htdigest");
    write(&farm, "users.htdigest", &(line("1001") + &line("1002")));
    let section = format!("  algorithms: [md5]\n  users_file: {}\nlog: {{ level: debug }}\n", file.display());
    let mut farm = farm.registrar(&users(2001, 1), &section).start();
    let (mut stays, mut goes, mut comes) =
        (phone(&farm, "1001", 5061), phone(&farm, "1002", 5062), phone(&farm, "1003", 5063));
    assert_eq!([registers(&mut stays), registers(&mut goes), registers(&mut comes)], [200, 200, 401]);
    assert_eq!(registers(&mut phone(&farm, "2001", 5064)), 200, "one of the section");

    write(&farm, "users.htdigest", &(line("1001") + &line("1003")));
    until("who is gone has lost his registration", secs(10), || farm.edge().contacts_of("1002").is_empty());
    assert_eq!((ended(&farm, "user_removed"), registers(&mut goes)), (1.0, 401));
    assert_eq!(registers(&mut comes), 200, "who came may register");
    assert_eq!(farm.edge().contacts_of("1001").len(), 1);
    assert!(farm.edge_log().contains("registrar.users: 1 added, 1 removed"), "{}", farm.edge_log());
    assert!(farm.edge_log().contains("user=1002 cause=\"user_removed\""), "{}", farm.edge_log());

    let failed = farm.edge().metric("cordboard_config_reloads_total", &["failed"]);
    write(&farm, "users.htdigest", "1001 and the others\n");
    until("the edge has read the broken file", secs(10), || !farm.edge().status().config.last_load_ok);
    let place = format!("{}:1:1: this is no USER:REALM:HASH", file.display());
    let status = farm.edge().status();
    assert!(status.config.problems.iter().any(|problem| problem.starts_with(&place)), "{:?}", status.config.problems);
    assert_eq!(status.state, "degraded");
    assert!(farm.edge_log().contains(&place), "{}", farm.edge_log());
    assert!(farm.edge().metric("cordboard_config_reloads_total", &["failed"]) > failed);
    assert_eq!(farm.edge().metric("cordboard_config_last_reload_successful", &[]), 0.0);
    assert_eq!([registers(&mut stays), registers(&mut comes)], [200, 200], "the users of before");
    let check = farm.cli(&["check"]);
    assert!(check.code != 0 && check.stdout.contains(&place), "{check:?}");

    write(&farm, "users.htdigest", &(line("1001") + &line("1003") + &line("1004")));
    until("the edge has read the mended file", secs(10), || farm.edge().status().config.last_load_ok);
    assert_eq!(registers(&mut phone(&farm, "1004", 5065)), 200);
    let other = farm.yaml().replace("name: \"2001\"", "name: \"2002\"");
    std::fs::write(farm.path("other.yaml"), other).unwrap();
    for arguments in
        [&["diff", "--config"][..], &["diff", "--api", &format!("http://{}:8080", farm.ip(10)), "--config"]]
    {
        let diff = farm.cli(&[arguments, &[farm.path("other.yaml").to_str().unwrap()]].concat());
        assert_eq!(diff.stdout, "registrar.users: 1 added, 1 removed\n", "{diff:?}");
    }

    // Gone while the edge was not there: gone all the same.
    assert_eq!(farm.edge_mut().process.end("KILL", secs(5)), -1);
    write(&farm, "users.htdigest", &(line("1003") + &line("1004")));
    farm.start_edge();
    assert!(farm.edge().contacts_of("1001").is_empty());
    assert_eq!(farm.edge().contacts_of("1003").len(), 1);
    farm.until_all_up();
    farm.ends_well();
}

#[test]
fn a_phone_that_cannot_register_is_called_where_the_configuration_says() {
    let farm = Farm::new(201).node("weight: 10");
    let door = format!("    - {{ user: \"1999\", contact: \"sip:1999@{}\", q: 0.5 }}\n", farm.phone_at(5060));
    let section =
        format!("  contacts:\n{door}    - {{ user: \"1001\", contact: \"sip:1001@{}\" }}\n", farm.phone_at(5061));
    let mut farm = farm.registrar(&users(1001, 1), &section).with_asterisk();
    let players: [(u16, &str, &str, &[&str]); 2] =
        [(5060, "1999", "answer-then-bye", &["-d", "300"]), (5061, "1001", "answer", &[])];
    for (port, user, scenario, options) in players {
        let name = format!("door-{user}");
        let door = Sipp::node(&name, scenario, &farm.phone_at(port), options, farm.folder());
        farm.joins(door);
    }
    farm.carries(&Load::of("call-node-bye").called("1999").calls(2, 2));
    farm.carries(&Load::of("call").called("1001").hold(Duration::from_millis(500)));
    let state = |user: &str| {
        farm.edge().cli(&["agents"]).stdout.lines().find(|line| line.trim_start().starts_with(user)).map(str::to_owned)
    };
    assert!(state("1999").unwrap().contains("ready"), "{:?}", state("1999"));
    let shown = farm.edge().cli(&["locate", "1999"]);
    assert!(shown.code == 0 && shown.stdout.contains("permanent"), "{shown:?}");
    assert_eq!(farm.edge().registrations().len(), 2);
    assert_eq!(farm.edge().metric("cordboard_bindings", &[]), 0.0, "they are no bindings");

    // No REGISTER changes it, and nobody proves that he is a user without a password.
    let mut own = phone(&farm, "1001", 5062);
    assert_eq!(registers(&mut own), 200);
    assert_eq!(farm.edge().contacts_of("1001").len(), 2);
    assert_eq!(own.registers("Contact: *\r\nExpires: 0\r\n").code(), 200);
    assert_eq!(farm.edge().contacts_of("1001"), [format!("sip:1001@{}", farm.phone_at(5061))]);
    assert!(state("1001").unwrap().contains("ready"));
    assert_eq!(registers(&mut phone(&farm, "1999", 5063)), 401);

    let without = farm.yaml().replace(&door, "");
    farm.write(&without);
    until("it is gone from the file", secs(10), || farm.edge().cli(&["locate", "1999"]).code != 0);
    farm.carries(&Load::of("call").called("1001"));
    farm.ends_well();
}

#[test]
fn one_user_registers_others_where_the_configuration_says_so() {
    let farm = Farm::new(202).player("weight: 10", "answer", &[]);
    let admin = format!("    - {{ name: admin, password: {}, may_register: [\"10*\"] }}\n", password_of("admin"));
    let farm = farm.registrar(&[users(1001, 1), users(2001, 1)].concat(), &admin).start();
    let mut admin = phone(&farm, "admin", 5060);
    let mut other = phone(&farm, "1001", 5061);
    let for_user = |phone: &mut Phone, user: &str| {
        let own = format!("To: <sip:{}@", phone.user);
        let (lines, to) = (phone.binding(600), format!("To: <sip:{user}@"));
        let first = phone.register(&lines).replace(&own, &to);
        let challenge = phone.ask(&first);
        let proof = phone.proof(&challenge);
        let second = phone.register(&format!("{lines}{proof}")).replace(&own, &to);
        phone.ask(&second).code()
    };
    assert_eq!(for_user(&mut admin, "1001"), 200);
    assert_eq!(farm.edge().contacts_of("1001"), [admin.contact()]);
    assert_eq!(for_user(&mut admin, "2001"), 403, "no pattern is for him");
    assert_eq!(for_user(&mut admin, "1077"), 404, "there is no such user");
    assert_eq!(for_user(&mut other, "2001"), 403);
    assert_eq!(for_user(&mut other, "admin"), 403);
    assert_eq!(farm.edge().registrations().len(), 1);
    assert_eq!(farm.edge().metric("cordboard_requests_rejected_total", &["third_party"]), 3.0);
    farm.ends_well();
}

/// A node in the test's hands asks for a user, and the phone that hears it is returned what it heard.
fn asks(node: &mut Phone, phone: &mut Phone, uri: &str) -> Message {
    let from = format!("<sip:node@{}>;tag=n", uri.rsplit('@').next().unwrap().split(';').next().unwrap());
    node.send(&format!(
        "MESSAGE {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {};branch=z9hG4bK-{:x};rport\r\nMax-Forwards: 70\r\nFrom: {from}\r\n\
         To: <{uri}>\r\nCall-ID: ask-{uri}\r\nCSeq: 7 MESSAGE\r\nContent-Length: 0\r\n\r\n",
        node.address(),
        uri.len()
    ));
    let heard = phone.until_request("MESSAGE");
    phone.send(&heard.reply("200 OK", ""));
    heard
}

#[test]
fn a_device_is_known_by_its_instance_reached_by_its_gruu_and_through_its_path() {
    let farm = Farm::new(203).node("weight: 10");
    let mut farm = farm.registrar(&users(1001, 1), "  max_contacts: 3\n").start_unheard();
    let device = |phone: &Phone, number: u8, reg_id: u8| {
        format!(
            "Contact: <{}>;+sip.instance=\"<urn:uuid:00000000-0000-1000-8000-00000000000{number}>\";reg-id={reg_id};q=0.{reg_id}\r\n\
             Supported: path, gruu, outbound\r\nExpires: 600\r\n",
            phone.contact()
        )
    };
    let mut first = phone(&farm, "1001", 5061);
    let path = format!("<sip:proxy@{};lr>", farm.phone_at(5999));
    let lines = device(&first, 1, 1) + &format!("Path: {path}\r\n");
    let granted = first.registers(&lines);
    assert_eq!(
        (granted.code(), granted.header("Path"), granted.header("Require")),
        (200, Some(path.as_str()), Some("outbound"))
    );
    let contact = granted.header("Contact").unwrap();
    let gruu = contact.split("pub-gruu=\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap().to_owned();
    assert!(gruu.starts_with("sip:1001@pbx.example.com;gr=urn:uuid:"), "{contact}");

    // Another device that is wanted more, and the first one again from another place: by its other flow, then by the same.
    let mut second = phone(&farm, "1001", 5062);
    let lines = device(&second, 2, 9);
    assert_eq!(second.registers(&lines).code(), 200);
    let mut moved = phone(&farm, "1001", 5063);
    let lines = device(&moved, 1, 2);
    assert_eq!(moved.registers(&lines).code(), 200);
    assert_eq!(farm.edge().contacts_of("1001"), [second.contact(), moved.contact(), first.contact()]);
    let mut again = phone(&farm, "1001", 5064);
    let lines = device(&again, 1, 2);
    assert_eq!(again.registers(&lines).code(), 200);
    assert_eq!(farm.edge().contacts_of("1001"), [second.contact(), again.contact(), first.contact()]);

    // What the first device hears by its GRUU comes by its first flow once the other one is gone, with its Path as Route.
    let gone = format!(
        "Contact: <{}>;expires=0;+sip.instance=\"<urn:uuid:00000000-0000-1000-8000-000000000001>\";reg-id=2\r\n",
        again.contact()
    );
    assert_eq!(again.registers(&gone).code(), 200);
    let mut node = Phone::on_udp("node", &farm.at(1), &farm.edge_at());
    let heard = asks(&mut node, &mut first, &gruu);
    assert_eq!(heard.first_line(), format!("MESSAGE {} SIP/2.0", first.contact()));
    assert_eq!(heard.header("Route"), Some(path.as_str()));
    let heard = asks(&mut node, &mut second, "sip:1001@pbx.example.com");
    assert_eq!(
        (heard.first_line(), heard.header("Route")),
        (format!("MESSAGE {} SIP/2.0", second.contact()).as_str(), None)
    );

    // Of more phones than may be the one that was refreshed longest ago makes room.
    for port in [5065, 5066] {
        assert_eq!(registers(&mut phone(&farm, "1001", port)), 200);
    }
    let contacts = farm.edge().contacts_of("1001");
    assert!(contacts.len() == 3 && !contacts.contains(&first.contact()), "{contacts:?}");
    assert_eq!((ended(&farm, "displaced"), ended(&farm, "removed")), (1.0, 1.0));
    let fetched = second.registers("");
    assert_eq!((fetched.code(), fetched.headers("Contact").count()), (200, 3));
    assert_eq!(farm.edge_mut().process.end("TERM", secs(10)), 0);
}

#[test]
fn what_no_phone_says_is_refused_and_nothing_of_it_is_stored() {
    let farm = Farm::new(204).player("weight: 10", "answer", &[]).with("limits: { stranger_rate: 100000 }");
    let farm = farm.registrar(&users(1001, 2), "").start();
    let mut forger = phone(&farm, "1001", 5060);
    let proven = |forger: &mut Phone, lines: &str| {
        let challenge = forger.register("");
        let challenge = forger.ask(&challenge);
        let proof = forger.proof(&challenge);
        forger.register(&format!("{lines}{proof}"))
    };
    let flood: String = (0..17).map(|port| format!("Contact: <sip:1001@127.0.0.1:{}>\r\n", 6_000 + port)).collect();
    let some: String = flood.lines().take(6).map(|line| format!("{line}\r\n")).collect();
    let long = format!("Contact: <sip:{}@127.0.0.1>\r\n", "1".repeat(600));
    let path = format!("Path: <sip:{}@127.0.0.1;lr>\r\n{}", "p".repeat(600), forger.binding(600));
    for (sentence, lines, code) in [
        ("with seventeen contacts", flood, 403),
        ("with more contacts than a user may have", some, 403),
        ("with an endless contact", long, 400),
        ("with an endless Path", path, 400),
        ("with headers that add a body", "Contact: <sip:1001@127.0.0.1?body=x>\r\n".to_owned(), 400),
        (
            "with an escaped line end in a header of its contact",
            "Contact: <sip:1001@127.0.0.1?X=%0d%0aRoute:x>\r\n".to_owned(),
            400,
        ),
        ("with a line end in its contact", "Contact: <sip:1001@127.0.0.1\r\n >\r\n".to_owned(), 400),
        ("with a quote that never ends", "Contact: \"1001 <sip:1001@127.0.0.1>\r\n".to_owned(), 400),
        ("with an octet of nought in its contact", "Contact: <sip:10\u{0}01@127.0.0.1>\r\n".to_owned(), 400),
        ("with a Path that is none", format!("Path: x\r\n{}", forger.binding(600)), 400),
    ] {
        let text = proven(&mut forger, &lines);
        let answer = forger.ask(&text);
        assert_eq!(answer.code(), code, "{sentence}: {answer:?}");
        assert!(farm.edge().registrations().is_empty(), "{sentence}: something is stored");
    }
    let lines = forger.binding(600);
    for user in ["10%0d%0a01", "%00", "1001%20", "\u{e4}nna", "1001;x=y", "%31%30%30%32"] {
        let text = proven(&mut forger, &lines).replace("To: <sip:1001@", &format!("To: <sip:{user}@"));
        let answer = forger.ask(&text);
        assert!(user == "1001;x=y" || [400, 403, 404].contains(&answer.code()), "{user}: {answer:?}");
        assert!(farm.edge().contacts_of("1002").is_empty() && farm.edge().registrations().len() <= 1, "{user}");
    }
    let everything = proven(&mut forger, "Contact: *\r\nExpires: 0\r\n");
    forger.ask(&everything);

    // A nonce is good again with a higher count, and never with one that was there.
    let text = forger.register("");
    let challenge = forger.ask(&text);
    let proofs: Vec<String> = (0..3).map(|_| forger.proof(&challenge)).collect();
    for (proof, code) in [(&proofs[1], 200), (&proofs[1], 401), (&proofs[0], 401), (&proofs[2], 200)] {
        let text = forger.register(&format!("{lines}{proof}"));
        assert_eq!(forger.ask(&text).code(), code);
    }
    // What is older than what was granted last is refused, and the newest stays (RFC 3261 section 10.3 step 7).
    let text = proven(&mut forger, "Contact: *\r\nExpires: 0\r\n");
    let older = text.lines().map(|line| if line.starts_with("CSeq:") { "CSeq: 1 REGISTER" } else { line });
    let older: String = older.map(|line| format!("{line}\r\n")).collect::<String>().replace("z9hG4bK", "z9hG4bK-older");
    assert_eq!(forger.ask(&older).code(), 500);
    assert_eq!(farm.edge().contacts_of("1001"), [forger.contact()]);
    farm.ends_well();
}

/// Registers a user by sipsak; its exit code and what it printed.
fn sipsak(farm: &Farm, user: &str, password: &str) -> (i32, String) {
    need("sipsak");
    let uri = format!("sip:{user}@{}", farm.edge_at());
    let arguments = ["-U", "-vvv", "-s", &uri, "-a", password, "-u", user, "-C", "sip:sak@127.0.0.66", "-x", "600"];
    let output = run(Command::new("sipsak").args(arguments));
    (output.code, output.stdout + &output.stderr)
}

#[test]
fn sipsak_hears_the_same_for_a_wrong_password_and_for_nobody() {
    let farm = Farm::new(205).player("weight: 10", "answer", &[]);
    let farm = farm.registrar(&users(1001, 1), "  algorithms: [md5]\n").start();
    let told = |user: &str, password: &str| {
        let (code, text) = sipsak(&farm, user, password);
        let lines = text.lines().filter(|line| line.starts_with("SIP/2.0 ") || line.contains("stale"));
        (code, lines.map(str::to_owned).collect::<Vec<_>>(), text)
    };
    let (wrong, nobody) = (told("1001", "guess"), told("6661", "guess"));
    assert!(wrong.0 != 0 && wrong.1.iter().any(|line| line.starts_with("SIP/2.0 401")), "{}", wrong.2);
    assert!(wrong.1.iter().all(|line| line.starts_with("SIP/2.0 401")), "{}", wrong.2);
    assert_eq!((wrong.0, wrong.1), (nobody.0, nobody.1));
    assert!(farm.edge().registrations().is_empty());
    let (code, text) = sipsak(&farm, "1001", &password_of("1001"));
    assert_eq!(code, 0, "{text}");
    assert_eq!(farm.edge().contacts_of("1001"), ["sip:sak@127.0.0.66"]);
    farm.ends_well();
}

#[test]
fn the_strongest_digest_alone_is_enough_and_phones_register_over_ipv6() {
    let farm = Farm::new(207).player("weight: 10", "answer", &[]).listen("udp://[::1]:26070");
    let farm = farm.registrar(&users(1001, 2), "  algorithms: [sha-512-256]\n").start();
    let mut strong = Phone::on_udp("1001", &farm.phone_at(5060), &farm.edge_at());
    strong.algorithm = Algorithm::Sha512Of256;
    assert_eq!(registers(&mut strong), 200);
    let mut six = Phone::on_udp("1002", "[::1]:26071", "[::1]:26070");
    six.algorithm = Algorithm::Sha512Of256;
    assert_eq!(registers(&mut six), 200);
    assert_eq!(farm.edge().contacts_of("1002"), ["sip:1002@[::1]:26071;transport=udp"]);
    farm.ends_well();
}

#[test]
fn a_phone_behind_nat_whose_connection_is_closed_is_gone_at_once() {
    let farm = Farm::new(208).player("weight: 10", "answer", &[]);
    let farm = farm.registrar(&users(1001, 2), "").start();
    let mut inside = Phone::on_tcp("1001", &farm.edge_at());
    assert_eq!(inside.registers("Contact: <sip:1001@10.9.8.7:5060;transport=tcp>\r\nExpires: 600\r\n").code(), 200);
    let mut open = Phone::on_tcp("1002", &farm.edge_at());
    assert_eq!(registers(&mut open), 200);
    drop((inside, open));
    until("the edge has noticed", secs(10), || farm.edge().contacts_of("1001").is_empty());
    assert_eq!(ended(&farm, "connection_lost"), 1.0);
    assert_eq!(farm.edge().contacts_of("1002").len(), 1, "it may be reached where it says");
    farm.ends_well();
}

#[test]
fn a_phone_whose_registration_cannot_be_stored_hears_500_and_is_not_known_after_a_restart() {
    let mut farm = Farm::new(209).player("weight: 10", "answer", &[]).registrar(&users(1001, 2), "").start();
    assert_eq!(registers(&mut phone(&farm, "1001", 5061)), 200);
    let pid = farm.edge().process.pid().to_string();
    let output = run(Command::new("prlimit").args(["--pid", &pid, "--fsize=0"]));
    assert_eq!(output.code, 0, "{output:?}");
    assert_eq!(registers(&mut phone(&farm, "1002", 5062)), 500);
    assert_eq!(farm.edge().status().state, "degraded");
    assert_eq!(farm.edge_mut().process.end("KILL", secs(5)), -1);
    farm.start_edge();
    assert_eq!(farm.edge().contacts_of("1001").len(), 1);
    assert!(farm.edge().contacts_of("1002").is_empty());
    farm.until_all_up();
    farm.ends_well();
}
