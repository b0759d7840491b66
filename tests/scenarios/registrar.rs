//! REGISTER: who is believed, what is held, and when the phone hears of it.

use std::time::Duration;

use cordboard::registrar::digest::{Algorithm, ha1};
use cordboard::registrar::users::Secrets;
use cordboard::registrar::{Aor, User, Users};
use cordboard::sip::pattern::Pattern;

use crate::harness::*;

/// The phone of user 1001, behind NAT.
pub const PHONE: &str = "198.51.100.31:40001";

/// A phone.
pub struct Phone {
    pub user: &'static str,
    pub password: &'static str,
    pub algorithm: Algorithm,
    pub at: &'static str,
    pub cseq: u32,
    pub count: u32,
}

impl Phone {
    pub fn new(user: &'static str, at: &'static str) -> Self {
        Phone { user, password: "pw", algorithm: Algorithm::Sha256, at, cseq: 0, count: 0 }
    }

    pub fn contact(&self) -> String {
        format!("sip:{}@10.0.0.{}:5060", self.user, &self.user[3..])
    }

    /// A REGISTER with these lines.
    pub fn register(&mut self, lines: &str) -> String {
        self.cseq += 1;
        let Phone { user, cseq, .. } = self;
        format!(
            "REGISTER sip:pbx.example.com SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.9:5060;branch=z9hG4bK-r{user}-{cseq};rport\r\n\
             Max-Forwards: 70\r\nFrom: <sip:{user}@pbx.example.com>;tag=phone\r\nTo: <sip:{user}@pbx.example.com>\r\n\
             Call-ID: reg-{user}\r\nCSeq: {cseq} REGISTER\r\nUser-Agent: a phone with a name of usual length 1.2.3\r\n\
             {lines}Content-Length: 0\r\n\r\n"
        )
    }

    /// The line of REGISTER that asks for ten minutes.
    pub fn binding(&self) -> String {
        format!("Contact: <{}>\r\nExpires: 600\r\n", self.contact())
    }

