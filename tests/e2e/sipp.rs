//! SIPp as gateway, as node and as phone.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::process::{Process, need, repository, secs, until};

/// Loads and their length. SIPp itself gives up after `TIMEOUT_SECS`.
const TIMEOUT_SECS: u64 = 60;

/// What a gateway, or somebody's phones, are told to do.
#[derive(Clone, Debug)]
pub struct Load {
    scenario: String,
    users: Vec<String>,
    password: Option<String>,
    calls: u32,
    rate: u32,
    called: String,
    from: Option<String>,
    to: Option<String>,
    more: Vec<String>,
}

impl Load {
    /// One call of a scenario of `sipp/gateway`.
    pub fn of(scenario: &str) -> Self {
        Load {
            scenario: format!("gateway/{scenario}"),
            users: vec![],
            password: None,
            calls: 1,
            rate: 10,
            called: "100".to_owned(),
            from: None,
            to: None,
            more: vec![],
        }
    }

    /// A scenario of `sipp/phone`, once for each of these users.
    pub fn of_phones(scenario: &str, users: &[String]) -> Self {
        let load = Load::of(scenario).calls(users.len() as u32, 50);
        Load { scenario: format!("phone/{scenario}"), users: users.to_vec(), ..load }
    }

    /// Another password than that of the users.
    pub fn password(mut self, password: &str) -> Self {
        self.password = Some(password.to_owned());
        self
    }

    /// So many calls, so many a second.
    pub fn calls(mut self, calls: u32, rate: u32) -> Self {
        (self.calls, self.rate) = (calls, rate);
        self
    }

    /// How long they last, or what else the scenario takes `-d` for.
    pub fn hold(self, hold: Duration) -> Self {
        self.with(&["-d", &hold.as_millis().to_string()])
    }

    /// The number that is called.
    pub fn called(mut self, number: &str) -> Self {
        self.called = number.to_owned();
        self
    }

    /// Another address and port of the caller than the gateway's.
    pub fn from(mut self, address: &str) -> Self {
        self.from = Some(address.to_owned());
        self
    }

    /// Another address and port than the edge's.
    pub fn to(mut self, address: &str) -> Self {
        self.to = Some(address.to_owned());
        self
    }

    /// Notes how long each call takes to be set up.
    pub fn timed(self) -> Self {
        self.with(&["-trace_rtt", "-rtt_freq", "1"])
    }

    /// More of SIPp's options.
    pub fn with(mut self, options: &[&str]) -> Self {
        self.more.extend(options.iter().map(|&option| option.to_owned()));
        self
    }
}

/// A running SIPp.
pub struct Sipp {
    pub process: Process,
    pub name: String,
    folder: PathBuf,
}

impl Sipp {
    /// A gateway or phones with their load.
    pub fn gateway(name: &str, load: &Load, from: &str, to: &str, folder: &Path) -> Self {
        let mut arguments = vec![load.to.clone().unwrap_or_else(|| to.to_owned())];
        let words = [
            ("-s", load.called.clone()),
            ("-m", load.calls.to_string()),
            ("-r", load.rate.to_string()),
            ("-timeout", TIMEOUT_SECS.to_string()),
        ];
        arguments.extend(words.into_iter().flat_map(|(key, value)| [key.to_owned(), value]));
        arguments.push("-timeout_error".to_owned());
        arguments.extend(load.more.iter().cloned());
        if !load.users.is_empty() {
            arguments.extend(["-inf".to_owned(), users_file(name, load, folder)]);
        }
        let scenario = format!("sipp/{}.xml", load.scenario);
        Self::start(name, &scenario, load.from.as_deref().unwrap_or(from), arguments, folder)
    }

    /// A node.
    pub fn node(name: &str, scenario: &str, at: &str, options: &[&str], folder: &Path) -> Self {
        let arguments = options.iter().map(|&option| option.to_owned()).collect();
        let node = Self::start(name, &format!("sipp/node/{scenario}.xml"), at, arguments, folder);
        // Until then the machine says that nobody is there.
        until(&format!("{name} listens at {at}"), secs(10), || listens(at));
        node
    }

    fn start(name: &str, scenario: &str, at: &str, mut arguments: Vec<String>, folder: &Path) -> Self {
        need("sipp");
        let (ip, port) = at.rsplit_once(':').unwrap();
        let file = |kind: &str| folder.join(format!("{name}.{kind}")).display().to_string();
        let scenario = repository(scenario).display().to_string();
        let own = ["-sf", &scenario, "-i", ip.trim_matches(['[', ']']), "-p", port, "-nostdin"];
        arguments.extend(own.map(str::to_owned));
        let traces = ["-trace_stat", "-fd", "1", "-trace_err", "-trace_logs"];
        arguments.extend(traces.map(str::to_owned));
        for (key, kind) in [("-stf", "csv"), ("-error_file", "err"), ("-log_file", "calls")] {
            arguments.extend([key.to_owned(), file(kind)]);
        }
        let process = Process::start(name, "sipp", &arguments, folder);
        Sipp { process, name: name.to_owned(), folder: folder.to_path_buf() }
    }

