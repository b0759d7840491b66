//! What two edges share fails in every way that it can, under load: no call is lost, and afterwards both count right.

use std::time::Duration;

use cordboard::store::redis::{Seatable, SharedStore, Told};
use cordboard::store::way::{At, Way};

use crate::edge::Edge;
use crate::farm::Farm;
use crate::process::{Process, need, run, secs, until};
use crate::sipp::{Load, Sipp};
use crate::two::Two;

/// Calls that each edge has up from beginning to end.
const UP: u32 = 20;

/// What comes to both edges: calls that stay up while things fail, and short ones that come and go all the time.
struct Traffic {
    up: Vec<Sipp>,
    passing: Vec<Sipp>,
}

impl Traffic {
    /// For so many seconds, at these edges.
    fn for_secs(two: &mut Two, length: u64, edges: &[String]) -> Self {
        let mut start = |load: &Load| edges.iter().map(|edge| two.farm.load(&load.clone().to(edge))).collect();
        let up = Load::of("call").calls(UP, 20).hold(secs(length + 6));
        let passing = Load::of("call").calls(length as u32 * 10, 10).hold(Duration::from_millis(300)).timed();
        Traffic { up: start(&up), passing: start(&passing) }
    }

    /// None failed. Returns how long the short ones took to be set up, in milliseconds, in order.
    fn passes(&mut self) -> Vec<f64> {
        self.passing.iter_mut().for_each(Sipp::succeeds);
        let mut millis: Vec<f64> = self.passing.iter().flat_map(Sipp::set_up_millis).collect();
        millis.sort_by(f64::total_cmp);
        millis
    }

    fn ends(&mut self) {
        self.up.iter_mut().for_each(Sipp::succeeds);
    }
}

impl Two {
    fn edges(&self) -> [&Edge; 2] {
        [self.farm.edge(), &self.other]
    }

    fn both(&self) -> [String; 2] {
        [self.farm.edge_at(), self.farm.other_at()]
    }

    fn total(&self) -> [u32; 2] {
        let [one, two] = [self.on("ast-1"), self.on("ast-2")];
        [one[0] + two[0], one[1] + two[1]]
    }

    fn is_degraded(&self, why: &str) -> bool {
        self.edges().iter().all(|edge| edge.http("/readyz").is_some_and(|(_, text)| text.contains(why)))
    }

    fn until_both_know_each_other(&self) {
        until("both edges know each other, and Redis", secs(15), || {
            let knows =
                |edge: &&Edge| edge.status().edges.len() == 1 && edge.metric("cordboard_shared_store_up", &[]) == 1.0;
            self.edges().iter().all(knows)
        });
    }

    /// Both edges and Redis count the calls that are up, and no other.
    fn until_counts_are(&self, calls: u32) {
        let at_nodes = || ["ast-1", "ast-2"].map(|node| self.on(node));
        let is_so = || self.total() == [calls; 2] && at_nodes().iter().all(|[here, there]| here == there);
        until(&format!("both edges count {calls} calls"), secs(10), is_so);
        let in_redis = || {
            let totals = self.farm.redis_at_says(self.redis_ip, &["HVALS", "{cordboard}:totals"]);
            let places = self.farm.redis_at_says(self.redis_ip, &["HLEN", "{cordboard}:seats"]).parse().unwrap();
            (totals.lines().map(|count| count.parse::<u32>().unwrap_or(u32::MAX)).sum::<u32>(), places)
        };
        until(&format!("Redis counts {calls} calls"), secs(10), || in_redis() == (calls, calls));
    }

    /// Something fails under load and is mended: no call fails, and both edges count right again.
    fn outlives(mut self, why: &str, fail: impl FnOnce(&mut Two), mend: impl FnOnce(&mut Two)) {
        let edges = self.both();
        let mut traffic = Traffic::for_secs(&mut self, 12, &edges);
        until("calls are up", secs(10), || self.total()[0] > UP);
        fail(&mut self);
        if !why.is_empty() {
            until("both edges say why", secs(8), || self.is_degraded(why));
        }
        mend(&mut self);
        self.until_both_know_each_other();
        traffic.passes();
        self.until_counts_are(2 * UP);
        traffic.ends();
        self.until_counts_are(0);
        self.ends_well();
    }
}

