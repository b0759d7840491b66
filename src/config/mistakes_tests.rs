//! Every kind of mistake, with the place and the words that it is told with.

use std::collections::BTreeMap;

use super::*;

/// A file that is good, in parts that a test can leave out.
const LISTEN: &str = "listen: [\"udp://127.0.0.10:5060\"]\n";
const POOLS: &str = "pools: { inbound: { nodes: [{ name: ast-1, uri: \"sip:127.0.0.11\" }] } }\n";

fn environment() -> BTreeMap<String, String> {
    [("CORDBOARD_SECRET", "sixteen octets at least"), ("SHORT", "short"), ("CORDBOARD_TOKEN", "a token of some length")]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into()
}

fn refused(text: &str) -> ConfigProblems {
    match check(text, &environment()) {
        Ok(checked) => panic!("accepted: {:#?}", checked.config),
        Err(problems) => problems,
    }
}

/// Line, column, path, complaint.
type Told = (u32, u32, String, String);

fn told(problems: &[Problem]) -> Vec<Told> {
    problems.iter().map(|p| (p.line, p.column, p.path.clone(), p.what.clone())).collect()
}

#[track_caller]
fn assert_told(problems: &[Problem], expected: &[(u32, u32, &str, &str)]) {
    let expected: Vec<Told> =
        expected.iter().map(|(l, c, path, what)| (*l, *c, (*path).to_owned(), (*what).to_owned())).collect();
    assert_eq!(told(problems), expected);
}

/// One mistake in an otherwise good file; lines count behind LISTEN and POOLS, so from 3.
#[track_caller]
fn assert_one(section: &str, place: (u32, u32), path: &str, what: &str) {
    let problems = refused(&format!("{LISTEN}{POOLS}{section}"));
    assert_told(&problems.0, &[(place.0, place.1, path, what)]);
}

/// The only mistake of a file whose pools are these.
#[track_caller]
fn assert_in_pools(pools: &str, expected: &[(u32, u32, &str, &str)]) {
    assert_told(&refused(&format!("{LISTEN}pools:\n{pools}")).0, expected);
}

fn warnings(section: &str) -> Vec<(u32, String, String)> {
    let secret = "edge: { secret: \"${CORDBOARD_SECRET}\" }\n";
    let gateways =
        if section.contains("gateways:") { "\n" } else { "gateways: [{ name: pri-1, source: [127.0.0.2] }]\n" };
    let pools = if section.contains("pools:") { "\n" } else { POOLS };
    let checked = check(&format!("{secret}{LISTEN}{gateways}{pools}{section}"), &environment());
    checked.unwrap().warnings.into_iter().map(|warning| (warning.line, warning.path, warning.what)).collect()
}

#[test]
fn a_registrar_has_users_who_can_prove_who_they_are() {
    let registrar = |lines: &str| format!("registrar:\n{lines}");
    assert_one(&registrar("  users: [{ name: 1001 }]\n"), (4, 11), "registrar.users[0]", "`password` is missing");
    assert_one(
        &registrar("  users: [{ name: 1001, password: a }, { name: \"1001\", password: b }]\n"),
        (4, 48),
        "registrar.users[1].name",
        "a user of the name 1001 stands at 4:19 already",
    );
    assert_one(
        &registrar("  users: [{ name: 1001, md5: nonsense }]\n"),
        (4, 30),
        "registrar.users[0].md5",
        "must be the MD5 of NAME:REALM:PASSWORD in hexadecimal digits",
    );
    assert_one(
        &registrar("  algorithms: [sha-256]\n  users: [{ name: 1001, md5: 0123456789abcdef0123456789abcdef }]\n"),
        (5, 11),
        "registrar.users[0]",
        "has no hash for any of `algorithms`, so this user can never register",
    );
    assert_one(
        &registrar("  users: [{ name: 1001, password: a }]\n  min_expires: 30m\n"),
        (4, 3),
        "registrar.default_expires",
        "must not be shorter than min_expires, 30m",
    );
    let open = "listen: [\"udp://192.0.2.1:5060\"]\n";
    let problems = refused(&format!("{open}{POOLS}registrar: {{ auth: none }}\n"));
    let what = "everybody who reaches the edge could take any agent's calls";
    assert_told(&problems.0, &[(3, 20, "registrar.auth", what)]);
    assert!(check(&format!("{open}{POOLS}registrar: {{ auth: open }}\n"), &environment()).is_ok());
}

