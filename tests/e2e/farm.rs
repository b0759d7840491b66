//! A farm on loopback addresses of its own: the edge at .10, nodes from .11, the gateway at .20.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;

use crate::edge::Edge;
use crate::lab::Lab;
use crate::process::{Output, Process, need, run, secs, until};
use crate::sipp::{Load, Sipp, password_of};

/// How long nodes may take until the edge has heard of them.
const UP_WITHIN: Duration = Duration::from_secs(30);

/// How long leases may outlive the last call: a call that was cut is remembered until its BYE is given up.
const FREE_WITHIN: Duration = Duration::from_secs(40);

/// How long the same test of another checkout may take.
const OTHERS_WITHIN: Duration = Duration::from_secs(120);

/// Lines of a file that are shown when a test fails.
const SHOWN_LINES: usize = 60;

/// The farm of one test.
pub struct Farm {
    net: u8,
    listen: String,
    /// More keys of the edge.
    edge_keys: String,
    /// The words that the other edge has in place of the edge's.
    other_site: Option<(String, String)>,
    gateway: String,
    nodes: Vec<(String, String)>,
    pool: String,
    pools: String,
    more: String,
    edge: Option<Edge>,
    players: Vec<Sipp>,
    lab: Option<Lab>,
    gateways: usize,
    folder: TempDir,
    /// The addresses are this farm's until it is dropped, last of all.
    _addresses: File,
}

impl Farm {
    /// A farm on 127.0.NET.x, without nodes. Every test has another number.
    pub fn new(net: u8) -> Self {
        let addresses = addresses_of(net);
        // A node's socket lies deep in it, and the name of a socket has to be short.
        let folder = tempfile::Builder::new().prefix("cb-e2e-").tempdir_in("/tmp").unwrap();
        std::fs::create_dir(folder.path().join("etc")).unwrap();
        Farm {
            net,
            listen: String::new(),
            edge_keys: String::new(),
            other_site: None,
            gateway: String::new(),
            nodes: vec![],
            pool: String::new(),
            pools: String::new(),
            more: String::new(),
            edge: None,
            players: vec![],
            lab: None,
            gateways: 0,
            folder,
            _addresses: addresses,
        }
    }

    /// The next node, `ast-1` and so on, with keys like `weight: 10`.
    pub fn node(mut self, keys: &str) -> Self {
        let k = self.nodes.len() + 1;
        let uri = format!("uri: \"sip:{}\"", self.at(k));
        let keys = if keys.contains("uri:") { keys.to_owned() } else { format!("{uri}, {keys}") };
        self.nodes.push((format!("ast-{k}"), keys));
        self
    }

    /// The same, played by SIPp.
    pub fn player(self, keys: &str, scenario: &str, options: &[&str]) -> Self {
        let mut farm = self.node(keys);
        farm.play(farm.nodes.len(), scenario, options);
        farm
    }

    /// One more listener of the edge.
    pub fn listen(mut self, uri: &str) -> Self {
        self.listen += &format!(", \"{uri}\"");
        self
    }

    /// One more gateway, with keys like `name: a, source: ["::1"]`.
    pub fn gateway(mut self, keys: &str) -> Self {
        self.gateway += &format!("  - {{ {keys} }}\n");
        self
    }

    /// A line of the pool, such as `algorithm: random`.
    pub fn pool(mut self, line: &str) -> Self {
        self.pool += &format!("    {line}\n");
        self
    }

    /// More pools, as they stand in the file.
    pub fn more_pools(mut self, text: &str) -> Self {
        self.pools += text;
        self
    }

    /// A section of the configuration.
    pub fn with(mut self, section: &str) -> Self {
        self.more += section;
        self.more.push('\n');
        self
    }

    /// One of two edges, which meet in Redis; the other one is at .9. Keys of `store.redis`; without any that say where, it is at .40.
    pub fn of_two(mut self, redis: &str) -> Self {
        self.edge_keys = ", secret: \"one secret of both edges\"".to_owned();
        let url = format!("url: \"redis://{}\", ", self.redis_at());
        let url = if redis.contains("url:") || redis.contains("sentinels:") { "" } else { &url };
        self.with(&format!("store: {{ redis: {{ {url}{redis} }} }}"))
    }

