//! The files of a stock node, made from the edge's own configuration. Pure.
//!
//! The templates beside this file are also the documentation: each option that is not self-evident carries its reason.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use crate::config::Config;
use crate::config::checked::{AriConfig, NodeConfig, Surplus};
use crate::dispatch::node::NodeUri;
use crate::registrar::{Aor, Member, Queue, Realtime};

use super::queues;
use super::realtime::encoded;

/// Folders of an Asterisk, as the package sets them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folders {
    /// Configuration.
    pub etc: String,
    /// Control socket and process id.
    pub run: String,
    /// AstDB.
    pub db: String,
    /// Logs.
    pub log: String,
    /// Recordings, voicemail.
    pub spool: String,
    /// Keys.
    pub key: String,
}

impl Default for Folders {
    fn default() -> Self {
        Folders {
            etc: "/etc/asterisk".to_owned(),
            run: "/var/run/asterisk".to_owned(),
            db: "/var/lib/asterisk".to_owned(),
            log: "/var/log/asterisk".to_owned(),
            spool: "/var/spool/asterisk".to_owned(),
            key: "/var/lib/asterisk".to_owned(),
        }
    }
}

/// One file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeFile {
    /// Its name in Asterisk's configuration folder.
    pub name: &'static str,
    /// Its text.
    pub text: String,
}

/// Why no files can be made.
#[derive(Debug, thiserror::Error)]
pub enum NodeFilesError {
    /// No such node.
    #[error("there is no node {0} in the configuration; there are {1}")]
    UnknownNode(String, String),
    /// The node's address is only known to DNS, and Asterisk has to bind one.
    #[error("{0} is known by the name {1} only, and Asterisk binds an address: give it with --address")]
    NeedsAddress(String, String),
}

const TEMPLATES: [(&str, &str); 6] = [
    ("pjsip.conf", include_str!("templates/pjsip.conf")),
    ("extensions.conf", include_str!("templates/extensions.conf")),
    ("rtp.conf", include_str!("templates/rtp.conf")),
    ("modules.conf", include_str!("templates/modules.conf")),
    ("logger.conf", include_str!("templates/logger.conf")),
    ("asterisk.conf", include_str!("templates/asterisk.conf")),
];

/// What comes to a file, and the file that comes to them, when the edge tells the nodes what agents are doing.
const PUBLISH: [(&str, &str); 4] = [
    ("pjsip.conf", include_str!("templates/publish-pjsip.conf")),
    ("modules.conf", include_str!("templates/publish-modules.conf")),
    ("extensions.conf", include_str!("templates/publish-extensions.conf")),
    ("queues.conf", include_str!("templates/queues.conf")),
];

/// What comes to them when a dialplan may ask by FastAGI.
const AGI: [(&str, &str); 2] = [
    ("modules.conf", include_str!("templates/agi-modules.conf")),
    ("extensions.conf", include_str!("templates/agi-extensions.conf")),
];

/// The same, when nodes ask the edge who is in a queue.
const REALTIME: [(&str, &str); 3] = [
    ("modules.conf", include_str!("templates/realtime-modules.conf")),
    ("extconfig.conf", include_str!("templates/extconfig.conf")),
    ("res_curl.conf", include_str!("templates/res_curl.conf")),
];

/// Reasons for not being ready that have a feature code, a digit each.
const REASON_CODES_MAX: usize = 9;

/// The same, when the edge compares its calls with the node's channels.
const ARI: [(&str, &str); 3] = [
    ("modules.conf", include_str!("templates/ari-modules.conf")),
    ("http.conf", include_str!("templates/http.conf")),
    ("ari.conf", include_str!("templates/ari.conf")),
];

/// Members of the queue that is written as an example.
const MEMBERS_MAX: usize = 1_000;

/// The queue that is written where none is configured.
const EXAMPLE: &str = "q700";

/// Where a URL without a port leads.
const HTTP_PORT: u16 = 80;

/// Audio ports of a node.
const RTP_PORTS: (u16, u16) = (10_000, 20_000);

