//! The edge under test: its process, its API and its command line.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use cordboard::edge::located::AgentView;
use cordboard::edge::view::{CallView, ExplainView, NodeView, StatusView};
use serde::de::DeserializeOwned;
use ureq::Agent;

use crate::process::{Output, Process, run, secs, until};

/// The binary.
pub const CORDBOARD: &str = env!("CARGO_BIN_EXE_cordboard");

/// One run of the edge, and how to talk to it.
pub struct Edge {
    pub process: Process,
    pub file: PathBuf,
    api: String,
    agent: Agent,
}

impl Edge {
    /// Starts it and waits until its API answers.
    pub fn start(file: &Path, folder: &Path, api: &str) -> Self {
        // A test may take the disk away by a limit; a signal that ends the process would come before the error.
        let script = "trap '' XFSZ; exec \"$0\" \"$@\"";
        let arguments = ["-c", script, CORDBOARD, "run", "--config", file.to_str().unwrap()].map(str::to_owned);
        let process = Process::start("edge", "sh", &arguments, folder);
        let agent = Agent::config_builder().timeout_global(Some(secs(10))).http_status_as_error(false).build();
        let mut edge = Edge { process, file: file.to_path_buf(), api: api.to_owned(), agent: agent.into() };
        until("the edge answers at its API", secs(20), || {
            assert!(edge.process.is_running(), "the edge ended while it started");
            edge.http("/healthz").is_some_and(|(code, _)| code == 200)
        });
        assert!(edge.process.is_running(), "somebody else answers at {api}");
        edge
    }

    /// Reads a path of the API; `None` when nobody answers.
    pub fn http(&self, path: &str) -> Option<(u16, String)> {
        let mut answer = self.agent.get(format!("http://{}{path}", self.api)).call().ok()?;
        Some((answer.status().as_u16(), answer.body_mut().read_to_string().ok()?))
    }

    /// Posts or puts JSON.
    pub fn send(&self, method: &str, path: &str, body: &str) -> (u16, String) {
        let url = format!("http://{}{path}", self.api);
        let request = if method == "PUT" { self.agent.put(url) } else { self.agent.post(url) };
        let mut answer = request.header("Content-Type", "application/json").send(body).unwrap();
        (answer.status().as_u16(), answer.body_mut().read_to_string().unwrap())
    }

    /// Posts a form as a node does; the code and the body of the answer.
    pub fn send_form(&self, path: &str, body: &str) -> (u16, String) {
        let request = self.agent.post(format!("http://{}{path}", self.api));
        let mut answer = request.header("Content-Type", "application/x-www-form-urlencoded").send(body).unwrap();
        (answer.status().as_u16(), answer.body_mut().read_to_string().unwrap())
    }

    /// Posts a form as a browser does from a page of another site; the code of the answer.
    pub fn form(&self, path: &str, body: &str, origin: &str) -> u16 {
        let request = self.agent.post(format!("http://{}{path}", self.api)).header("Origin", origin);
        let request = request.header("Content-Type", "application/x-www-form-urlencoded");
        request.send(body).unwrap().status().as_u16()
    }

    fn get<T: DeserializeOwned>(&self, path: &str) -> T {
        let (code, text) = self.http(path).unwrap_or_else(|| panic!("no answer to {path}"));
        assert_eq!(code, 200, "{path}: {text}");
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{path}: {error}: {text}"))
    }

    pub fn status(&self) -> StatusView {
        self.get("/api/v1/status")
    }

    pub fn nodes(&self) -> Vec<NodeView> {
        self.get("/api/v1/nodes")
    }

    pub fn node(&self, name: &str) -> NodeView {
        self.get(&format!("/api/v1/nodes/{name}"))
    }

    pub fn calls(&self) -> Vec<CallView> {
        self.get("/api/v1/calls")
    }

    pub fn explain(&self, call_id: &str) -> ExplainView {
        self.get(&format!("/api/v1/explain/{}", call_id.replace('@', "%40")))
    }

    /// Who is registered, as the command line tells it.
    pub fn registrations(&self) -> Vec<AgentView> {
        let said = self.cli(&["registrations", "--limit", "100000", "--json"]);
        assert_eq!(said.code, 0, "{said:?}");
        serde_json::from_str(&said.stdout).unwrap_or_else(|error| panic!("{error}: {}", said.stdout))
    }

    /// The contacts of a user's phones.
    pub fn contacts_of(&self, user: &str) -> Vec<String> {
        let users = self.registrations().into_iter().filter(|agent| agent.user == user);
        users.flat_map(|agent| agent.contacts).map(|contact| contact.uri).collect()
    }

    /// Calls that take a place on a node.
    pub fn open_calls(&self) -> u64 {
        self.status().calls.open()
    }

    /// The text for Prometheus.
    pub fn metrics(&self) -> String {
        self.http("/metrics").unwrap().1
    }

    /// The sum of the series of a metric whose labels contain all of these texts.
    pub fn metric(&self, name: &str, labels: &[&str]) -> f64 {
        let text = self.metrics();
        let series = text.lines().filter(|line| {
            let Some(rest) = line.strip_prefix(name) else { return false };
            rest.starts_with(['{', ' ']) && labels.iter().all(|label| rest.contains(label))
        });
        series.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
    }

    /// Runs a command of the command line against this edge.
    pub fn cli(&self, arguments: &[&str]) -> Output {
        cli(&self.file, arguments)
    }

    /// Waits until a node is in a state.
    pub fn until_node(&self, name: &str, state: &str, within: Duration) {
        until(&format!("{name} is {state}"), within, || self.node(name).state == state);
    }

    /// Waits until no call takes a place any more.
    pub fn until_no_calls(&self, within: Duration) {
        until("no call takes a place", within, || self.open_calls() == 0);
        let left: Vec<String> = self.nodes().iter().filter(|n| n.calls > 0).map(|n| n.name.clone()).collect();
        assert!(left.is_empty(), "no lease, and yet places are taken on {left:?}");
    }
}

/// Runs a command of the command line with a configuration file.
pub fn cli(file: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(CORDBOARD);
    command.args(arguments).env("CORDBOARD_CONFIG", file).env_remove("CORDBOARD_API").env_remove("CORDBOARD_TOKEN");
    run(&mut command)
}