#[test]
fn an_agents_queues_reasons_and_skills_are_names() {
    let agents = |text: &str| format!("registrar: {{ users: [{{ name: 1001, password: a }}] }}\nagents: {text}\n");
    assert_one(
        &agents("{ queues: [{ name: q1, wrapup: 2s }, { name: q1, wrapup: 3s }] }"),
        (4, 54),
        "agents.queues[1].name",
        "the queue q1 stands at 4:28 already",
    );
    let what = "must be a reason: 1 to 64 letters, digits, blanks, `-`, `_` or `.`, not `lunch, sleep`";
    assert_one(&agents("{ reasons: [\"lunch, sleep\"] }"), (4, 21), "agents.reasons[0]", what);
    let users = "registrar: { users: [{ name: 1001, password: a, skills: [\"a&b\"] }] }\n";
    let what = "must be a name: 1 to 64 letters, digits, `-`, `_` or `.`, a letter or digit first, not `a&b`";
    assert_one(users, (3, 58), "registrar.users[0].skills[0]", what);
}

const QUEUES: &str =
    "registrar: { users: [{ name: 1001, password: a, skills: [sales] }, { name: 1002, password: b }] }\n";

#[test]
fn a_queues_members_are_users_patterns_of_users_or_those_with_a_skill() {
    let queue = |text: &str| format!("{QUEUES}agents: {{ publish: true, queues: [{{ name: q1, {text} }}] }}\n");
    let first = "agents.queues[0].members[0]";
    for (member, what) in [
        ("1003", "there is no user 1003"),
        ("\"2*\"", "there is no user 2*"),
        ("{ user: 1003, penalty: 1 }", "there is no user 1003"),
        ("{ skill: english }", "no user has the skill english"),
        ("{ penalty: 1 }", "`user` is missing"),
        ("{ user: 1001, skill: sales }", "`user` and `skill` are two members"),
    ] {
        assert_one(&queue(&format!("members: [{member}]")), (4, 57), first, what);
    }
    assert_one(
        &queue("members: [{ user: 1001, penalty: 1001 }]"),
        (4, 80),
        "agents.queues[0].members[0].penalty",
        "must be 0..=1000, not 1001",
    );
    assert_one(
        &queue("options: { member: x }"),
        (4, 58),
        "agents.queues[0].options.member",
        "stands beside `options`, not in them",
    );
    let text = queue("members: [{ user: 1002, penalty: 3 }, \"100?\", { skill: sales }], options: { timeout: 20 }");
    let policy = check(&format!("{LISTEN}{POOLS}{text}"), &environment()).unwrap().config.registrar.unwrap().agents;
    let queue = &policy.queues["q1"];
    let members: Vec<_> = queue.members.iter().map(|m| (m.user.to_string(), m.penalty)).collect();
    assert_eq!(members, [("1001".to_owned(), 0), ("1002".to_owned(), 3)], "the first entry that names him counts");
    assert_eq!((queue.wrapup, &*queue.options), (None, &[("timeout".into(), "20".into())][..]));
}

#[test]
fn what_nodes_would_ask_in_vain_is_told() {
    let queues = |agents: &str| format!("{QUEUES}agents: {{ realtime: members{agents} }}\n");
    let off = queues(", publish: true, queues: [{ name: q1 }]") + "api: off\n";
    assert_one(&off, (4, 21), "agents.realtime", "nodes ask the API, which is off");
    let whats = |text: &str| warnings(text).into_iter().map(|(_, _, what)| what).collect::<Vec<_>>();
    assert_eq!(
        whats(&queues("")),
        ["queues are not told what their members do", "there are no queues that nodes could ask for"]
    );
    assert_eq!(
        whats(&queues(", publish: true, queues: [{ name: q1, options: { stategy: ringall } }]")),
        ["Asterisk 22 has no such option of a queue"]
    );
    let far = "listen: [\"udp://192.0.2.1:5060\"]\n";
    let asked = queues(", publish: true, queues: [{ name: q1 }]");
    let near = check(&format!("{far}{POOLS}{asked}"), &environment()).unwrap();
    assert!(near.warnings.iter().any(|warning| warning.what == "nodes on other machines cannot reach the API"));
    let api = "api: { listen: \"192.0.2.1:8080\", token: a long one of some length }\n";
    let reached = check(&format!("{far}{POOLS}{asked}{api}"), &environment()).unwrap();
    assert!(reached.warnings.iter().all(|warning| warning.path != "agents.realtime"));
    let open = "registrar: { auth: none }\nagents: { queues: [{ name: q1, members: [1001] }] }\n";
    assert!(warnings(open).is_empty(), "whoever comes may be one");
}

#[test]
fn users_without_a_password_may_have_skills_where_nobody_is_asked_for_one() {
    let open =
        |user: &str| warnings(&format!("registrar: {{ auth: none, users: [{{ name: 1001, {user} }}] }}\n")).len();
    assert_eq!((open("password: a"), open("skills: [sales]")), (1, 0));
}