/// The files of one node. `address` is where it binds, when the configuration knows only a name.
pub fn node_files(
    config: &Config,
    node: &str,
    address: Option<IpAddr>,
    folders: &Folders,
) -> Result<Vec<NodeFile>, NodeFilesError> {
    let names = || config.nodes.iter().map(|node| node.name.as_str()).collect::<Vec<_>>().join(", ");
    let found = config.nodes.iter().find(|known| known.name == node);
    let found = found.ok_or_else(|| NodeFilesError::UnknownNode(node.to_owned(), names()))?;
    let ip = address.or_else(|| found.uri.host.parse().ok());
    let ip = ip.ok_or_else(|| NodeFilesError::NeedsAddress(found.name.clone(), found.uri.host.clone()))?;
    let values = values(config, found, ip, folders);
    let fill = |(name, template): (&'static str, &str)| NodeFile { name, text: filled(template, &values) };
    let mut files: Vec<NodeFile> = TEMPLATES.into_iter().map(fill).collect();
    let registrar = config.registrar.as_ref();
    let has_ari = config.ari.as_ref().is_some_and(|ari| ari.url_of(found).is_some());
    let publishes = registrar.is_some_and(|registrar| registrar.agents.publish);
    let publish = PUBLISH.into_iter().filter(|_| publishes);
    let asks = publishes && config.api.is_some() && realtime(config) != Realtime::Off;
    let realtime = REALTIME.into_iter().filter(|_| asks);
    let agi = AGI.into_iter().filter(|_| registrar.is_some_and(|registrar| registrar.agi.is_some()));
    let ari = ARI.into_iter().filter(|_| has_ari);
    for part in publish.chain(realtime).chain(agi).chain(ari).map(fill) {
        match files.iter_mut().find(|file| file.name == part.name) {
            Some(file) => file.text += &part.text,
            None => files.push(part),
        }
    }
    Ok(files)
}

fn values(config: &Config, node: &NodeConfig, ip: IpAddr, folders: &Folders) -> Vec<(&'static str, String)> {
    let (edge_host, edge_port) = edge_address(config, ip);
    let edges: BTreeSet<IpAddr> = config.listen.iter().map(|listen| listen.uri.bind.ip()).collect();
    let lines = |word: &str| {
        let known = edges.iter().filter(|ip| !ip.is_unspecified()).map(ToString::to_string);
        let all: BTreeSet<String> = known.chain([edge_host.trim_matches(['[', ']']).to_owned()]).collect();
        all.iter().map(|ip| format!("{word}={ip}")).collect::<Vec<_>>().join("\n")
    };
    let max_calls = node.max_calls.map_or_else(String::new, |max| format!("maxcalls = {max}"));
    let mut values = ari_values(config.ari.as_ref(), node, ip);
    values.extend([
        ("node", node.name.clone()),
        ("node_ip", bracketed(ip)),
        ("node_port", node.uri.port.unwrap_or(NodeUri::DEFAULT_PORT).to_string()),
        ("edge_ip", edge_host.clone()),
        ("edge_port", edge_port.to_string()),
        ("edge_matches", lines("match")),
        ("edge_permits", lines("permit")),
        ("domain", config.edge.domains.first().cloned().unwrap_or(edge_host.clone())),
        ("rtp_start", RTP_PORTS.0.to_string()),
        ("rtp_end", RTP_PORTS.1.to_string()),
        ("entity_id", entity_id(&node.name)),
        ("etc_dir", folders.etc.clone()),
        ("run_dir", folders.run.clone()),
        ("db_dir", folders.db.clone()),
        ("log_dir", folders.log.clone()),
        ("spool_dir", folders.spool.clone()),
        ("key_dir", folders.key.clone()),
        ("max_calls_line", max_calls),
        ("queues", queues(config)),
        ("queue_extensions", queue_extensions(config)),
        ("realtime_tables", realtime_tables(config, &edge_host)),
        ("reason_codes", reason_codes(config)),
        ("skill", skill(config).to_owned()),
        ("of_skill", if skill(config).is_empty() { String::new() } else { format!(" for {}", skill(config)) }),
        // Last, since it stands inside the reasons' codes.
        ("agi", agi_address(config, &edge_host)),
    ]);
    values
}

fn ari_values(ari: Option<&AriConfig>, node: &NodeConfig, ip: IpAddr) -> Vec<(&'static str, String)> {
    let Some(ari) = ari else { return Vec::new() };
    let url = ari.url_of(node).unwrap_or_default();
    let host = url.trim_start_matches("http://").split('/').next().unwrap_or_default();
    let port = crate::sip::uri::parse_hostport(host.as_bytes()).and_then(|(_, port)| port).unwrap_or(HTTP_PORT);
    vec![
        ("ari_bind", ip.to_string()),
        ("ari_port", port.to_string()),
        ("ari_user", ari.user.clone()),
        ("ari_password", ari.password.reveal().to_owned()),
        ("ari_read_only", if ari.surplus == Surplus::Report { "yes" } else { "no" }.to_owned()),
    ]
}

/// `*71`, and with a list of reasons `*711`, `*712` and so on; then `*71` is the first of them.
fn reason_codes(config: &Config) -> String {
    let reasons = config.registrar.as_ref().map_or(&[][..], |registrar| &registrar.agents.reasons);
    let code = |code: String, reason: &str| {
        format!(
            "exten => {code},1,Set(EDGE_AGENT=${{PJSIP_HEADER(read,X-Edge-Agent)}})\n \
             same => n,AGI(agi://{{{{agi}}}}/set,${{EDGE_AGENT}},not_ready,{reason})\n \
             same => n,Goto(said-${{AGENT_STATE}},1)"
        )
    };
    let first = code("*71".to_owned(), reasons.first().map_or("", |reason| reason));
    let numbered = reasons.iter().take(REASON_CODES_MAX).enumerate();
    let numbered = numbered.map(|(at, reason)| code(format!("*71{}", at + 1), reason));
    std::iter::once(first).chain(numbered).collect::<Vec<_>>().join("\n")
}

/// A skill for the example: the first that a user has.
fn skill(config: &Config) -> &str {
    let people = config.registrar.iter().flat_map(|registrar| registrar.agents.people.values());
    people.flat_map(|person| &person.skills).next().map_or("", |skill| skill)
}

/// Where nodes ask by FastAGI: at every address of the edge is at that one which they reach it by.
fn agi_address(config: &Config, edge_host: &str) -> String {
    let Some(agi) = config.registrar.as_ref().and_then(|registrar| registrar.agi) else { return String::new() };
    reached_at(agi, edge_host)
}

fn reached_at(listen: SocketAddr, edge_host: &str) -> String {
    if listen.ip().is_unspecified() { format!("{edge_host}:{}", listen.port()) } else { listen.to_string() }
}

fn realtime(config: &Config) -> Realtime {
    config.registrar.as_ref().map_or(Realtime::Off, |registrar| registrar.agents.realtime)
}

/// The configured queues, or an example.
fn known_queues(config: &Config) -> Cow<'_, BTreeMap<Box<str>, Queue>> {
    let known = config.registrar.iter().map(|registrar| &registrar.agents.queues).find(|queues| {
        // Where only the wrap-up of queues is said, they are in files that somebody wrote.
        realtime(config) != Realtime::Off || queues.values().any(|queue| !queue.members.is_empty())
    });
    known.map_or_else(|| Cow::Owned(example(config)), Cow::Borrowed)
}

