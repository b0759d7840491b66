//! Settings that stand for themselves: health, calls, limits, security, DNS, API, log.

use std::net::SocketAddr;
use std::time::Duration;

use crate::calls::tries::{FailoverPolicy, ReasonRule, StatusRule};
use crate::config::checked::{ApiConfig, DnsConfig, Limits, LogConfig};
use crate::config::codes::{RetryOn, show_rule};
use crate::config::keys::Off;
use crate::config::numbers::{Percent, Time, Whole, show_time};
use crate::config::place::Path;
use crate::config::raw::{
    RawApi, RawCalls, RawDns, RawFailover, RawForward503, RawHealth, RawLimits, RawLog, RawSecurity, RawStop,
};
use crate::config::strip;
use crate::config::words::{Given, TextOr};
use crate::dispatch::farm::{CallPolicy, SecurityPolicy};
use crate::dispatch::health::HealthPolicy;

use super::Check;

/// Q.850 cause 34, no circuit available: what the dialplan's Congestion() says.
const CONGESTION: u8 = 34;

/// Shortest API token that passes without a word.
const TOKEN_OCTETS_MIN: usize = 16;

/// DNS servers that are asked one after the other.
const DNS_SERVERS_MAX: usize = 8;

impl Check<'_> {
    pub(super) fn health(&mut self, raw: Option<&RawHealth>) -> HealthPolicy {
        let mut policy = HealthPolicy::default();
        let Some(raw) = raw else { return policy };
        time(&mut policy.interval, raw.interval);
        time(&mut policy.timeout, raw.timeout);
        whole(&mut policy.fall, raw.fall);
        whole(&mut policy.rise, raw.rise);
        percent(&mut policy.jitter_percent, raw.jitter);
        time(&mut policy.slow_after, raw.slow_after);
        time(&mut policy.full_pause, raw.full_pause);
        time(&mut policy.flap_window, raw.flap_window);
        time(&mut policy.flap_wait_max, raw.flap_wait_max);
        if let Some(codes) = &raw.dead_codes {
            policy.dead_codes = codes.iter().map(|codes| codes.0.0.clone()).collect();
        }
        let path = Path::to("health");
        if policy.timeout >= policy.interval {
            let what = format!(
                "not shorter than the interval of {}; a silent node is noticed after {} at worst",
                show_time(policy.interval),
                show_time(policy.detection_max())
            );
            let key = if raw.timeout.is_some() { "timeout" } else { "interval" };
            self.warn(&path.key(key), what, "a timeout below the interval notices sooner");
        }
        if policy.dead_codes.contains(&(503..=503)) {
            self.warn(&path.key("dead_codes"), "503 always counts as life: alive, but closed", "leave it out");
        }
        policy
    }

    pub(super) fn calls(&mut self, raw: Option<&RawCalls>, failover: Option<&RawFailover>) -> CallPolicy {
        let mut policy = CallPolicy { failover: self.failover(failover), ..CallPolicy::default() };
        if let Some(RawForward503::AsIs) = failover.and_then(|raw| raw.forward_503) {
            policy.forward_503_as_is = true;
        }
        let Some(raw) = raw else { return policy };
        let path = Path::to("calls");
        time(&mut policy.ring_timeout, raw.ring_timeout);
        time(&mut policy.max_duration, raw.max_duration);
        policy.record_route = raw.record_route.unwrap_or(policy.record_route);
        if let Some(Given(Time(pause))) = raw.retry_after {
            if pause.subsec_nanos() > 0 {
                self.refuse(&path.key("retry_after"), "must be whole seconds: SIP knows no others", None);
            }
            policy.retry_after_secs = pause.as_secs() as u32;
        }
        if policy.max_duration <= policy.ring_timeout {
            let what = format!("must be longer than ring_timeout, {}", show_time(policy.ring_timeout));
            self.refuse(&path.key("max_duration"), what, None);
        }
        if !policy.record_route {
            let what = "the edge does not see the end of a call, which holds its place until max_duration";
            self.warn(&path.key("record_route"), what, "leave it true");
        }
        policy
    }

    fn failover(&mut self, raw: Option<&RawFailover>) -> FailoverPolicy {
        let mut policy = FailoverPolicy::default();
        let Some(raw) = raw else { return policy };
        time(&mut policy.no_response, raw.no_response);
        time(&mut policy.budget, raw.budget);
        policy.tries_max = raw.max_tries.map_or(policy.tries_max, |tries| tries.0.0 as u8);
        if let Some(causes) = &raw.retry_on {
            self.retry_on(&mut policy, causes);
        }
        if policy.on_silence && policy.tries_max > 1 && policy.no_response >= policy.budget {
            let what = format!(
                "not shorter than the budget of {}; silence never leads to a second node",
                show_time(policy.budget)
            );
            let key = if raw.no_response.is_some() { "no_response" } else { "budget" };
            self.warn(&Path::to("failover").key(key), what, "leave time for max_tries of them");
        }
        policy
    }

    fn retry_on(&mut self, policy: &mut FailoverPolicy, causes: &[Given<RetryOn>]) {
        (policy.on_silence, policy.on_refused, policy.on_node_down) = (false, false, false);
        policy.on_status.clear();
        for item in self.placed(&Path::to("failover").key("retry_on"), causes) {
            match &item.value.0 {
                RetryOn::Silence => policy.on_silence = true,
                RetryOn::Refused => policy.on_refused = true,
                RetryOn::NodeDown => policy.on_node_down = true,
                RetryOn::Status(rule) if policy.on_status.contains(rule) => {}
                RetryOn::Status(rule) => {
                    if dialplan_may_have_run(rule) {
                        let what = format!(
                            "after a {} the dialplan may have run, and it runs again on the next node",
                            show_rule(rule)
                        );
                        self.warn(&item.path, what, "`503 without reason` and `503 cause 42` are safe");
                    }
                    policy.on_status.push(rule.clone());
                }
            }
        }
    }

    pub(super) fn security(&mut self, raw: Option<&RawSecurity>) -> SecurityPolicy {
        let mut policy = SecurityPolicy::default();
        let Some(raw) = raw else { return policy };
        policy.options_from_strangers = raw.options_from_strangers.unwrap_or(false);
        let path = Path::to("security").key("strip");
        let mut names: Vec<String> = Vec::new();
        for item in self.placed(&path, raw.strip.as_deref().unwrap_or_default()) {
            match strip::spellings(&item.value.0.0) {
                Some(spellings) => names.extend(spellings),
                None => {
                    let what = format!("{} is what routes a message; it cannot be removed", item.value.0.0);
                    self.refuse(&item.path, what, None);
                }
            }
        }
        names.sort();
        names.dedup();
        policy.strip = names.into_iter().map(|name| name.into_bytes().into_boxed_slice()).collect();
        policy
    }

    pub(super) fn limits(&mut self, raw: Option<&RawLimits>) -> Limits {
        let mut limits = Limits::default();
        let Some(raw) = raw else { return limits };
        whole(&mut limits.bindings, raw.bindings);
        whole(&mut limits.calls, raw.calls);
        whole(&mut limits.message_bytes, raw.message_bytes);
        whole(&mut limits.connections, raw.connections);
        whole(&mut limits.connections_per_source, raw.connections_per_source);
        whole(&mut limits.explain, raw.explain);
        whole(&mut limits.stranger_rate, raw.stranger_rate);
        time(&mut limits.connect_timeout, raw.connect_timeout);
        time(&mut limits.message_timeout, raw.message_timeout);
        time(&mut limits.idle_timeout, raw.idle_timeout);
        if raw.connections_per_source.is_some() && limits.connections_per_source > limits.connections {
            let what = format!("more than all connections together, {}", limits.connections);
            self.warn(&Path::to("limits").key("connections_per_source"), what, "one address could take them all");
        }
        limits
    }

    pub(super) fn dns(&mut self, raw: Option<&RawDns>) -> DnsConfig {
        let mut dns = DnsConfig::default();
        let Some(raw) = raw else { return dns };
        let path = Path::to("dns");
        time(&mut dns.timeout, raw.timeout);
        time(&mut dns.min_ttl, raw.min_ttl);
        time(&mut dns.max_ttl, raw.max_ttl);
        dns.servers = raw.servers.iter().flatten().map(|server| server.0.0).collect();
        if dns.servers.len() > DNS_SERVERS_MAX {
            self.refuse(&path.key("servers"), format!("at most {DNS_SERVERS_MAX} servers are asked"), None);
        }
        if dns.min_ttl > dns.max_ttl {
            let what = format!("must not be longer than max_ttl, {}", show_time(dns.max_ttl));
            let key = if raw.min_ttl.is_some() { "min_ttl" } else { "max_ttl" };
            self.refuse(&path.key(key), what, None);
        }
        dns
    }

    pub(super) fn api(&mut self, raw: Option<&TextOr<Off, RawApi>>) -> Option<ApiConfig> {
        let none = RawApi::default();
        let raw = match raw {
            Some(TextOr::Text(Off)) => return None,
            Some(TextOr::Map(raw)) => raw,
            None => &none,
        };
        let path = Path::to("api");
        let listen = raw.listen.map_or(SocketAddr::from(([127, 0, 0, 1], 8080)), |address| address.0.0);
        let token = self.secret(&path.key("token"), raw.token.as_ref());
        if raw.token.is_none() && !self.tree.is_lost(&path.key("token")) && !listen.ip().to_canonical().is_loopback() {
            let what = "others than this machine could drain nodes; a token is needed";
            self.refuse(&path.key("listen"), what, Some("token: \"${CORDBOARD_TOKEN}\", or listen on 127.0.0.1"));
        }
        if token.as_ref().is_some_and(|token| token.octets() < TOKEN_OCTETS_MIN) {
            let what = format!("shorter than {TOKEN_OCTETS_MIN} octets, so it can be guessed");
            self.warn(&path.key("token"), what, "`openssl rand -hex 32` makes a good one");
        }
        Some(ApiConfig { listen, token })
    }
}