#[test]
fn no_call_waits_longer_than_the_deadline_for_a_redis_that_stands_still() {
    let mut two = Two::start(231, "affinity: strict, deadline: 20ms");
    let edges = two.both();
    let mut traffic = Traffic::for_secs(&mut two, 14, &edges);
    until("calls are up", secs(10), || two.total()[0] > UP);
    two.redis.signal("STOP");
    until("both edges say why", secs(8), || two.is_degraded("the shared store is away"));
    let began = std::time::Instant::now();
    until("Redis has stood still for ten seconds", secs(20), || began.elapsed() > secs(10));
    two.redis.signal("CONT");
    two.until_both_know_each_other();
    let millis = traffic.passes();
    let missed = two.edges().map(|edge| edge.metric("cordboard_shared_store_questions_total", &["missed"]));
    let at = |share: usize| millis[(millis.len() - 1) * share / 100];
    println!(
        "{} calls, none failed; from INVITE to 200: median {} ms, 99 of 100 within {} ms, longest {} ms; \
         {missed:?} questions were missed at the edges",
        millis.len(),
        at(50),
        at(99),
        at(100)
    );
    assert_eq!(millis.len(), 280);
    assert!(at(50) < 100.0 && at(100) < 1_000.0, "the deadline, and room for a machine full of tests");
    two.until_counts_are(2 * UP);
    traffic.ends();
    two.until_counts_are(0);
    two.ends_well();
}

#[test]
fn an_edge_and_redis_are_killed_in_turn_and_the_other_edge_loses_no_call() {
    let mut two = Two::start(232, "gone_after: 1s");
    let here = two.farm.edge_at();
    let mut traffic = Traffic::for_secs(&mut two, 14, &[here]);
    until("calls are up", secs(10), || two.total()[1] >= UP);
    for _ in 0..2 {
        two.other.process.end("KILL", secs(5));
        two.redis.end_or_kill("KILL", secs(5));
        until("it is said", secs(8), || two.farm.edge().metric("cordboard_shared_store_up", &[]) == 0.0);
        two.redis = two.farm.redis();
        two.other = two.farm.other_edge();
        two.until_both_know_each_other();
    }
    traffic.passes();
    two.until_counts_are(UP);
    traffic.ends();
    two.until_counts_are(0);
    two.ends_well();
}

/// It answers what has piled up before it hears that its calls are another edge's by now.
#[test]
fn an_edge_that_stood_still_and_goes_on_leaves_no_call_behind_at_the_other() {
    let mut two = Two::start(241, "gone_after: 1s");
    let mut loads = two.calls(20, 20, secs(4));
    until("calls are up", secs(10), || two.total() == [40, 40]);
    two.other.process.signal("STOP");
    until("its calls are the other edge's", secs(5), || two.farm.edge().open_calls() >= 40);
    // Theirs end here, and those of the edge that stands still wait for an answer.
    loads[0].succeeds();
    two.other.process.signal("CONT");
    loads[1].succeeds();
    two.until_both_know_each_other();
    two.until_counts_are(0);
    two.ends_well();
}

#[test]
fn a_redis_that_is_emptied_under_load_is_filled_again() {
    let two = Two::start(233, "affinity: strict");
    two.outlives("", |two| _ = two.farm.redis_says(&["FLUSHALL"]), |two| _ = two.farm.redis_says(&["FLUSHALL"]));
}

#[test]
fn a_redis_without_memory_costs_no_call() {
    let full = |two: &mut Two| {
        two.farm.redis_says(&["CONFIG", "SET", "maxmemory-policy", "noeviction"]);
        two.farm.redis_says(&["CONFIG", "SET", "maxmemory", "1mb"]);
    };
    let two = Two::start(234, "affinity: strict");
    two.outlives("OOM", full, |two| _ = two.farm.redis_says(&["CONFIG", "SET", "maxmemory", "0"]));
}

#[test]
fn a_redis_that_takes_no_writes_costs_no_call() {
    let two = Two::start(235, "affinity: strict");
    let nobody = two.farm.ip(41);
    let read_only = |two: &mut Two| _ = two.farm.redis_says(&["REPLICAOF", &nobody, "6379"]);
    two.outlives("read only replica", read_only, |two| _ = two.farm.redis_says(&["REPLICAOF", "NO", "ONE"]));
}