/// All users as members of one queue.
fn example(config: &Config) -> BTreeMap<Box<str>, Queue> {
    let auth = config.registrar.as_ref().and_then(|registrar| registrar.auth.as_ref());
    let mut users: Vec<&Aor> = auth.iter().flat_map(|auth| auth.users.names()).collect();
    users.sort_unstable();
    let members = users.into_iter().take(MEMBERS_MAX).map(|user| Member { user: user.clone(), penalty: 0 }).collect();
    [(EXAMPLE.into(), Queue { members, ..Queue::default() })].into()
}

/// What `queues.conf` says of queues; nothing where nodes ask for them as a whole.
fn queues(config: &Config) -> String {
    if realtime(config) == Realtime::Queues {
        return "; The queues are the edge's: agents.queues of its configuration. One that stood here would outvote it.".to_owned();
    }
    let option = |(name, value, why): (&str, &str, &str)| {
        let line = format!("{name} = {value}");
        if why.is_empty() { line } else { format!("{line:<35} ; {why}") }
    };
    let standard: Vec<String> = queues::standard(realtime(config)).map(option).collect();
    let known = known_queues(config);
    let sections = known.iter().map(|(name, queue)| section(name, queue, realtime(config)));
    std::iter::once(format!("[standard](!)\n{}", standard.join("\n"))).chain(sections).collect::<Vec<_>>().join("\n\n")
}