    /// Another text in the place of one of the sections.
    pub fn instead(mut self, text: &str, other: &str) -> Self {
        assert!(self.more.contains(text));
        self.more = self.more.replace(text, other);
        self
    }

    /// The edge stands at the first site, the other edge at the second.
    pub fn at_sites(mut self, sites: [&str; 2]) -> Self {
        self.edge_keys += &format!(", site: {}", sites[0]);
        self.other_site = Some((format!("site: {} }}", sites[0]), format!("site: {} }}", sites[1])));
        self
    }

    /// Where Redis is.
    pub fn redis_at(&self) -> String {
        format!("{}:6379", self.ip(40))
    }

    /// Starts Redis, empty.
    pub fn redis(&self) -> Process {
        self.redis_with(40, &["--port", "6379"])
    }

    /// The same with an address and options.
    pub fn redis_with(&self, last: u8, options: &[&str]) -> Process {
        need("redis-server");
        let (ip, folder) = (self.ip(last), self.path(&format!("redis-{last}")));
        std::fs::create_dir_all(&folder).unwrap();
        let own = ["--bind", &ip, "--save", "", "--appendonly", "no", "--loglevel", "warning"];
        let options: Vec<String> = options.iter().chain(&own).map(|&option| option.to_owned()).collect();
        let redis = Process::start("redis", "redis-server", &options, &folder);
        let port = if options.iter().any(|option| option == "--sentinel") { 26_379 } else { 6_379 };
        let at = format!("{ip}:{port}").parse().unwrap();
        until("Redis listens", secs(10), || {
            std::net::TcpStream::connect_timeout(&at, Duration::from_millis(200)).is_ok()
        });
        redis
    }

    /// Says something to Redis; what it answered.
    pub fn redis_says(&self, words: &[&str]) -> String {
        self.redis_at_says(40, words)
    }

    /// The same to another one.
    pub fn redis_at_says(&self, last: u8, words: &[&str]) -> String {
        let mut cli = std::process::Command::new("redis-cli");
        let output = run(cli.args(["-h", &self.ip(last), "-p", "6379"]).args(words));
        assert_eq!(output.code, 0, "{words:?}: {output:?}");
        output.stdout.trim().to_owned()
    }

    /// Where the other edge is.
    pub fn other_at(&self) -> String {
        format!("{}:5060", self.ip(9))
    }

    /// Starts the other edge, with the same farm.
    pub fn other_edge(&self) -> Edge {
        let folder = self.path("other");
        std::fs::create_dir_all(&folder).unwrap();
        let yaml = self
            .yaml()
            .replace("name: e2e,", "name: e2e-2,")
            .replace(&format!("{}:", self.ip(10)), &format!("{}:", self.ip(9)));
        let yaml = yaml.replace(&self.path("state").display().to_string(), &folder.join("state").display().to_string());
        let yaml = self.other_site.as_ref().map_or(yaml.clone(), |(own, other)| yaml.replace(own, other));
        std::fs::write(folder.join("dispatcher.yaml"), yaml).unwrap();
        Edge::start(&folder.join("dispatcher.yaml"), &folder, &format!("{}:8080", self.ip(9)))
    }

    /// A registrar with these users and more lines of its section. SIPp knows MD5 only, and takes what is offered first.
    pub fn registrar(self, users: &[String], lines: &str) -> Self {
        let user = |name: &String| format!("    - {{ name: \"{name}\", password: \"{}\" }}\n", password_of(name));
        let users: String = users.iter().map(user).collect();
        let algorithms = if lines.contains("algorithms:") { "" } else { "  algorithms: [md5, sha-256]\n" };
        self.with(&format!("registrar:\n  realm: pbx.example.com\n{algorithms}  users:\n{users}{lines}"))
    }

    /// Where phones are, on a port of theirs.
    pub fn phone_at(&self, port: u16) -> String {
        format!("{}:{port}", self.ip(30))
    }