/// A Redis that comes back with what it had a while ago says that calls are up which have ended since.
#[test]
fn a_redis_that_comes_back_with_old_knowledge_misleads_nobody() {
    let mut two = Two::start(236, "affinity: strict");
    let mut old = two.calls(10, 20, secs(3));
    two.until_counts_are(20);
    two.farm.redis_says(&["SAVE"]);
    old.iter_mut().for_each(Sipp::succeeds);
    two.until_counts_are(0);
    let edges = two.both();
    let mut traffic = Traffic::for_secs(&mut two, 6, &edges);
    until("calls are up", secs(10), || two.total()[0] > UP);
    two.redis.end_or_kill("KILL", secs(5));
    // It reads the file that it wrote before.
    two.redis = two.farm.redis();
    two.until_both_know_each_other();
    traffic.passes();
    two.until_counts_are(2 * UP);
    traffic.ends();
    two.until_counts_are(0);
    two.ends_well();
}

#[test]
fn keys_that_somebody_else_wrote_are_named_once_and_do_no_harm() {
    let two = Two::start(237, "affinity: strict");
    let garble = |two: &mut Two| {
        let key = |name: &str| format!("{{cordboard}}:{name}");
        let says = |words: &[&str]| _ = two.farm.redis_says(words);
        // Fields that nobody of the farm wrote, some of them no text.
        let lua = "for _, key in ipairs(KEYS) do redis.call('HSET', key, '\\255\\0', '\\254') \
                   redis.call('HSET', key, 'c:' .. string.rep('1', 32), 'garbage') end";
        says(&["EVAL", lua, "3", &key("state"), &key("edges"), &key("seats")]);
        says(&["HSET", &key("gates"), "1001", "garbage"]);
        let lua = "redis.call('XADD', KEYS[1], '*', '\\255', '\\254', 'e', '\\9of another version', 'e', '')";
        says(&["EVAL", lua, "1", &key("log")]);
        // Keys of another kind.
        for name in ["log", "state", "seats", "totals", "gates", "edges", "epoch"] {
            let damaged = format!("{}:damaged", key(name));
            let lua = "redis.call('DEL', KEYS[1]) redis.call('RPUSH', KEYS[1], 'garbage')";
            says(&["EVAL", lua, "1", &key(name)]);
            until("it is moved aside", secs(5), || two.farm.redis_says(&["EXISTS", &damaged]) == "1");
        }
        says(&["HSET", &key("totals"), "ast-1", "many"]);
        until("the count is moved aside", secs(5), || {
            two.farm.redis_says(&["HGET", &key("totals"), "ast-1"]) != "many"
        });
    };
    let log = two.farm.path("edge.log");
    let other_log = two.farm.path("other/edge.log");
    let seen = std::cell::Cell::new((String::new(), String::new(), 0.0));
    let look = |two: &mut Two| {
        let unreadable = two.edges().map(|edge| edge.metric("cordboard_edge_entries_total", &["unreadable"]));
        let text = |path: &std::path::Path| std::fs::read_to_string(path).unwrap();
        seen.set((text(&log), text(&other_log), unreadable[0] + unreadable[1]));
    };
    two.outlives("", garble, look);
    let (here, there, unreadable) = seen.take();
    let times = |what: &str| [&here, &there].map(|log| log.matches(what).count()).iter().sum::<usize>();
    for name in ["log", "state", "seats", "gates", "edges", "epoch"] {
        assert_eq!(times(&format!("{{cordboard}}:{name} in the shared store is none")), 1, "{name}: {here}{there}");
    }
    assert_eq!(times("{cordboard}:totals in the shared store is none"), 2);
    assert_eq!(times("holds what cannot be read"), 2, "once at each edge");
    assert!(times("heartbeat of") <= 4, "each name once at each edge");
    assert!(unreadable >= 8.0 + 2.0, "{unreadable}");
}