    /// Waits for the end of the load; every call has to have ended as its scenario says.
    pub fn succeeds(&mut self) {
        let code = self.process.wait(secs(TIMEOUT_SECS + 5));
        assert_eq!(
            code,
            0,
            "{}: SIPp's exit code; {} calls failed\n{}",
            self.name,
            self.count("FailedCall(C)"),
            self.errors()
        );
    }

    /// Ends a node. Its own calls have to have ended as its scenario says.
    pub fn node_ends_well(&mut self) {
        // SIPp sums up inside its signal handler and now and then locks up there; what it wrote last says the same.
        let failed = match self.process.end_or_kill("TERM", secs(5)) {
            Some(0) => 0,
            Some(code) => panic!("{}: SIPp's exit code as a node is {code}\n{}", self.name, self.errors()),
            None => self.count("FailedCall(C)"),
        };
        assert_eq!(failed, 0, "{}: calls that failed at the node\n{}", self.name, self.errors());
    }

    /// What the scenario's `<log>` wrote.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join(format!("{}.calls", self.name))).unwrap_or_default()
    }

    /// Waits until so many lines of its log have a word.
    pub fn until_logged(&self, word: &str, count: usize, within: Duration) {
        let said = || self.log().lines().filter(|line| line.contains(word)).count();
        until(&format!("{} says {count} times {word}", self.name), within, || said() >= count);
    }

    /// The last value of a column of the statistics; of a node that has ended, or as of a second ago.
    pub fn count(&self, column: &str) -> u64 {
        let text = std::fs::read_to_string(self.folder.join(format!("{}.csv", self.name))).unwrap_or_default();
        let mut lines = text.lines();
        let Some(head) = lines.next() else { return 0 };
        let place = head.split(';').position(|name| name == column);
        let place = place.unwrap_or_else(|| panic!("no column {column} in {head}"));
        lines.next_back().and_then(|line| line.split(';').nth(place)?.parse().ok()).unwrap_or(0)
    }

    /// How long each call took from its INVITE to its 200, in milliseconds; of a load with `Load::timed`.
    pub fn set_up_millis(&self) -> Vec<f64> {
        let end = format!("_{}_rtt.csv", self.process.pid());
        let mut files = std::fs::read_dir(&self.folder).unwrap().map(|entry| entry.unwrap().path());
        let file = files.find(|path| path.to_string_lossy().ends_with(&end)).expect("SIPp noted the times");
        let text = std::fs::read_to_string(file).unwrap();
        let lines = text.lines().map(|line| line.split(';').collect::<Vec<_>>());
        lines.filter(|cells| cells.len() > 2 && cells[2] == "setup").map(|cells| cells[1].parse().unwrap()).collect()
    }

    fn errors(&self) -> String {
        let text = std::fs::read_to_string(self.folder.join(format!("{}.err", self.name))).unwrap_or_default();
        text.chars().take(3_000).collect()
    }
}

/// The password of a user of `Farm::registrar`.
pub fn password_of(user: &str) -> String {
    format!("secret-of-{user}")
}

fn users_file(name: &str, load: &Load, folder: &Path) -> String {
    // SIPp puts the credentials where the field is.
    let mut lines = "SEQUENTIAL\n".to_owned();
    for user in &load.users {
        let password = load.password.clone().unwrap_or_else(|| password_of(user));
        lines += &format!("{user};[authentication username={user} password={password}]\n");
    }
    let file = folder.join(format!("{name}.users"));
    std::fs::write(&file, lines).unwrap();
    file.display().to_string()
}

/// Whether somebody has a UDP or TCP socket at an address.
fn listens(at: &str) -> bool {
    let Ok(at) = at.parse::<SocketAddr>() else { return true };
    let hex = match at.ip() {
        // As the kernel writes it: a number in the order of the machine.
        IpAddr::V4(ip) => format!(" {:08X}:{:04X} ", u32::from_ne_bytes(ip.octets()), at.port()),
        IpAddr::V6(_) => format!(":{:04X} ", at.port()),
    };
    let tables = ["udp", "tcp", "udp6", "tcp6"];
    tables
        .iter()
        .filter_map(|table| std::fs::read_to_string(format!("/proc/net/{table}")).ok())
        .any(|text| text.contains(&hex))
}