fn section(name: &str, queue: &Queue, realtime: Realtime) -> String {
    let own = queue.options.iter().map(|(name, value)| format!("{name} = {value}"));
    let members: Vec<String> = match realtime {
        Realtime::Off => {
            let what = "; interface, penalty, name, where the state comes from".to_owned();
            std::iter::once(what).chain(queue.members.iter().map(queues::member_line)).collect()
        }
        Realtime::Members | Realtime::Queues => vec!["; its members are asked of the edge (extconfig.conf)".to_owned()],
    };
    std::iter::once(format!("[{name}](standard)")).chain(own).chain(members).collect::<Vec<_>>().join("\n")
}

/// A number for each queue.
fn queue_extensions(config: &Config) -> String {
    let extension = |name: &str| {
        format!(
            "exten => {},1,Set(__EDGE_ALEG=${{CHANNEL(pjsip,call-id)}})\n same => n,Set(__EDGE_QUEUE={name})\n \
             same => n,Answer()\n same => n,Queue({name},,,,300)\n same => n,Hangup()",
            queues::number(name)
        )
    };
    known_queues(config).keys().map(|name| extension(name)).collect::<Vec<_>>().join("\n")
}

/// What a node asks for, and where. The token goes as the password of a user whose name says nothing.
fn realtime_tables(config: &Config, edge_host: &str) -> String {
    let Some(api) = &config.api else { return String::new() };
    let at = reached_at(api.listen, edge_host);
    let token = api.token.as_ref().map(|token| format!("edge:{}@", encoded(token.reveal())));
    let table = |name: &str| format!("{name} => curl,http://{}{at}/rt/{name}", token.as_deref().unwrap_or_default());
    match realtime(config) {
        Realtime::Off => String::new(),
        Realtime::Members => table("queue_members"),
        Realtime::Queues => [table("queues"), table("queue_members")].join("\n"),
    }
}

/// Where the node reaches the edge: the first listener of the node's address family, as others see it.
fn edge_address(config: &Config, node: IpAddr) -> (String, u16) {
    let same_family = config.listen.iter().find(|listen| listen.uri.bind.is_ipv4() == node.is_ipv4());
    let Some(listen) = same_family.or(config.listen.first()) else { return (String::new(), 5060) };
    let split = crate::sip::uri::parse_hostport(listen.sent_by.as_bytes());
    let (host, port) = split.unwrap_or((listen.sent_by.as_bytes(), None));
    (String::from_utf8_lossy(host).into_owned(), port.unwrap_or(NodeUri::DEFAULT_PORT))
}

fn bracketed(ip: IpAddr) -> String {
    if ip.is_ipv6() { format!("[{ip}]") } else { ip.to_string() }
}

/// A locally administered MAC address made from the name: Asterisk keeps device states by it, so no two nodes may
/// share one.
fn entity_id(name: &str) -> String {
    let hash = name
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    let octets = hash.to_be_bytes();
    format!("02:{:02x}:{:02x}:{:02x}:{:02x}:{:02x}", octets[3], octets[4], octets[5], octets[6], octets[7])
}