#[tokio::test]
async fn what_scripts_find_in_the_place_of_a_count_or_of_a_name_does_them_no_harm() {
    let farm = Farm::new(238);
    let mut redis = farm.redis();
    let url = format!("redis://{}", farm.redis_at());
    let shared = SharedStore::new(Way::by_url(&url), "cordboard", secs(1)).unwrap();
    shared.beat("e2e", b"{}", "1").await.unwrap();
    let node = |node: &str| Seatable { node: node.to_owned(), weight: 1, calls_max: 0, tier: 0 };
    let call = 7u128;
    farm.redis_says(&["HSET", "{cordboard}:seats", &format!("{call:032x}"), "garbage"]);
    farm.redis_says(&["HSET", "{cordboard}:totals", "ast-1", "garbage"]);
    let seat = shared.seat(call, "e2e", &[node("ast-1"), node("ast-1")]).await.unwrap();
    assert_eq!(seat, Some(("e2e".to_owned(), "ast-1".to_owned())), "garbage is no place, and a node is found");

    farm.redis_says(&["HSET", "{cordboard}:seats", &format!("{call:032x}"), "garbage"]);
    let any: Vec<u8> = (0..=255).collect();
    let told = |is_over| Told {
        name: [b"b:e2e:", any.as_slice()].concat(),
        octets: any.clone(),
        is_over,
        call: Some((call, "ast-1".to_owned())),
    };
    shared.tell("e2e", &[told(false)]).await.unwrap();
    let snapshot = shared.snapshot().await.unwrap();
    assert_eq!(snapshot.entries.iter().map(|stored| stored.octets.as_slice()).collect::<Vec<_>>(), [any.as_slice()]);
    assert!(shared.gate(&any, (call, "e2e", "agents"), true, None).await.unwrap());
    assert!(!shared.gate(&any, (8, "e2e", "agents"), true, None).await.unwrap(), "the first call holds him");
    shared.tell("e2e", &[told(true)]).await.unwrap();
    assert!(shared.gate(&any, (8, "e2e", "agents"), true, None).await.unwrap());
    assert_eq!(shared.snapshot().await.unwrap().entries, []);

    let beaten = shared.beat("e2e", b"{}", "2").await.unwrap();
    assert_eq!(beaten.damaged, ["{cordboard}:totals"]);
    assert!(beaten.epoch.starts_with("2/"), "all has to be told again");
    redis.end_or_kill("TERM", secs(5));
}

/// Starts a sentinel that knows the master by the name `farm`.
fn sentinel(farm: &Farm, last: u8) -> Process {
    let ip = farm.ip(last);
    let text = format!(
        "port 26379\nprotected-mode no\nsentinel announce-ip {ip}\nsentinel monitor farm {} 6379 2\n\
         sentinel down-after-milliseconds farm 1000\nsentinel failover-timeout farm 5000\n",
        farm.ip(40)
    );
    let file = farm.path(&format!("sentinel-{last}.conf"));
    std::fs::write(&file, text).unwrap();
    farm.redis_with(last, &[file.to_str().unwrap(), "--sentinel"])
}

#[test]
fn when_sentinels_name_another_master_both_edges_go_there_and_no_call_is_lost() {
    let ips = [42, 43, 44].map(|last| format!("127.0.239.{last}"));
    let farm = Two::farm(239, &format!("sentinels: [{}], master: farm", ips.join(", ")));
    let at = |last: u8| farm.ip(last);
    let (master_ip, replica_ip) = (at(40), at(41));
    let redis = farm.redis_with(40, &["--port", "6379", "--replica-announce-ip", &master_ip]);
    let replica = ["--port", "6379", "--replicaof", &master_ip, "6379", "--replica-announce-ip", &replica_ip];
    let _replica = farm.redis_with(41, &replica);
    let _sentinels = [42, 43, 44].map(|last| sentinel(&farm, last));
    let known = |last: u8| {
        let mut cli = std::process::Command::new("redis-cli");
        let said = run(cli.args(["-h", &farm.ip(last), "-p", "26379", "SENTINEL", "MASTER", "farm"])).stdout;
        let lines: Vec<&str> = said.lines().collect();
        let value = |key: &str| lines.iter().position(|line| *line == key).map(|at| lines[at + 1].to_owned());
        (value("num-slaves"), value("num-other-sentinels"))
    };
    let all = (Some("1".to_owned()), Some("2".to_owned()));
    until("sentinels know each other and the replica", secs(30), || {
        [42, 43, 44].iter().all(|last| known(*last) == all)
    });

    let mut two = Two::of(farm, redis);
    two.until_both_know_each_other();
    let edges = two.both();
    let mut traffic = Traffic::for_secs(&mut two, 16, &edges);
    until("calls are up", secs(10), || two.total()[0] > UP);
    let began = std::time::Instant::now();
    two.redis.end_or_kill("KILL", secs(5));
    two.redis_ip = 41;
    let logs = [two.farm.path("edge.log"), two.farm.path("other/edge.log")];
    let sentence = format!("the master of the shared store is {replica_ip}:6379");
    until("both edges go to the replica", secs(20), || {
        logs.iter().all(|log| std::fs::read_to_string(log).unwrap().contains(&sentence))
    });
    two.until_both_know_each_other();
    println!("both edges were at the new master after {} ms", began.elapsed().as_millis());
    let millis = traffic.passes();
    println!("{} calls, none failed, the longest took {} ms to be set up", millis.len(), millis.last().unwrap());
    two.until_counts_are(2 * UP);
    traffic.ends();
    two.until_counts_are(0);
    two.ends_well();
}