#[test]
fn ten_different_mistakes_are_told_at_once_each_with_its_place() {
    let text = "\
edge: { name: edge 1, secret: \"${SHORT}\" }
listen:
  - udp://127.0.0.10:5060
  - tls://127.0.0.10:5061
gateways:
  - { name: pri-1, uri: 127.0.0.2:5060 }
pools:
  inbound:
    algorithm: least_calls
    overflow: nigth
    nodes:
      - { name: ast-1, uri: \"sip:127.0.0.11\", wieght: 10 }
      - { name: ast-2, uri: \"sip:127.0.0.12\", weight: -1 }
      - { uri: \"sip:127.0.0.13\" }
  night:
    nodes: [ast-1]
health:
  interval: 5
  interval: 6s
routes:
  - { from: gateways, pool: inbound, reject: 403 }
security: { strip: [Via] }
";
    let problems = refused(text);
    assert_told(
        &problems.0,
        &[
            (
                1,
                15,
                "edge.name",
                "must be a name: 1 to 64 letters, digits, `-`, `_` or `.`, a letter or digit first, not `edge 1`",
            ),
            (1, 31, "edge.secret", "has 5 octets; at least 16 are needed"),
            (4, 5, "listen[1]", "must be udp://ADDRESS:PORT or tcp://ADDRESS:PORT, not `tls://127.0.0.10:5061`"),
            (6, 25, "gateways[0].uri", "must be sip:HOST[:PORT], with ;transport=tcp for TCP, not `127.0.0.2:5060`"),
            (
                9,
                16,
                "pools.inbound.algorithm",
                "must be weighted_least_calls, round_robin, random or hash, not `least_calls`",
            ),
            (10, 15, "pools.inbound.overflow", "there is no pool nigth"),
            (12, 47, "pools.inbound.nodes[0].wieght", "there is no such key"),
            (13, 55, "pools.inbound.nodes[1].weight", "must be 1..=1000, not -1"),
            (14, 9, "pools.inbound.nodes[2]", "`name` is missing"),
            (18, 13, "health.interval", "must be a time, 100ms..=1h, not 5"),
            (19, 3, "health.interval", "this key stands here a second time; the first is at 18:3"),
            (21, 46, "routes[0].reject", "a rule has either `pool` or `reject`"),
            (22, 21, "security.strip[0]", "Via is what routes a message; it cannot be removed"),
        ],
    );
    let hints: Vec<Option<&str>> = problems.0.iter().map(|problem| problem.hint.as_deref()).collect();
    assert_eq!(hints[5], Some("did you mean `night`?"));
    assert_eq!(hints[6], Some("did you mean `weight`?"));
    assert_eq!(hints[7], Some("a node that shall take no calls is drained: `cordboard drain NODE`"));
}

#[test]
fn a_problem_is_shown_with_file_line_caret_and_hint() {
    let text = "listen: [udp://127.0.0.10]\npools:\n  a: { nodes: [{ name: n, uri: \"sip:n\", weight: 0 }] }\n";
    let expected = "\
dispatcher.yaml:3:49: pools.a.nodes[0].weight: must be 1..=1000, not 0
     3 |   a: { nodes: [{ name: n, uri: \"sip:n\", weight: 0 }] }
       |                                                 ^
         hint: a node that shall take no calls is drained: `cordboard drain NODE`";
    assert_eq!(refused(text).to_string(), expected);
}

#[test]
fn an_empty_file_needs_a_listener_and_a_pool() {
    let expected = [
        (1, 1, "listen", "the edge listens nowhere"),
        (1, 1, "pools", "there is no pool, so calls have nowhere to go"),
    ];
    assert_told(&refused("").0, &expected);
    assert_told(&refused("# nothing\n").0, &expected);
}

#[test]
fn a_value_of_the_wrong_shape_is_told() {
    assert_one("health: 5\n", (3, 9), "health", "must be a mapping of keys to values, not 5");
    assert_one("health: [a]\n", (3, 9), "health", "must be a mapping of keys to values, not a list");
    assert_one("routes: x\n", (3, 9), "routes", "must be a list, not `x`");
    assert_one("routes: { a: b }\n", (3, 9), "routes", "must be a list, not a mapping");
    assert_one(
        "edge: { name: [a] }\n",
        (3, 15),
        "edge.name",
        "must be a name: 1 to 64 letters, digits, `-`, `_` or `.`, a letter or digit first, not a list",
    );
    assert_one("calls: { record_route: on }\n", (3, 24), "calls.record_route", "must be true or false, not `on`");
    assert_one(
        "log: { level: [info] }\n",
        (3, 15),
        "log.level",
        "must be error, warn, info, debug or trace, not a list",
    );
    assert_one("api: disabled\n", (3, 6), "api", "must be off, not `disabled`");
    assert_one("store: redis\n", (3, 8), "store", "must be embedded or memory, not `redis`");
    assert_told(&refused("- a\n").0, &[(1, 1, "", "must be a mapping of keys to values, not a list")]);
}

#[test]
fn an_unknown_key_is_told_at_the_key() {
    assert_one("registry: {}\n", (3, 1), "registry", "there is no such key");
    assert_one("log: { format: text, lvl: info }\n", (3, 22), "log.lvl", "there is no such key");
    let hint = refused(&format!("{LISTEN}{POOLS}helth: {{}}\n")).0[0].hint.clone();
    assert_eq!(hint.as_deref(), Some("did you mean `health`?"));
}

#[test]
fn what_is_written_twice_counts_once_and_is_told() {
    let text = format!("{LISTEN}{POOLS}log: {{}}\nlog: {{ level: loud }}\n");
    assert_told(&refused(&text).0, &[(4, 1, "log", "this key stands here a second time; the first is at 3:1")]);
}

#[test]
fn a_broken_file_is_told_at_the_place_where_it_breaks() {
    assert_told(&refused("listen: [a\nb: 3\n").0, &[(2, 2, "", "not YAML: illegal placement of ':' indicator")]);
}

#[test]
fn listeners_are_somewhere_once_and_can_be_answered() {
    let listen = |text: &str| told(&refused(&format!("listen: {text}\n{POOLS}")).0);
    let one = |column, path: &str, what: &str| vec![(1, column, path.to_owned(), what.to_owned())];
    assert_eq!(listen("[]"), one(9, "listen", "the edge listens nowhere"));
    assert_eq!(
        listen("[udp://127.0.0.1, \"udp://127.0.0.1:5060\"]"),
        one(27, "listen[1]", "udp://127.0.0.1:5060 is listened at already, see 1:10")
    );
    assert_eq!(
        listen("[udp://0.0.0.0]"),
        one(10, "listen[0]", "others cannot answer to this address; say what they reach it by")
    );
    assert_eq!(
        listen("[{ uri: udp://0.0.0.0, advertise: 192.0.2.1 }, udp://127.0.0.1]"),
        one(56, "listen[1]", "udp://0.0.0.0:5060 at 1:10 listens here too")
    );
    assert_eq!(listen("[{ advertise: 192.0.2.1 }]"), one(10, "listen[0]", "`uri` is missing"));
    // A listener that is wrong is no reason to complain of what it would have reached.
    assert_eq!(listen("[udp://x y]").len(), 1);
    assert_eq!(listen("[{ uri: udp://0.0.0.0, advertise: \"0.0.0.0\" }]").len(), 1);
}

#[test]
fn names_are_given_once() {
    assert_in_pools(
        "  in: { nodes: [{ name: a, uri: \"sip:127.0.0.1\" }, { name: a, uri: \"sip:127.0.0.2\" }] }\n",
        &[(3, 60, "pools.in.nodes[1].name", "node a is defined at 3:17 already")],
    );
    assert_in_pools(
        "  zz: { nodes: [{ name: a, uri: \"sip:127.0.0.1\" }] }
  aa: { nodes: [{ name: a, uri: \"sip:127.0.0.2\" }] }\n",
        &[
            (1, 1, "routes", "which pool gets the calls of gateways? There are several, and none is named inbound"),
            (4, 25, "pools.aa.nodes[0].name", "node a is defined at 3:17 already"),
        ],
    );
    let gateways = "gateways: [{ name: g, source: [127.0.0.2] }, { name: g, source: [127.0.0.3] }]\n";
    assert_one(gateways, (3, 54), "gateways[1].name", "a gateway of the name g stands at 3:20 already");
    let gateways = "gateways: [{ name: ast-1, source: [127.0.0.2] }]\n";
    assert_one(gateways, (2, 37), "pools.inbound.nodes[0].name", "a gateway of the name ast-1 stands at 3:12");
    let gateways = "gateways: [{ name: nodes, source: [127.0.0.2] }]\n";
    assert_one(gateways, (3, 20), "gateways[0].name", "`nodes` is the word for a group in rules; it cannot be a name");
    let routes = "routes: [{ name: a, from: nodes, reject: 403 }, { name: a, from: nodes, pool: inbound }]\n";
    assert_one(routes, (3, 57), "routes[1].name", "a rule of the name a stands at 3:18 already");
}

#[test]
fn a_plain_name_is_a_node_of_another_pool() {
    let pools =
        "  a: { nodes: [{ name: x, uri: \"sip:127.0.0.1\", weight: 7, max_calls: 9 }, { name: y, uri: \"sip:y\" }] }
  inbound: { nodes: [x, { name: y, weight: 3 }], overflow: a }
";
    let checked = check(&format!("{LISTEN}pools:\n{pools}"), &environment()).unwrap();
    let members = |pool: usize| -> Vec<(String, u32)> {
        checked.config.pools[pool].members.iter().map(|m| (m.node.clone(), m.weight.get())).collect()
    };
    assert_eq!(checked.config.nodes.len(), 2);
    assert_eq!(members(0), [("x".into(), 7), ("y".into(), 10)]);
    assert_eq!(members(1), [("x".into(), 7), ("y".into(), 3)]);
}

#[test]
fn a_reference_names_a_node_that_exists_once_and_leaves_its_limit_alone() {
    let with = |items: &str| format!("  inbound: {{ nodes: [{{ name: ast-1, uri: \"sip:127.0.0.11\" }}, {items}] }}\n");
    assert_in_pools(&with("ast-2"), &[(3, 62, "pools.inbound.nodes[1]", "no pool defines a node ast-2")]);
    assert_in_pools(
        &with("{ name: ast-2 }"),
        &[(3, 62, "pools.inbound.nodes[1]", "`uri` is missing, and no other pool defines this node")],
    );
    assert_in_pools(
        &with("ast-1"),
        &[(3, 62, "pools.inbound.nodes[1]", "node ast-1 is in this pool already, see 3:22")],
    );
    let other = format!("{}  x: {{ nodes: [{{ name: ast-1, max_calls: 3 }}] }}\n", with("{ name: b, uri: \"sip:b\" }"));
    assert_in_pools(&other, &[(4, 42, "pools.x.nodes[0].max_calls", "not for this pool alone")]);
    let other = format!("{}  x: {{ nodes: [{{ name: ast-1, site: b }}] }}\n", with("{ name: b, uri: \"sip:b\" }"));
    assert_in_pools(&other, &[(4, 37, "pools.x.nodes[0].site", "not for this pool alone")]);
}

#[test]
fn comparing_calls_needs_a_password_and_who_asks() {
    assert_one("ari: { user: edge }\n", (3, 6), "ari", "`password` is missing");
    assert_one("ari: { password: \"${NONE}\" }\n", (3, 18), "ari.password", "the variable NONE is not set");
    let grace = "ari: { password: hush, interval: 5s, grace: 6s }\n";
    assert_one(grace, (3, 45), "ari.grace", "must not be longer than the interval, 5s");
    let node = |ari: &str| format!("  inbound: {{ nodes: [{{ name: a, uri: \"sip:a\", ari: {ari} }}] }}\n");
    let place = "pools.inbound.nodes[0].ari";
    assert_in_pools(&node("\"http://a/ari\""), &[(3, 52, place, "there is no section `ari`, which says who asks")]);
    assert_in_pools(&node("ftp"), &[(3, 52, place, "must be http://HOST:PORT/PATH, or off, not `ftp`")]);
    let other = format!("{}  x: {{ nodes: [{{ name: a, ari: off }}] }}\n", node("off"));
    assert_in_pools(&other, &[(4, 32, "pools.x.nodes[0].ari", "not for this pool alone")]);
}

#[test]
fn a_node_that_is_wrong_is_not_complained_of_as_missing_too() {
    assert_in_pools(
        "  inbound: { nodes: [{ name: a, uri: x }, { name: \"b c\", uri: \"sip:b\" }], overflow: night }
  night: { nodes: [a, z] }\n",
        &[
            (3, 38, "pools.inbound.nodes[0].uri", "must be sip:HOST[:PORT], with ;transport=tcp for TCP, not `x`"),
            (
                3,
                51,
                "pools.inbound.nodes[1].name",
                "must be a name: 1 to 64 letters, digits, `-`, `_` or `.`, a letter or digit first, not `b c`",
            ),
        ],
    );
    let text = format!("{LISTEN}pools: {{ inbound: 5 }}\nroutes: [{{ from: ast-1, pool: inbound }}]\n");
    assert_told(&refused(&text).0, &[(2, 19, "pools.inbound", "must be a mapping of keys to values, not 5")]);
    let text = format!("{LISTEN}{POOLS}gateways: [{{ name: g, uri: x }}]\nroutes: [{{ from: g, reject: x }}]\n");
    assert_eq!(refused(&text).0.len(), 2);
    let text = format!("{LISTEN}{POOLS}gateways: [{{ name: g, uri: x }}]\nroutes: [{{ from: g, pool: gateways }}]\n");
    assert_eq!(refused(&text).0.len(), 1);
}

#[test]
fn a_pool_has_nodes_and_a_name_of_its_own() {
    assert_in_pools("  inbound: {}\n", &[(3, 12, "pools.inbound.nodes", "a pool without nodes takes no calls")]);
    assert_in_pools("  inbound:\n", &[(3, 10, "pools.inbound.nodes", "a pool without nodes takes no calls")]);
    assert_in_pools(
        "  gateways: { nodes: [{ name: a, uri: \"sip:a\" }] }\n",
        &[(3, 3, "pools.gateways", "this name is taken: all gateways with a uri are the pool `gateways`")],
    );
    assert_in_pools(
        "  a b: { nodes: [{ name: a, uri: \"sip:a\" }] }\n",
        &[(
            3,
            3,
            "pools.\"a b\"",
            "must be a name: 1 to 64 letters, digits, `-`, `_` or `.`, a letter or digit first, not `a b`",
        )],
    );
}

#[test]
fn stickiness_and_hash_have_what_they_need_and_no_more() {
    let with =
        |settings: &str| format!("  inbound: {{ {settings}, nodes: [{{ name: a, uri: \"sip:a\", max_calls: 1 }}] }}\n");
    assert_in_pools(
        &with("hash: to_user"),
        &[(3, 20, "pools.inbound.hash", "only the algorithm `hash` goes by a key")],
    );
    assert_in_pools(
        &with("sticky_until: 50%"),
        &[(3, 28, "pools.inbound.sticky_until", "means nothing without `sticky`")],
    );
    assert_in_pools(
        &with("algorithm: hash, sticky: to_user"),
        &[(3, 39, "pools.inbound.sticky", "the algorithm `hash` keeps calls together by itself")],
    );
    assert_in_pools(
        &with("sticky: call_id"),
        &[(3, 22, "pools.inbound.sticky", "must be from_user, to_user or header:NAME, not `call_id`")],
    );
}

#[test]
fn overflow_leads_somewhere_and_never_in_a_circle() {
    let node = |name: &str| format!("nodes: [{{ name: {name}, uri: \"sip:{name}\" }}]");
    let pools = format!(
        "  inbound: {{ overflow: b, {} }}\n  b: {{ overflow: c, {} }}\n  c: {{ overflow: b, {} }}\n",
        node("a"),
        node("b"),
        node("c")
    );
    assert_in_pools(&pools, &[(4, 18, "pools.b.overflow", "runs in a circle: b -> c -> b")]);
    let pools = format!("  inbound: {{ overflow: inbound, {} }}\n", node("a"));
    assert_in_pools(&pools, &[(3, 24, "pools.inbound.overflow", "runs in a circle: inbound -> inbound")]);
    let pools = format!("  inbound: {{ overflow: out, {} }}\n", node("a"));
    assert_in_pools(&pools, &[(3, 24, "pools.inbound.overflow", "there is no pool out")]);
    let pools = format!("  inbound: {{ overflow: gateways, {} }}\n", node("a"));
    assert_in_pools(&pools, &[(3, 24, "pools.inbound.overflow", "no gateway has a uri to be called by")]);
}

#[test]
fn every_node_has_an_address_of_its_own_that_a_listener_reaches() {
    let with = |uri: &str| {
        format!("  inbound: {{ nodes: [{{ name: a, uri: \"sip:127.0.0.11\" }}, {{ name: b, uri: \"{uri}\" }}] }}\n")
    };
    let at = |what: &'static str| [(3, 74, "pools.inbound.nodes[1].uri", what)];
    assert_in_pools(
        &with("sip:127.0.0.11:5060"),
        &at("node a has this address already; who sends from it could not be told"),
    );
    assert_in_pools(&with("sip:127.0.0.10"), &at("the edge itself listens there"));
    assert_in_pools(&with("sip:b;transport=tcp"), &at("no listener sends tcp, so it cannot be reached"));
    assert_in_pools(&with("sip:[::1]"), &at("no listener sends udp over IPv6, so it cannot be reached"));
    assert!(check(&format!("{LISTEN}pools:\n{}", with("sip:127.0.0.11:5061")), &environment()).is_ok());
}

#[test]
fn gateways_are_known_by_where_they_send_from() {
    assert_one("gateways: [{ name: g }]\n", (3, 12), "gateways[0]", "`source` or `uri` is missing");
    assert_one("gateways: [{ name: g, uri: \"sip:g.example.net\" }]\n", (3, 12), "gateways[0]", "`source` is missing");
    let twice = "gateways: [{ name: g, source: [192.0.2.1] }, { name: h, uri: \"sip:192.0.2.1\" }]\n";
    assert_one(twice, (3, 62), "gateways[1].uri", "192.0.2.1 is a source of gateway g already");
    let twice = "gateways: [{ name: g, source: [192.0.2.1, 192.0.2.1/32] }]\n";
    assert_one(twice, (3, 43), "gateways[0].source[1]", "192.0.2.1 is a source of this gateway already");
    let good = format!("{LISTEN}{POOLS}gateways: [{{ name: g, uri: \"sip:192.0.2.1:5070\" }}]\n");
    let gateway = check(&good, &environment()).unwrap().config.gateways.remove(0);
    assert_eq!(gateway.sources[0].to_string(), "192.0.2.1");
}

#[test]
fn rules_name_what_exists_and_do_one_thing() {
    let rule = |text: &str| format!("routes: [{{ {text} }}]\n");
    assert_one(&rule("from: pri-1, reject: 403"), (3, 18), "routes[0].from", "there is no gateway and no node pri-1");
    assert_one(&rule("from: nodes, pool: out"), (3, 31), "routes[0].pool", "there is no pool out");
    assert_one(&rule("from: nodes, pool: gateways"), (3, 31), "routes[0].pool", "no gateway has a uri to be called by");
    assert_one(&rule("from: nodes"), (3, 10), "routes[0]", "`pool` or `reject` is missing");
    assert_one(&rule("pool: inbound"), (3, 10), "routes[0]", "`from` is missing");
    assert_one(
        &rule("from: nodes, reject: 302"),
        (3, 33),
        "routes[0].reject",
        "must be a status code, 400..=699, not 302",
    );
    assert_one(
        &rule("from: nodes, methods: [INVITE, invite], pool: inbound"),
        (3, 43),
        "routes[0].methods[1]",
        "must be a request method such as INVITE, not `invite`",
    );
    let pools = "  a: { nodes: [{ name: x, uri: \"sip:x\" }] }\n  b: { nodes: [x] }\n";
    let what = "which pool gets the calls of gateways? There are several, and none is named inbound";
    assert_in_pools(pools, &[(1, 1, "routes", what)]);
}

#[test]
fn secrets_are_found_and_never_shown() {
    let what = "the variable NONE is not set";
    assert_one("edge: { secret: \"${NONE}\" }\n", (3, 17), "edge.secret", what);
    assert_one("api: { token: \"${NONE}\" }\n", (3, 15), "api.token", what);
    let problems =
        refused(&format!("{LISTEN}{POOLS}edge: {{ secret: hunter2 }}\napi: {{ token: \"hunt\\u0007er2\" }}\n"));
    assert_told(
        &problems.0,
        &[
            (3, 17, "edge.secret", "has 7 octets; at least 16 are needed"),
            (4, 15, "api.token", "the secret has control characters in it"),
        ],
    );
    assert!(!problems.to_string().contains("hunt"), "{problems}");
    let good = format!("{LISTEN}{POOLS}edge: {{ secret: \"${{CORDBOARD_SECRET}}\" }}\n");
    let checked = check(&good, &environment()).unwrap();
    assert_eq!(checked.config.edge.secret.as_ref().unwrap().reveal(), "sixteen octets at least");
    assert!(!format!("{checked:?}").contains("sixteen"));
}

#[test]
fn the_api_is_open_to_this_machine_alone_unless_it_has_a_token() {
    let what = "others than this machine could drain nodes; a token is needed";
    assert_one("api: { listen: \"0.0.0.0:8080\" }\n", (3, 16), "api.listen", what);
    assert_one("api: { listen: \"[::]:8080\" }\n", (3, 16), "api.listen", what);
    let api = |text: &str| check(&format!("{LISTEN}{POOLS}api: {text}\n"), &environment()).unwrap().config.api;
    assert_eq!(api("off"), None);
    assert_eq!(api("").unwrap().listen.to_string(), "127.0.0.1:8080");
    assert_eq!(api("{ listen: \"[::1]:0\" }").unwrap().token, None);
    assert!(api("{ listen: \"0.0.0.0:80\", token: \"${CORDBOARD_TOKEN}\" }").unwrap().token.is_some());
}

#[test]
fn times_that_contradict_each_other_are_told() {
    assert_one("dns: { min_ttl: 10m }\n", (3, 17), "dns.min_ttl", "must not be longer than max_ttl, 5m");
    assert_one("calls: { max_duration: 2m }\n", (3, 24), "calls.max_duration", "must be longer than ring_timeout, 3m");
    assert_one(
        "calls: { retry_after: 1500ms }\n",
        (3, 23),
        "calls.retry_after",
        "must be whole seconds: SIP knows no others",
    );
}

#[test]
fn what_is_legal_and_looks_wrong_is_a_warning() {
    let one = |line, path: &str, what: &str| vec![(line, path.to_owned(), what.to_owned())];
    assert_eq!(warnings(""), []);
    assert_eq!(
        warnings("health: { interval: 500ms }\n"),
        one(
            5,
            "health.interval",
            "not shorter than the interval of 500ms; a silent node is noticed after 3s 550ms at worst"
        )
    );
    assert_eq!(warnings("health: { dead_codes: [503] }\n").len(), 1);
    let file = |site: &str| {
        let nodes = "pools: { inbound: { nodes: [{ name: ast-1, uri: \"sip:127.0.0.11\", site: north }] } }\n";
        let gateways = "gateways: [{ name: pri-1, source: [127.0.0.2] }]\n";
        let secret = "secret: \"${CORDBOARD_SECRET}\"";
        let checked = check(&format!("edge: {{ {secret}, site: {site} }}\n{LISTEN}{gateways}{nodes}"), &environment());
        checked.unwrap().warnings.into_iter().map(|warning| (warning.path, warning.what)).collect::<Vec<_>>()
    };
    assert_eq!(file("north"), []);
    let what = "no node stands at south, so none comes before those of other sites";
    assert_eq!(file("south"), [("edge.site".to_owned(), what.to_owned())]);
    assert_eq!(
        warnings("failover: { no_response: 5s }\n"),
        one(5, "failover.no_response", "not shorter than the budget of 4s; silence never leads to a second node")
    );
    assert_eq!(
        warnings("failover: { retry_on: [\"503 cause 34\", \"503 cause 42\", 503] }\n"),
        [
            one(
                5,
                "failover.retry_on[0]",
                "after a 503 cause 34 the dialplan may have run, and it runs again on the next node"
            ),
            one(5, "failover.retry_on[2]", "after a 503 the dialplan may have run, and it runs again on the next node"),
        ]
        .concat()
    );
    assert_eq!(warnings("calls: { record_route: false }\n").len(), 1);
    assert_eq!(warnings("limits: { connections_per_source: 5000 }\n").len(), 1);
    assert_eq!(
        warnings("api: { token: short }\n"),
        one(5, "api.token", "shorter than 16 octets, so it can be guessed")
    );
    assert_eq!(
        warnings("gateways: [{ name: all, source: [0.0.0.0/0] }]\n"),
        one(5, "gateways[0].source[0]", "everybody is trusted as this gateway")
    );
    assert_eq!(
        warnings("gateways: [{ name: g, uri: \"sip:127.0.0.11:5060\" }]\n"),
        one(5, "gateways[0].uri", "this is the address of node ast-1 too; what it sends counts as the node's")
    );
    assert_eq!(warnings("gateways: []\n"), one(5, "gateways", "no gateway is known, so nobody outside can call"));
}

#[test]
fn rules_and_pools_that_nothing_reaches_are_warnings() {
    let one = |line, path: &str, what: &str| vec![(line, path.to_owned(), what.to_owned())];
    assert_eq!(
        warnings(
            "routes:\n- { from: gateways, pool: inbound }\n- { from: gateways, to_user: \"0900*\", reject: 403 }\n"
        ),
        one(7, "routes[1]", "never reached: the rule at 6:3 takes all of this")
    );
    assert_eq!(
        warnings("routes: [{ from: anyone, pool: inbound }]\n"),
        one(5, "routes[0].from", "lets everybody on the network call pool inbound")
    );
    let pools = "pools:
  inbound: { nodes: [{ name: a, uri: \"sip:a\" }], overflow: b }
  b: { nodes: [a] }
  c: { nodes: [a] }
";
    assert_eq!(warnings(pools), one(8, "pools.c", "no rule leads to this pool"));
    let sticky = "pools: { inbound: { sticky: to_user, nodes: [{ name: a, uri: \"sip:a\" }] } }\n";
    assert_eq!(warnings(sticky), one(5, "pools.inbound.sticky", "calls never move on from nodes without max_calls: a"));
    let chain = "pools:\n".to_owned()
        + "  inbound: { nodes: [{ name: a, uri: \"sip:a\" }], overflow: b }\n  b: { nodes: [a], overflow: c }\n"
        + "  c: { nodes: [a], overflow: d }\n  d: { nodes: [a], overflow: e }\n  e: { nodes: [a] }\n";
    assert_eq!(
        warnings(&chain),
        one(6, "pools.inbound.overflow", "a call is handed on through 4 pools at most: inbound -> b -> c -> d -> e")
    );
}

#[test]
fn a_missing_secret_is_a_warning() {
    let checked = check(&format!("{LISTEN}{POOLS}gateways: [{{ name: g, source: [::1] }}]\n"), &environment()).unwrap();
    assert_told(&checked.warnings, &[(1, 1, "edge.secret", "not set, so it is made once and kept in state_dir")]);
}

#[test]
fn more_mistakes_than_anybody_reads_end_the_search() {
    let nodes: String = (0..200).map(|i| format!("   - {{ name: n{i}, uri: \"sip:n{i}\", weight: 0 }}\n")).collect();
    let problems = refused(&format!("{LISTEN}pools:\n  inbound:\n   nodes:\n{nodes}"));
    assert_eq!(problems.0.len(), decode::MISTAKES_MAX + 1);
    assert_eq!(problems.0[0].what, "50 mistakes were found; the search ended there");
}

#[test]
fn a_farm_beyond_every_bound_is_refused_and_a_large_one_is_not() {
    let nodes = |count: usize| -> String {
        let node =
            |i: usize| format!("      - {{ name: n{i}, uri: \"sip:10.{}.{}.{}\" }}\n", i >> 16, i >> 8 & 255, i & 255);
        (0..count).map(node).collect()
    };
    let file = |count| format!("{LISTEN}pools:\n  inbound:\n    nodes:\n{}", nodes(count));
    assert_eq!(check(&file(2_000), &environment()).unwrap().config.nodes.len(), 2_000);
    assert_told(&refused(&file(20_001)).0, &[(3, 3, "pools", "20001 entries; at most 20000 are taken")]);
    let names: Vec<String> = (0..65).map(|i| format!("X-{i}")).collect();
    let section = format!("security: {{ strip: [{}] }}\n", names.join(", "));
    assert_one(&section, (3, 20), "security.strip", "65 entries; at most 64 are taken");
}