fn filled(template: &str, values: &[(&str, String)]) -> String {
    values.iter().fold(template.to_owned(), |text, (name, value)| text.replace(&format!("{{{{{name}}}}}"), value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{SystemEnvironment, check};

    fn config(listen: &str, uri: &str) -> Config {
        let text = format!(
            "edge: {{ domains: [pbx.example.com] }}\nlisten: {listen}\npools:\n  inbound:\n    nodes:\n      - {{ name: ast-1, uri: \"{uri}\", max_calls: 7 }}\n"
        );
        check(&text, &SystemEnvironment).unwrap().config
    }

    fn made(config: &Config, address: Option<IpAddr>) -> Vec<NodeFile> {
        node_files(config, "ast-1", address, &Folders::default()).unwrap()
    }

    #[test]
    fn every_placeholder_is_filled() {
        let files = made(&config("[\"udp://192.0.2.1:5060\", \"tcp://192.0.2.1:5060\"]", "sip:192.0.2.11:5070"), None);
        for file in &files {
            assert!(!file.text.contains("{{"), "{}", file.name);
        }
        let pjsip = &files[0].text;
        for line in [
            "bind=192.0.2.11:5070",
            "outbound_proxy=sip:192.0.2.1:5060\\;lr",
            "match=192.0.2.1",
            "contact=sip:pbx.example.com",
        ] {
            assert!(pjsip.contains(line), "{line}");
        }
        assert_eq!(pjsip.matches("permit=192.0.2.1").count(), 1, "one line for an address, however many listeners");
        assert!(files.iter().any(|file| file.text.contains("maxcalls = 7")));
    }

    #[test]
    fn a_node_whose_channels_are_read_gets_ari_and_one_whose_are_not_gets_none() {
        let text = "listen: [\"udp://192.0.2.1:5060\"]\nari: { password: hush, surplus: report }\npools:\n  inbound:\n    nodes:\n      \
                    - { name: ast-1, uri: \"sip:192.0.2.11\" }\n      - { name: ast-2, uri: \"sip:192.0.2.12\", ari: off }\n      \
                    - { name: ast-3, uri: \"sip:192.0.2.13\", ari: \"http://ast-3.example.com:8099/ari\" }\n";
        let config = check(text, &SystemEnvironment).unwrap().config;
        let of = |node| node_files(&config, node, None, &Folders::default()).unwrap();
        let text = |node, name: &str| of(node).into_iter().find(|file| file.name == name).map(|file| file.text);
        let http = text("ast-1", "http.conf").unwrap();
        assert!(http.contains("bindaddr = 192.0.2.11\nbindport = 8088"), "{http}");
        let ari = text("ast-1", "ari.conf").unwrap();
        assert!(ari.contains("[edge]\ntype = user\nread_only = yes\npassword = hush"), "{ari}");
        assert!(text("ast-1", "modules.conf").unwrap().contains("res_ari_channels.so"));
        assert!(text("ast-3", "http.conf").unwrap().contains("bindaddr = 192.0.2.13\nbindport = 8099"));
        assert_eq!(text("ast-2", "ari.conf"), None);
        assert!(!text("ast-2", "modules.conf").unwrap().contains("res_ari"));
        assert!(of("ast-1").iter().all(|file| !file.text.contains("{{")));
    }

    #[test]
    fn ipv6_addresses_stand_in_brackets_where_a_port_follows() {
        let files = made(&config("[\"udp://[2001:db8::1]:5060\"]", "sip:[2001:db8::11]:5060"), None);
        assert!(files[0].text.contains("bind=[2001:db8::11]:5060"));
        assert!(files[0].text.contains("outbound_proxy=sip:[2001:db8::1]:5060\\;lr"));
        assert!(files[0].text.contains("match=2001:db8::1"));
    }

    #[test]
    fn a_node_that_is_a_name_needs_its_address() {
        let config = config("[\"udp://192.0.2.1:5060\"]", "sip:ast.example.com");
        let error = node_files(&config, "ast-1", None, &Folders::default()).unwrap_err();
        assert!(error.to_string().contains("--address"), "{error}");
        assert!(made(&config, Some("192.0.2.7".parse().unwrap()))[0].text.contains("bind=192.0.2.7:5060"));
        let error = node_files(&config, "nobody", None, &Folders::default()).unwrap_err();
        assert!(error.to_string().contains("ast-1"), "{error}");
    }

    fn agents(keys: &str) -> String {
        let text = format!(
            "listen: [\"udp://192.0.2.1:5060\"]\npools: {{ inbound: {{ nodes: [{{ name: ast-1, uri: \"sip:192.0.2.11\" }}] }} }}\n\
             registrar: {{ users: [{{ name: 1001, password: a, skills: [sales] }}] }}\nagents: {{ {keys} }}\n"
        );
        let files = made(&check(&text, &SystemEnvironment).unwrap().config, None);
        files.into_iter().filter(|file| file.name != "queues.conf").map(|file| file.text).collect()
    }

    #[test]
    fn feature_codes_are_there_where_the_edge_listens_for_them_one_for_each_reason() {
        let text = agents("agi: \"0.0.0.0:4573\", reasons: [lunch, team meeting]");
        for line in [
            "exten => *70,1,Set(EDGE_AGENT=${PJSIP_HEADER(read,X-Edge-Agent)})",
            " same => n,AGI(agi://192.0.2.1:4573/set,${EDGE_AGENT},not_ready,team meeting)",
            " same => n,AGI(agi://192.0.2.1:4573/reserve,sales,10,q710)",
            "load = res_agi.so                   ; AGI(agi://...)",
        ] {
            assert_eq!(text.lines().filter(|known| *known == line).count(), 1, "{line}\n{text}");
        }
        assert_eq!(text.matches("not_ready,lunch)").count(), 2, "*71 is the first of them, and *711");
        assert_eq!(
            agents("agi: \"192.0.2.9:4573\"").matches("192.0.2.9:4573/set,${EDGE_AGENT},not_ready,)").count(),
            1
        );
        assert!(!agents("publish: true").contains("agi"));
    }

    fn file(keys: &str, name: &str) -> String {
        let text = format!(
            "listen: [\"udp://192.0.2.1:5060\"]\npools: {{ inbound: {{ nodes: [{{ name: ast-1, uri: \"sip:192.0.2.11\" }}] }} }}\n\
             api: {{ listen: \"0.0.0.0:8080\", token: \"a/b@c and so on\" }}\n\
             registrar: {{ users: [{{ name: 1001, password: a }}, {{ name: 1002, password: b }}] }}\nagents: {{ publish: true, {keys} }}\n"
        );
        let files = made(&check(&text, &SystemEnvironment).unwrap().config, None);
        assert!(files.iter().all(|file| !file.text.contains("{{")));
        files.into_iter().find(|file| file.name == name).map_or_else(String::new, |file| file.text)
    }

    const QUEUES: &str = "queues: [{ name: q700, members: [{ user: 1002, penalty: 3 }], options: { timeout: 20 } }, \
                          { name: sales, members: [1001] }]";

    #[test]
    fn without_queues_all_users_are_in_an_example_and_with_some_these_are_written() {
        let (example, own) = (file("wrapup: 1s", "queues.conf"), file(QUEUES, "queues.conf"));
        let member = "member => Local/1001@edge-agent/n,0,1001,Custom:1001";
        assert!(example.contains("[q700](standard)\n") && example.contains(member), "{example}");
        let end = "[q700](standard)\ntimeout = 20\n; interface, penalty, name, where the state comes from\n\
                   member => Local/1002@edge-agent/n,3,1002,Custom:1002\n\n[sales](standard)\n";
        assert!(own.contains(end) && own.matches("member =>").count() == 2, "{own}");
        assert!(own.contains("joinempty = paused,invalid "), "{own}");
        let extensions = file(QUEUES, "extensions.conf");
        assert!(extensions.contains("exten => 700,1,") && extensions.contains("Queue(q700,,,,300)"), "{extensions}");
        assert!(
            extensions.contains("exten => sales,1,") && extensions.contains("Set(__EDGE_QUEUE=sales)"),
            "{extensions}"
        );
        assert_eq!(file("queues: [{ name: q9, wrapup: 5s }]", "queues.conf"), example);
    }

    #[test]
    fn nodes_that_ask_for_members_have_the_queues_and_those_that_ask_for_queues_have_none() {
        let members = format!("realtime: members, {QUEUES}");
        let queues = format!("realtime: queues, {QUEUES}");
        let text = file(&members, "queues.conf");
        assert!(text.contains("[q700](standard)\ntimeout = 20\n") && !text.contains("member =>"), "{text}");
        assert!(text.contains("joinempty = yes "), "{text}");
        let text = file(&queues, "queues.conf");
        assert!(!text.contains("[q700]") && !text.contains("[standard]"), "{text}");
        let url = "curl,http://edge:a%2Fb%40c%20and%20so%20on@192.0.2.1:8080/rt/";
        let table = |name: &str| format!("\n{name} => {url}{name}\n");
        assert!(file(&queues, "extconfig.conf").contains(&table("queues")));
        assert!(file(&queues, "extconfig.conf").contains(&table("queue_members")));
        let text = file(&members, "extconfig.conf");
        assert!(text.contains(&table("queue_members")) && !text.contains(&table("queues")), "{text}");
        assert!(file(&members, "res_curl.conf").contains("httptimeout => 2"));
        assert!(file(&members, "modules.conf").contains("load = res_config_curl.so"));
        assert_eq!(file(QUEUES, "extconfig.conf"), "");
        assert!(!file(QUEUES, "modules.conf").contains("curl"));
    }

    #[test]
    fn no_two_nodes_share_an_entity_id() {
        let ids: BTreeSet<String> = (0..1_000).map(|n| entity_id(&format!("ast-{n}"))).collect();
        assert_eq!(ids.len(), 1_000);
    }
}
