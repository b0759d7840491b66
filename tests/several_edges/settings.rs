//! What a run is like.

/// What a run is like.
#[derive(Clone, Debug)]
pub struct Settings {
    pub seed: u64,
    pub edges: u8,
    pub nodes: u16,
    pub calls: u32,
    pub is_strict: bool,
    /// Entries that the log holds.
    pub log_len: usize,
    /// Of a thousand datagrams.
    pub loss: u64,
    pub doubles: u64,
    pub late: u64,
    pub plagues: Plagues,
}

/// How often something goes wrong in a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Plagues {
    /// Edges that are killed, and start again.
    pub kills: u32,
    /// The same, with the last second of what they wrote.
    pub power_cuts: u32,
    /// Edges that do not reach Redis for a while.
    pub partitions: u32,
    /// Redis ends, and starts empty, or with what it knew a while ago.
    pub redis_deaths: u32,
    /// Redis is stopped for a while.
    pub hangs: u32,
    /// Somebody says FLUSHALL.
    pub flushes: u32,
    /// The time of day of an edge's machine is set.
    pub clock_jumps: u32,
    /// Operators drain nodes, and enable them.
    pub orders: u32,
}

/// Gateways, and agents with a phone each.
pub const GATEWAYS: u8 = 3;
pub const AGENTS: u8 = 4;

impl Settings {
    /// Nothing goes wrong.
    pub fn calm(seed: u64, calls: u32) -> Self {
        let edges = 2 + (seed % 4) as u8;
        let is_strict = !seed.is_multiple_of(3);
        let (plagues, log_len) = (Plagues::default(), if seed % 5 < 3 { 100_000 } else { 40 });
        Settings { seed, edges, nodes: 4, calls, is_strict, log_len, loss: 0, doubles: 0, late: 0, plagues }
    }

    /// The address of a node.
    pub fn node_host(number: u16) -> [u8; 4] {
        [10, 0, 100 + (number / 250) as u8, 1 + (number % 250) as u8]
    }

    /// An edge's file, as an operator would write it.
    pub fn file(&self, number: u8) -> String {
        let gateways = (1..=GATEWAYS)
            .map(|n| format!("  - {{ name: gw-{n}, source: [10.0.1.{n}], uri: \"sip:10.0.1.{n}:5060\" }}\n"));
        let nodes = (0..self.nodes).map(|n| {
            let [a, b, c, d] = Self::node_host(n);
            format!("      - {{ name: ast-{n}, uri: \"sip:{a}.{b}.{c}.{d}:5060\", weight: 10 }}\n")
        });
        let domains: Vec<String> = (1..=self.edges).map(|n| format!("10.0.0.{n}")).collect();
        format!(
            "edge: {{ name: edge-{number}, domains: [pbx.example.com, {}] }}\nlisten: [udp://10.0.0.{number}:5060]\nstore: memory\n\
             api: off\ngateways:\n{}pools:\n  inbound:\n    slow_start: 0s\n    nodes:\n{}\
             calls: {{ ring_timeout: 30s, max_duration: 2h }}\nregistrar: {{ auth: open, min_expires: 60s }}\n\
             agents: {{ publish: false }}\n",
            domains.join(", "),
            gateways.collect::<String>(),
            nodes.collect::<String>(),
        )
    }
}
