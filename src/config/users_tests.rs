//! Users from a file, and phones that cannot register: what is taken, and every kind of mistake.

use std::io;
use std::path::Path;
use std::time::Instant;

use super::*;
use crate::registrar::digest::{Algorithm, ha1};
use crate::registrar::users::Secrets;

const FILE: &str = "\
listen: [\"udp://127.0.0.10:5060\"]
pools: { inbound: { nodes: [{ name: ast-1, uri: \"sip:127.0.0.11\" }] } }
";

/// An environment in which one file has this text, whatever its name.
struct Folder(Option<String>);

impl Environment for Folder {
    fn variable(&self, _: &str) -> Option<String> {
        Some("a password".to_owned())
    }

    fn first_line(&self, _: &Path) -> io::Result<String> {
        Err(io::ErrorKind::NotFound.into())
    }

    fn users(&self, _: &Path) -> io::Result<Option<String>> {
        self.0.clone().map(Some).ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

fn checked(registrar: &str, users: &str) -> Result<Checked, ConfigProblems> {
    check(&format!("{FILE}registrar: {{ realm: pbx, {registrar} }}\n"), &Folder(Some(users.to_owned())))
}

/// Users by name, and what they can prove themselves by.
fn users(registrar: &str, text: &str) -> Vec<(String, Vec<&'static str>)> {
    let checked = checked(registrar, text).unwrap_or_else(|problems| panic!("{problems}"));
    let users = checked.config.registrar.unwrap().auth.unwrap().users;
    let known = |secrets: &Secrets| {
        let known = Algorithm::ALL.into_iter().filter(|algorithm| secrets.get(*algorithm).is_some());
        known.map(Algorithm::as_str).collect()
    };
    let mut list: Vec<_> = users.iter().map(|(aor, user)| (aor.to_string(), known(&user.secrets))).collect();
    list.sort();
    list
}

fn problems(registrar: &str, text: &str) -> Vec<String> {
    match checked(registrar, text) {
        Ok(checked) => panic!("accepted: {:?}", checked.config.registrar),
        Err(problems) => problems.0.iter().map(ToString::to_string).collect(),
    }
}

fn warnings(registrar: &str, text: &str) -> Vec<String> {
    let warnings = checked(registrar, text).unwrap().warnings;
    warnings
        .into_iter()
        .filter(|w| w.path.starts_with("registrar"))
        .map(|w| format!("{}: {}", w.path, w.what))
        .collect()
}

fn line(user: &str, realm: &str, algorithm: Algorithm) -> String {
    let hash = ha1(algorithm, user.as_bytes(), realm.as_bytes(), b"pw");
    format!("{user}:{realm}:{}\n", String::from_utf8_lossy(hash.digits()))
}

const HTDIGEST: &str = "users_file: /etc/users, algorithms: [md5]";

#[test]
fn lines_of_htdigest_are_users() {
    let text = format!(
        "# phones\r\n\n{}{}",
        line("1001", "pbx", Algorithm::Md5).to_uppercase().replace("PBX", "pbx"),
        line("1002", "pbx", Algorithm::Md5)
    );
    assert_eq!(users(HTDIGEST, &text), [("1001".to_owned(), vec!["MD5"]), ("1002".to_owned(), vec!["MD5"])]);
    let auth = checked(HTDIGEST, &text).unwrap().config.registrar.unwrap().auth.unwrap();
    let expected = Secrets::of_password(b"1001", b"pbx", b"pw");
    assert_eq!(auth.users.secrets(b"1001").unwrap().get(Algorithm::Md5), expected.get(Algorithm::Md5));
}

#[test]
fn a_user_may_have_a_line_for_each_algorithm() {
    let strongest = line("1001", "pbx", Algorithm::Sha512Of256).replace("pbx:", "pbx:{sha-512-256}");
    let text = strongest + &line("1001", "pbx", Algorithm::Sha256) + &line("1001", "pbx", Algorithm::Md5);
    let all = "users_file: /etc/users, algorithms: [sha-512-256, sha-256, md5]";
    assert_eq!(users(all, &text), [("1001".to_owned(), vec!["SHA-512-256", "SHA-256", "MD5"])]);
    assert_eq!(warnings(all, &text), [""; 0]);
}

#[test]
fn a_yaml_file_is_a_list_like_that_of_the_section() {
    let text = "\
- { name: 1001, password: \"${PASSWORD}\" }
- name: 1002
  md5: 0123456789abcdef0123456789abcdef
  may_register: [\"10*\"]
  skills: [sales]
  wrapup: 30s
";
    let registrar = "users_file: /etc/users.yaml, algorithms: [md5]";
    let all = vec!["SHA-512-256", "SHA-256", "MD5"];
    assert_eq!(users(registrar, text), [("1001".to_owned(), all), ("1002".to_owned(), vec!["MD5"])]);
    let registrar = checked(registrar, text).unwrap().config.registrar.unwrap();
    let person = &registrar.agents.people[&b"1002"[..]];
    assert_eq!((&*person.skills[0], person.wrapup), ("sales", Some(std::time::Duration::from_secs(30))));
    let auth = registrar.auth.unwrap();
    assert!(auth.users.may_register(b"1002", b"1099") && !auth.users.may_register(b"1001", b"1002"));
}

#[test]
fn users_of_the_file_stand_beside_those_of_the_section() {
    let registrar = format!("{HTDIGEST}, users: [{{ name: anna, password: pw }}]");
    let names: Vec<String> = users(&registrar, &line("1001", "pbx", Algorithm::Md5)).into_iter().map(|u| u.0).collect();
    assert_eq!(names, ["1001", "anna"]);
}

#[test]
fn every_mistake_in_a_file_of_lines_is_told_with_its_place() {
    let good = line("1001", "pbx", Algorithm::Md5);
    let text = format!("{good}1002 pbx\n10 03:pbx:{0}\n1004:pbx:abc\n{good}:pbx:{0}\n", "0".repeat(32));
    assert_eq!(
        problems(HTDIGEST, &text),
        [
            "/etc/users:2:1: this is no USER:REALM:HASH (`htdigest FILE REALM USER` writes such lines)",
            "/etc/users:3:1: must be a user's name: 1 to 128 octets without blanks, `@`, `:` and `;`, not `10 03` (such as \
             1001 or anna)",
            "/etc/users:4:10: must be 32 hexadecimal digits of MD5 or 64 of SHA-256; {SHA-512-256} may stand before them",
            "/etc/users:5:1: a line for this user with MD5 stands at line 1 or behind it already (one line for each \
             algorithm)",
            "/etc/users:6:1: must be a user's name: 1 to 128 octets without blanks, `@`, `:` and `;`, not `` (such as 1001 \
             or anna)",
        ]
    );
    let shown = checked(HTDIGEST, "1001:pbx:hunter2").unwrap_err().to_string();
    assert!(!shown.contains("hunter2"), "{shown}");
}

#[test]
fn every_mistake_in_a_yaml_file_is_told_with_its_place() {
    let text = "\
- { name: 1001, pasword: a }
- { name: 1002 }
- { name: 1003, password: a }
- { name: 1003, password: b }
";
    assert_eq!(
        problems("users_file: /etc/users.yml", text),
        [
            "/etc/users.yml:1:3: [0]: `password` is missing (password: \"${NAME}\", or md5: or sha256: with a hash)",
            "/etc/users.yml:1:17: [0].pasword: there is no such key (did you mean `password`?)",
            "/etc/users.yml:2:3: [1]: `password` is missing (password: \"${NAME}\", or md5: or sha256: with a hash)",
            "/etc/users.yml:4:11: [3].name: a user of the name 1003 stands at 3:11 already",
        ]
    );
    let broken = problems("users_file: /etc/users.yml", "- { name: 1001\n");
    assert!(broken[0].starts_with("/etc/users.yml:") && broken[0].contains("not YAML"), "{broken:?}");
}

#[test]
fn nobody_stands_in_the_file_and_in_the_section() {
    let registrar = format!("{HTDIGEST}, users: [{{ name: 1001, password: pw }}]");
    assert_eq!(
        problems(&registrar, &line("1001", "pbx", Algorithm::Md5)),
        ["/etc/users:1:1: a user of the name 1001 stands in the section `users` at 3:85 already"]
    );
}

#[test]
fn a_file_without_users_is_no_file_of_users() {
    let hint = "(a line is USER:REALM:HASH; without users there is no users_file)";
    assert_eq!(problems(HTDIGEST, "# none yet\n"), [format!("/etc/users:1:1: there is no user in this file {hint}")]);
    let others = line("1001", "other", Algorithm::Md5);
    assert_eq!(problems(HTDIGEST, &others), [format!("/etc/users:1:1: no line is of the farm's realm {hint}")]);
    let text = format!("{FILE}registrar: {{ users_file: /etc/users }}\n");
    let missing = check(&text, &Folder(None)).unwrap_err();
    assert_eq!(
        missing.0[0].to_string(),
        "3:26: registrar.users_file: `/etc/users` cannot be read: entity not found (the edge's user must be able to read it)"
    );
}

#[test]
fn lines_of_other_realms_are_counted_and_passed_over() {
    let text = line("1001", "other", Algorithm::Md5) + &line("1001", "pbx", Algorithm::Md5);
    assert_eq!(users(HTDIGEST, &text).len(), 1);
    let expected = "registrar.users_file: 1 lines of /etc/users are of other realms and count for nothing";
    assert_eq!(warnings(HTDIGEST, &text), [expected]);
}

#[test]
fn hashes_that_nobody_is_asked_for_are_told_once() {
    let text = line("1001", "pbx", Algorithm::Md5) + &line("1002", "pbx", Algorithm::Md5);
    assert_eq!(
        problems("users_file: /etc/users, algorithms: [sha-256]", &text),
        ["/etc/users:1:1: has no hash for any of `algorithms`, so this user and 1 more can never register (offer the \
          algorithm of the hashes in registrar.algorithms)"]
    );
    let expected =
        "registrar.algorithms: 2 users have no SHA-256 hash; a phone of theirs that chooses SHA-256 cannot register";
    assert_eq!(warnings("users_file: /etc/users", &text), [expected]);
}

#[test]
fn a_file_full_of_mistakes_is_told_in_part() {
    let told = problems(HTDIGEST, &"nonsense\n".repeat(1_000));
    assert_eq!(told.len(), decode::MISTAKES_MAX);
    assert!(told[decode::MISTAKES_MAX - 1].contains("and 950 more problems of this file"), "{told:?}");
}

#[test]
fn a_hundred_thousand_users_are_read_in_a_moment() {
    let lines: String = (0..100_000).map(|n| format!("{n}:pbx:{n:032x}\n")).collect();
    let records: String = (0..100_000).map(|n| format!("- {{ name: {n}, md5: \"{n:032x}\" }}\n")).collect();
    for (file, text) in [("/etc/users", lines), ("/etc/users.yaml", records)] {
        let began = Instant::now();
        let checked = checked(&format!("users_file: {file}, algorithms: [md5]"), &text).unwrap();
        eprintln!("{file}: 100000 users in {:?}", began.elapsed());
        assert_eq!(checked.config.registrar.unwrap().auth.unwrap().users.len(), 100_000);
    }
}

#[test]
fn changes_of_users_are_told_in_numbers() {
    let config = |users: &[(&str, Algorithm)]| {
        let text: String = users.iter().map(|(user, algorithm)| line(user, "pbx", *algorithm)).collect();
        checked("users_file: /etc/users", &text).unwrap().config
    };
    let old = config(&[("1", Algorithm::Md5), ("2", Algorithm::Md5), ("3", Algorithm::Md5)]);
    let new = config(&[("2", Algorithm::Sha256), ("3", Algorithm::Md5), ("4", Algorithm::Md5), ("5", Algorithm::Md5)]);
    let told = |old: &Config, new: &Config| diff(old, new).iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(told(&old, &new), ["registrar.users: 2 added, 1 removed, 1 changed"]);
    assert_eq!(told(&old, &old), [""; 0]);
    assert_ne!(old.generation(), new.generation());
}

#[test]
fn phones_that_cannot_register_stand_in_the_file() {
    let registrar = "users: [{ name: 1001, password: pw }], contacts: [\
        { user: 1999, contact: \"sip:1999@192.0.2.50:5060\", q: 0.5 }, { user: 1999, contact: \"sip:192.0.2.51\" }]";
    let config = checked(registrar, "").unwrap().config;
    let contacts = &config.registrar.as_ref().unwrap().contacts;
    assert_eq!((contacts[0].user.as_str(), contacts[0].preference), ("1999", 500));
    assert_eq!(contacts[1].target.to_string(), "udp:192.0.2.51:5060");
    let before = checked("users: [{ name: 1001, password: pw }]", "").unwrap().config;
    assert_eq!(
        diff(&before, &config)[0].what,
        "registrar.contacts none -> 1999 at sip:1999@192.0.2.50:5060 q=0.500, 1999 at sip:192.0.2.51 q=1.000"
    );
    for (contact, expected) in [
        ("sip:1999@192.0.2.50;transport=tcp", "no listener sends tcp over IPv4, so it cannot be reached"),
        ("sip:1999@[2001:db8::5]", "no listener sends udp over IPv6, so it cannot be reached"),
        ("sip:1999@127.0.0.10", "the edge itself listens there"),
        ("sip:1999@door.example.com", "not `sip:1999@door.example.com` (an address: phones are not looked up by name)"),
    ] {
        let one = format!("{{ user: 1999, contact: \"{contact}\" }}");
        let told = problems(&format!("users: [{{ name: a, password: b }}], contacts: [{one}]"), "");
        assert!(told[0].contains(expected), "{told:?}");
    }
    let twice = "{ user: 1999, contact: \"sip:192.0.2.50\" }";
    let told = problems(&format!("users: [{{ name: a, password: b }}], contacts: [{twice}, {twice}]"), "");
    assert!(told[0].contains("registrar.contacts[1]: this contact of 1999 stands at 3:"), "{told:?}");
}