    /// The line that answers a challenge.
    pub fn proof(&mut self, challenge: &Sent, method: &str, uri: &str) -> String {
        self.count += 1;
        let (asked, header) = match challenge.header("WWW-Authenticate") {
            Some(_) => ("WWW-Authenticate", "Authorization"),
            None => ("Proxy-Authenticate", "Proxy-Authorization"),
        };
        let own = format!("algorithm={}", self.algorithm.as_str());
        let asked = challenge.headers(asked).find(|value| value.contains(&own)).expect("the algorithm is offered");
        let nonce = asked.split("nonce=\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap();
        let nc = format!("{:08x}", self.count);
        let secret = ha1(self.algorithm, self.user.as_bytes(), b"pbx", self.password.as_bytes());
        let ha2 = self.algorithm.of(&[method.as_bytes(), uri.as_bytes()]);
        let pieces = [secret.digits(), nonce.as_bytes(), nc.as_bytes(), b"cn", b"auth", ha2.digits()];
        let response = self.algorithm.of(&pieces);
        format!(
            "{header}: Digest username=\"{}\", realm=\"pbx\", nonce=\"{nonce}\", uri=\"{uri}\", {own}, qop=auth, nc={nc}, \
             cnonce=\"cn\", response=\"{}\"\r\n",
            self.user,
            String::from_utf8_lossy(response.digits())
        )
    }

    /// Registers, with these lines; returns what the phone is told at last.
    pub fn registers(&mut self, edge: &mut Edge, lines: &str) -> Sent {
        let first = self.register(lines);
        let challenge = only(edge.receive(self.at, &first));
        assert_eq!(challenge.first_line(), "SIP/2.0 401 Unauthorized");
        let proof = self.proof(&challenge, "REGISTER", "sip:pbx.example.com");
        let second = self.register(&format!("{lines}{proof}"));
        let mut sent = edge.receive(self.at, &second);
        sent.extend(edge.held_answers());
        only(sent)
    }

    /// Registers its contact.
    pub fn is_registered(&mut self, edge: &mut Edge) {
        let lines = self.binding();
        let answer = self.registers(edge, &lines);
        assert_eq!(answer.first_line(), "SIP/2.0 200 OK");
    }
}

#[test]
fn a_phone_that_knows_its_password_is_registered_once_that_is_on_disk() {
    for algorithm in [Algorithm::Sha256, Algorithm::Md5] {
        let mut edge = Edge::with_registrar();
        let mut phone = Phone { algorithm, ..Phone::new("1001", PHONE) };
        let lines = phone.binding();
        let challenge = only(edge.receive(PHONE, &phone.register(&lines)));
        assert_eq!(challenge.to, PHONE);
        let proof = phone.proof(&challenge, "REGISTER", "sip:pbx.example.com");
        let sent = edge.receive(PHONE, &phone.register(&format!("{lines}{proof}")));
        assert!(sent.is_empty(), "nothing is said before it is stored: {:?}", lines_of(&sent));
        let answer = only(edge.held_answers());
        assert_eq!((answer.to.as_str(), answer.first_line()), (PHONE, "SIP/2.0 200 OK"));
        assert!(answer.header("Contact").unwrap().starts_with("<sip:1001@10.0.0.1:5060>;expires="));
        assert_eq!(edge.contacts_of("1001"), ["sip:1001@10.0.0.1:5060"]);
    }
}

fn lines_of(sent: &[Sent]) -> Vec<&str> {
    sent.iter().map(Sent::first_line).collect()
}

#[test]
fn a_wrong_password_and_an_unknown_user_hear_the_same() {
    let mut edge = Edge::with_registrar();
    let mut wrong = Phone { password: "guess", ..Phone::new("1001", PHONE) };
    let mut nobody = Phone::new("6666", PHONE);
    for phone in [&mut wrong, &mut nobody] {
        let lines = phone.binding();
        let answer = phone.registers(&mut edge, &lines);
        assert_eq!(answer.first_line(), "SIP/2.0 401 Unauthorized");
        assert!(!answer.text.contains("stale"), "{}", answer.text);
    }
    assert!(edge.contacts_of("1001").is_empty() && edge.contacts_of("6666").is_empty());
}

#[test]
fn a_recorded_proof_is_worth_nothing_a_second_time() {
    let mut edge = Edge::with_registrar();
    let mut phone = Phone::new("1001", PHONE);
    let lines = phone.binding();
    let challenge = only(edge.receive(PHONE, &phone.register(&lines)));
    let proof = phone.proof(&challenge, "REGISTER", "sip:pbx.example.com");
    edge.receive(PHONE, &phone.register(&format!("{lines}{proof}")));
    let mut thief = Phone::new("1001", STRANGER);
    let stolen = thief.register(&format!("Contact: <sip:thief@192.0.2.66>\r\nExpires: 600\r\n{proof}"));
    let answer = only(edge.receive(STRANGER, &stolen));
    assert_eq!(answer.first_line(), "SIP/2.0 401 Unauthorized");
    assert!(answer.header("WWW-Authenticate").unwrap().contains("stale=true"));
    assert_eq!(edge.contacts_of("1001"), ["sip:1001@10.0.0.1:5060"]);
}

#[test]
fn a_phone_that_repeats_its_register_gets_the_same_answer_once_more_and_nobody_else_does() {
    let mut edge = Edge::with_registrar();
    let mut phone = Phone::new("1001", PHONE);
    let lines = phone.binding();
    let challenge = only(edge.receive(PHONE, &phone.register(&lines)));
    let proof = phone.proof(&challenge, "REGISTER", "sip:pbx.example.com");
    let register = phone.register(&format!("{lines}{proof}"));
    edge.receive(PHONE, &register);
    let granted = only(edge.held_answers());
    edge.advance(Duration::from_secs(2));
    assert!(edge.receive(PHONE, &register).is_empty(), "this one too waits for the disk");
    assert_eq!(only(edge.held_answers()), granted);

    // Nothing changes by it, whatever it says of itself.
    let forged = register.replace(&phone.contact(), "sip:thief@192.0.2.66");
    edge.receive(PHONE, &forged);
    edge.receive(PHONE, &register.replace("Expires: 600", "Expires: 0"));
    assert_eq!(edge.contacts_of("1001"), [phone.contact()]);
    assert_eq!(only(edge.receive(STRANGER, &register)).first_line(), "SIP/2.0 401 Unauthorized");
    edge.advance(Duration::from_secs(31));
    assert_eq!(only(edge.receive(PHONE, &register)).first_line(), "SIP/2.0 401 Unauthorized", "too late");
}

#[test]
fn a_nonce_may_be_used_again_with_a_higher_count_until_it_is_too_old() {
    let mut edge = Edge::with_registrar();
    let mut phone = Phone::new("1001", PHONE);
    let lines = phone.binding();
    let challenge = only(edge.receive(PHONE, &phone.register(&lines)));
    for _ in 0..3 {
        let proof = phone.proof(&challenge, "REGISTER", "sip:pbx.example.com");
        edge.receive(PHONE, &phone.register(&format!("{lines}{proof}")));
        assert_eq!(only(edge.held_answers()).first_line(), "SIP/2.0 200 OK");
    }
    let clock = &edge.registered().unix_secs;
    clock.set(clock.get() + 301);
    let proof = phone.proof(&challenge, "REGISTER", "sip:pbx.example.com");
    let answer = only(edge.receive(PHONE, &phone.register(&format!("{lines}{proof}"))));
    assert!(answer.header("WWW-Authenticate").unwrap().contains("stale=true"), "{}", answer.text);
}

#[test]
fn nobody_registers_for_somebody_else() {
    let mut edge = Edge::with_registrar();
    let mut phone = Phone::new("1001", PHONE);
    let to_other = |text: String| text.replace("To: <sip:1001@", "To: <sip:1002@");
    let lines = phone.binding();
    let challenge = only(edge.receive(PHONE, &to_other(phone.register(&lines))));
    let proof = phone.proof(&challenge, "REGISTER", "sip:pbx.example.com");
    let answer = only(edge.receive(PHONE, &to_other(phone.register(&format!("{lines}{proof}")))));
    assert_eq!(answer.first_line(), "SIP/2.0 403 Forbidden");
    assert!(edge.contacts_of("1002").is_empty());
}

#[test]
fn a_user_who_may_register_others_does_so_for_those_who_exist() {
    let mut edge = Edge::with_registrar();
    edge.change_registrar(|service| {
        let admin = User { may_register: [Pattern::new("1*")].into(), ..of_password("1001", "pw").1 };
        let users = [(of_password("1001", "pw").0, admin), of_password("1002", "pw"), of_password("2001", "pw")];
        service.authority.as_mut().unwrap().users = Users::new(users);
    });
    let mut admin = Phone::new("1001", PHONE);
    for (user, line) in
        [("1002", "SIP/2.0 200 OK"), ("2001", "SIP/2.0 403 Forbidden"), ("1099", "SIP/2.0 404 Not Found")]
    {
        let to_other = |text: String| text.replace("To: <sip:1001@", &format!("To: <sip:{user}@"));
        let lines = admin.binding();
        let first = to_other(admin.register(&lines));
        let challenge = only(edge.receive(PHONE, &first));
        let proof = admin.proof(&challenge, "REGISTER", "sip:pbx.example.com");
        let second = to_other(admin.register(&format!("{lines}{proof}")));
        let mut sent = edge.receive(PHONE, &second);
        sent.extend(edge.held_answers());
        assert_eq!(only(sent).first_line(), line, "{user}");
        assert_eq!(edge.contacts_of(user).len(), usize::from(line.contains("200")), "{user}");
    }
    assert!(edge.contacts_of("1001").is_empty());
}

fn of_password(user: &str, password: &str) -> (Aor, User) {
    let secrets = Secrets::of_password(user.as_bytes(), b"pbx", password.as_bytes());
    (Aor::from_user(user.as_bytes()).unwrap(), secrets.into())
}

#[test]
fn a_name_that_is_not_the_farms_is_not_registered_here() {
    let mut edge = Edge::with_registrar();
    let mut phone = Phone::new("1001", PHONE);
    let lines = phone.binding();
    let text = phone.register(&lines).replace("To: <sip:1001@pbx.example.com>", "To: <sip:1001@elsewhere.example>");
    assert_eq!(only(edge.receive(PHONE, &text)).first_line(), "SIP/2.0 404 Not Found");
}

#[test]
fn too_little_time_is_refused_with_the_least() {
    let mut edge = Edge::with_registrar();
    let answer = Phone::new("1001", PHONE).registers(&mut edge, "Contact: <sip:1001@10.0.0.1>;expires=5\r\n");
    assert_eq!((answer.first_line(), answer.header("Min-Expires")), ("SIP/2.0 423 Interval Too Brief", Some("60")));
}

#[test]
fn a_disk_that_does_not_keep_up_is_a_503_at_once() {
    let mut edge = Edge::with_registrar();
    edge.registered().is_full.set(true);
    let mut phone = Phone::new("1001", PHONE);
    let lines = phone.binding();
    let answer = phone.registers(&mut edge, &lines);
    assert_eq!(answer.first_line(), "SIP/2.0 503 Service Unavailable");
    assert!(answer.header("Retry-After").is_some());
    assert!(edge.contacts_of("1001").is_empty());
}

#[test]
fn an_unregistered_phone_is_gone_and_a_fetch_is_answered_at_once() {
    let mut edge = Edge::with_registrar();
    let mut phone = Phone::new("1001", PHONE);
    phone.is_registered(&mut edge);
    let fetched = phone.registers(&mut edge, "");
    assert!(fetched.header("Contact").unwrap().contains("sip:1001@10.0.0.1:5060"));
    assert!(edge.held_answers().is_empty(), "nothing was to be stored");
    let answer = phone.registers(&mut edge, "Contact: *\r\nExpires: 0\r\n");
    assert_eq!((answer.first_line(), answer.header("Contact")), ("SIP/2.0 200 OK", None));
    assert!(edge.contacts_of("1001").is_empty());
}

#[test]
fn a_challenge_is_at_most_twice_as_large_as_what_it_answers() {
    let mut edge = Edge::with_registrar();
    let tiny = "REGISTER sip:pbx.example.com SIP/2.0\r\nVia: SIP/2.0/UDP a;branch=z9hG4bK1\r\nFrom: <sip:a@b>;tag=1\r\n\
                To: <sip:1@pbx.example.com>\r\nCall-ID: c\r\nCSeq: 1 REGISTER\r\n\r\n";
    assert!(edge.receive(STRANGER, tiny).is_empty());
}

#[test]
fn without_a_registrar_the_method_is_not_served() {
    let mut edge = Edge::with_nodes(1);
    let text = Phone::new("1001", PHONE).register("").replace("REGISTER sip", "REGISTER  sip");
    assert!(edge.receive(GATEWAY, &text.replace("REGISTER  sip", "REGISTER sip"))[0].text.starts_with("SIP/2.0 405"));
    edge.advance(Duration::from_secs(1));
}