/// An authority and a certificate of Redis, made for one test.
fn certificates(farm: &Farm) {
    need("openssl");
    let script = r#"set -e
key="-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2"
for authority in ca other-ca; do
    openssl req -x509 $key -keyout $authority.key -out $authority.pem -subj "/CN=$authority"
done
openssl req $key -keyout redis.key -out redis.csr -subj "/CN=redis" -addext "subjectAltName=IP:$0"
openssl x509 -req -in redis.csr -CA ca.pem -CAkey ca.key -CAcreateserial -copy_extensions copy -days 2 -out redis.pem"#;
    let made = run(std::process::Command::new("sh").args(["-c", script, &farm.ip(40)]).current_dir(farm.folder()));
    assert_eq!(made.code, 0, "{}", made.stderr);
}

#[tokio::test]
async fn edges_meet_in_a_redis_that_wants_tls_and_a_user() {
    let net = 240;
    let farm =
        Two::farm(net, "url: \"rediss://127.0.240.40:6379\", user: cordboard, password: \"a long word\", ca: CA");
    certificates(&farm);
    let file = |name: &str| farm.path(name).display().to_string();
    let acl = "user default off\nuser cordboard on \">a long word\" ~{cordboard}:* +@connection +@read +@write +@scripting +info\n";
    std::fs::write(farm.path("redis.conf"), acl).unwrap();
    let words = [
        &file("redis.conf"),
        "--port 0 --tls-port 6379 --tls-auth-clients no --tls-cert-file",
        &file("redis.pem"),
        "--tls-key-file",
        &file("redis.key"),
        "--tls-ca-cert-file",
        &file("ca.pem"),
    ];
    let words = words.join(" ");
    let redis = farm.redis_with(40, &words.split(' ').collect::<Vec<_>>());
    let way = |user: &str, password: &str, authority: &str| Way {
        at: At::Url(format!("rediss://{}", farm.redis_at())),
        user: Some(user.to_owned()),
        password: Some(password.to_owned()),
        authorities: Some(std::fs::read(farm.path(authority)).unwrap()),
    };
    for (way, complaint) in [
        (way("cordboard", "a long word", "other-ca.pem"), "certificate"),
        (way("cordboard", "another word", "ca.pem"), "AuthenticationFailed"),
        (Way::by_url(&format!("redis://{}", farm.redis_at())), ""),
    ] {
        let shared = SharedStore::new(way, "cordboard", secs(1)).unwrap();
        let error = shared.beat("e2e", b"{}", "1").await.expect_err("nobody else gets in").to_string();
        assert!(error.contains(complaint), "{complaint}: {error}");
    }

    let ca = file("ca.pem");
    let mut two = Two::of(farm.instead("ca: CA", &format!("ca: {ca}")), redis);
    two.until_both_know_each_other();
    let mut loads = two.calls(10, 20, secs(4));
    until("both edges count all calls", secs(10), || two.total() == [20, 20]);
    loads.iter_mut().for_each(Sipp::succeeds);
    until("no call is left", secs(10), || two.total() == [0, 0]);
    two.ends_well();
}