    /// Registers these users' phones at a port, and lets them take calls there as a scenario of `sipp/node` says.
    pub fn phones(&mut self, port: u16, users: &[String], scenario: &str, options: &[&str]) {
        let at = self.phone_at(port);
        self.carries(&Load::of_phones("register", users).from(&at));
        let phone = Sipp::node(&format!("phones-{port}"), scenario, &at, options, self.folder.path());
        self.players.push(phone);
    }

    /// One more SIPp that has to end well.
    pub fn joins(&mut self, player: Sipp) {
        self.players.push(player);
    }

    /// The test's own folder.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// An address of this farm.
    pub fn ip(&self, last: u8) -> String {
        format!("127.0.{}.{last}", self.net)
    }

    /// The address and port of the k-th node.
    pub fn at(&self, k: usize) -> String {
        format!("{}:5060", self.ip(10 + k as u8))
    }

    /// The edge's.
    pub fn edge_at(&self) -> String {
        format!("{}:5060", self.ip(10))
    }

    /// A file in the test's own folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The configuration file.
    pub fn file(&self) -> PathBuf {
        self.path("etc/dispatcher.yaml")
    }

    /// What is configured.
    pub fn yaml(&self) -> String {
        let (edge, gateway, state) = (self.ip(10), self.ip(20), self.path("state"));
        let nodes: String =
            self.nodes.iter().map(|(name, keys)| format!("      - {{ name: {name}, {keys} }}\n")).collect();
        format!(
            "edge: {{ name: e2e, domains: [pbx.example.com], state_dir: {}{} }}\n\
             listen: [\"udp://{edge}:5060\", \"tcp://{edge}:5060\"{}]\n\
             gateways:\n  - {{ name: pri-1, source: [{gateway}] }}\n{}\
             pools:\n  inbound:\n{}    nodes:\n{nodes}{}\
             api: {{ listen: \"{edge}:8080\" }}\n{}",
            state.display(),
            self.edge_keys,
            self.listen,
            self.gateway,
            self.pool,
            self.pools,
            self.more
        )
    }

    /// Replaces the configuration file at once, as editors do.
    pub fn write(&self, text: &str) {
        let new = self.path("etc/dispatcher.yaml.new");
        std::fs::write(&new, text).unwrap();
        std::fs::rename(new, self.file()).unwrap();
    }

    /// Starts a SIPp node as the k-th.
    pub fn play(&mut self, k: usize, scenario: &str, options: &[&str]) {
        let at = self.at(k);
        self.play_at(k, &at, scenario, options);
    }

    /// The same at another address.
    pub fn play_at(&mut self, k: usize, at: &str, scenario: &str, options: &[&str]) {
        let name = format!("ast-{k}");
        self.players.retain(|player| player.name != name);
        let player = Sipp::node(&name, scenario, at, options, self.folder.path());
        self.players.push(player);
    }

    /// The SIPp node that is the k-th.
    pub fn played(&mut self, k: usize) -> &mut Sipp {
        let name = format!("ast-{k}");
        self.players.iter_mut().find(|player| player.name == name).unwrap()
    }

    /// Forgets a SIPp node, and kills it if it still runs: its exit code says nothing any more.
    pub fn lose(&mut self, k: usize) {
        let name = format!("ast-{k}");
        self.players.retain(|player| player.name != name);
    }

    /// Starts real Asterisk nodes for all that are configured, and the edge.
    pub fn with_asterisk(mut self) -> Self {
        self.write(&self.yaml());
        let base = format!("127.0.{}.", self.net);
        self.lab = Some(Lab::up(self.folder.path(), &base, &self.file(), self.nodes.len()));
        self.start()
    }

    /// Starts the edge and waits until it knows all nodes as up.
    pub fn start(mut self) -> Self {
        self.write(&self.yaml());
        self.start_edge();
        let names: Vec<String> = self.nodes.iter().map(|(name, _)| name.clone()).collect();
        for name in names {
            self.edge().until_node(&name, "up", UP_WITHIN);
        }
        self
    }

    /// Starts the edge, whatever the nodes do.
    pub fn start_unheard(mut self) -> Self {
        self.write(&self.yaml());
        self.start_edge();
        self
    }