/// How long a stopping edge waits for its calls.
pub(super) fn stop_wait(raw: Option<&RawStop>) -> Duration {
    let mut wait = Duration::from_secs(60);
    time(&mut wait, raw.and_then(|raw| raw.wait));
    wait
}

pub(super) fn log(raw: Option<&RawLog>) -> LogConfig {
    let default = LogConfig::default();
    let Some(raw) = raw else { return default };
    LogConfig {
        level: raw.level.unwrap_or(default.level),
        format: raw.format.unwrap_or(default.format),
        redact: raw.redact.unwrap_or(default.redact),
    }
}

/// True unless the refusal can only come from a node that did not start the call.
fn dialplan_may_have_run(rule: &StatusRule) -> bool {
    match &rule.reason {
        ReasonRule::Any => true,
        ReasonRule::Absent => rule.code != 503,
        ReasonRule::Q850(causes) => rule.code != 503 || causes.contains(&CONGESTION),
    }
}

pub(super) fn time<const MIN: u64, const MAX: u64>(slot: &mut Duration, given: Option<Given<Time<MIN, MAX>>>) {
    if let Some(Given(Time(time))) = given {
        *slot = time;
    }
}

pub(super) fn whole<const MIN: u32, const MAX: u32>(slot: &mut u32, given: Option<Given<Whole<MIN, MAX>>>) {
    if let Some(Given(Whole(number))) = given {
        *slot = number;
    }
}

fn percent<const MIN: u8, const MAX: u8>(slot: &mut u8, given: Option<Given<Percent<MIN, MAX>>>) {
    if let Some(Given(Percent(percent))) = given {
        *slot = percent;
    }
}