    /// Starts the edge with the file that is there.
    pub fn start_edge(&mut self) {
        let file = self.file();
        self.start_edge_with(&file);
    }

    /// Starts the edge with another file.
    pub fn start_edge_with(&mut self, file: &Path) {
        self.edge = None;
        let api = format!("{}:8080", self.ip(10));
        self.edge = Some(Edge::start(file, self.folder.path(), &api));
    }

    /// The running edge.
    pub fn edge(&self) -> &Edge {
        self.edge.as_ref().unwrap()
    }

    /// The running edge, to be ended.
    pub fn edge_mut(&mut self) -> &mut Edge {
        self.edge.as_mut().unwrap()
    }

    /// The Asterisk nodes.
    pub fn lab(&self) -> &Lab {
        self.lab.as_ref().unwrap()
    }

    /// A command of the command line.
    pub fn cli(&self, arguments: &[&str]) -> Output {
        crate::edge::cli(&self.file(), arguments)
    }

    /// What the edge has logged.
    pub fn edge_log(&self) -> String {
        std::fs::read_to_string(self.path("edge.log")).unwrap()
    }

    /// Starts a load, each from another port of the gateway's.
    pub fn load(&mut self, load: &Load) -> Sipp {
        let from = format!("{}:{}", self.ip(20), 5060 + self.gateways);
        self.gateways += 1;
        let name = format!("gateway-{}", self.gateways);
        Sipp::gateway(&name, load, &from, &self.edge_at(), self.folder.path())
    }

    /// A load from beginning to end, without a failed call.
    pub fn carries(&mut self, load: &Load) -> Sipp {
        let mut gateway = self.load(load);
        gateway.succeeds();
        gateway
    }

    /// The end of a good test: no call holds a place, every SIPp node is content, and the edge ends by itself.
    pub fn ends_well(mut self) {
        self.edge().until_no_calls(FREE_WITHIN);
        self.players.iter_mut().for_each(Sipp::node_ends_well);
        self.players.clear();
        let code = self.edge_mut().process.end("TERM", secs(10));
        assert_eq!(code, 0, "the edge's exit code");
    }

    /// Waits until the edge has heard of these nodes.
    pub fn until_known(&self, names: &[&str]) {
        names.iter().for_each(|name| self.edge().until_node(name, "up", UP_WITHIN));
    }

    /// Waits until all of the nodes are up.
    pub fn until_all_up(&self) {
        until("all nodes are up", UP_WITHIN, || self.edge().nodes().iter().all(|node| node.state == "up"));
    }

    fn tell(&self) {
        let mut files: Vec<PathBuf> =
            std::fs::read_dir(self.folder.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        files.push(self.file());
        let is_told = |path: &PathBuf| path.extension().is_some_and(|kind| kind == "err" || kind == "yaml");
        let edge_log = self.path("edge.log");
        for path in files.iter().filter(|path| is_told(path) || **path == edge_log) {
            let text = std::fs::read_to_string(path).unwrap_or_default();
            let lines: Vec<&str> = text.lines().collect();
            let from = lines.len().saturating_sub(SHOWN_LINES);
            eprintln!("--- {}\n{}", path.display(), lines[from..].join("\n"));
        }
        if let Some(edge) = &self.edge
            && let Some((_, status)) = edge.http("/api/v1/status")
        {
            eprintln!("--- status\n{status}");
        }
    }
}

/// Waits until no other run of the tests, from another checkout perhaps, has a farm on these addresses.
fn addresses_of(net: u8) -> File {
    let path = std::env::temp_dir().join(format!("cordboard-e2e-127.0.{net}.lock"));
    let file = File::options().create(true).append(true).open(&path).unwrap();
    let sentence = format!("another run of the tests has left 127.0.{net}.x (it holds {})", path.display());
    until(&sentence, OTHERS_WITHIN, || file.try_lock().is_ok());
    file
}

impl Drop for Farm {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        self.tell();
        if std::env::var_os("CORDBOARD_E2E_KEEP").is_some() {
            self.folder.disable_cleanup(true);
            eprintln!("kept: {}", self.folder.path().display());
        }
    }
}
