//! The one list of what is served.

use axum::Router;
use axum::routing::{MethodRouter, get, post, put};

use crate::edge::view::Viewer;

use super::{calls, config, events, nodes, openapi, realtime, registrations, status};

/// One path.
pub struct Route {
    /// HTTP method.
    pub method: &'static str,
    /// The path, with names in braces.
    pub path: &'static str,
    /// What it does.
    pub summary: &'static str,
    /// Name of the answer's schema; `None` for plain text.
    pub answer: Option<&'static str>,
    /// Whether it needs the token, where one is configured.
    pub needs_token: bool,
    handler: fn() -> MethodRouter<Viewer>,
}

/// Where a dialplan reserves an agent by CURL().
pub const RESERVE_DIAL: &str = "/api/v1/agents/reserve/dial";

/// Where nodes ask for queues and their members.
pub const REALTIME: &str = "/rt/";

/// Where one user's phones are.
const LOCATION: &str = "/api/v1/location/";

/// Whether a node asks here: from a dialplan or by realtime, by forms, and with the token in a URL.
pub fn is_for_nodes(path: &str) -> bool {
    path.starts_with(REALTIME) || path.starts_with(LOCATION) || path == RESERVE_DIAL
}

/// Everything that is served.
pub fn all() -> Vec<Route> {
    let route = |method, path, summary, answer, handler| Route {
        method,
        path,
        summary,
        answer,
        needs_token: path != "/healthz" && path != "/readyz",
        handler,
    };
    vec![
        route("get", "/healthz", "Whether the process is alive.", None, || get(status::healthz)),
        route("get", "/readyz", "Whether the edge takes calls; 503 while it is stopping.", None, || {
            get(status::readyz)
        }),
        route("get", "/metrics", "Numbers for Prometheus.", None, || get(status::metrics)),
        route("get", "/api/v1/openapi.json", "This description.", None, || get(openapi::document)),
        route("get", "/api/v1/status", "The edge at a glance.", Some("StatusView"), || get(status::status)),
        route("get", "/api/v1/nodes", "All nodes and gateways.", Some("NodeView[]"), || get(nodes::list)),
        route("get", "/api/v1/nodes/{name}", "One node or gateway.", Some("NodeView"), || get(nodes::one)),
        route("put", "/api/v1/nodes/{name}/state", "Enables, drains or disables a node.", Some("NodeView"), || {
            put(nodes::set_state)
        }),
        route("get", "/api/v1/calls", "Calls that are up or being set up.", Some("CallView[]"), || get(calls::list)),
        route("get", "/api/v1/calls/{call_id}", "One call.", Some("CallView"), || get(calls::one)),
        route("get", "/api/v1/explain/{call_id}", "Why a call went where it went.", Some("ExplainView"), || {
            get(calls::explain)
        }),
        route("get", "/api/v1/registrations", "Users who are registered, and where.", Some("AgentView[]"), || {
            get(registrations::list)
        }),
        route("get", "/api/v1/agents", "All users, and what they are doing.", Some("AgentView[]"), || {
            get(registrations::agents)
        }),
        route("get", "/api/v1/agents/{user}", "What one agent is doing.", Some("AgentView"), || {
            get(registrations::agent)
        }),
        route("get", "/api/v1/agents/{user}/history", "What an agent did last, and why.", Some("ChangeView[]"), || {
            get(registrations::history)
        }),
        route(
            "post",
            "/api/v1/agents/reserve",
            "Holds the longest idle agent for a call.",
            Some("ReservedView"),
            || post(registrations::reserve),
        ),
        route("post", RESERVE_DIAL, "For CURL() in a dialplan: `agent,what to dial,token`.", None, || {
            post(registrations::reserve_dial)
        }),
        route("put", "/api/v1/agents/{user}/state", "Makes an agent ready or not.", Some("AgentView"), || {
            put(registrations::set_state)
        }),
        route("get", "/api/v1/location/{aor}", "Where one user's phones are.", Some("AgentView"), || {
            get(registrations::one)
        }),
        route("get", "/api/v1/location/{aor}/dial", "For CURL() in a dialplan: `state,what to dial`.", None, || {
            get(registrations::dial)
        }),
        route(
            "post",
            "/rt/{table}/{operation}",
            "Realtime (`res_config_curl`): queues and their members.",
            None,
            || post(realtime::answer),
        ),
        route("get", "/api/v1/events", "What happens, as Server-Sent Events; `kind` chooses.", Some("News"), || {
            get(events::stream)
        }),
        route("get", "/api/v1/config", "The configuration that serves.", Some("ConfigView"), || get(config::show)),
        route("post", "/api/v1/config/reload", "Loads the file again.", Some("ReloadView"), || post(config::reload)),
        route("post", "/api/v1/config/diff", "What another file would change.", Some("DiffView"), || {
            post(config::diff)
        }),
    ]
}

/// The router of all of them.
pub fn router(viewer: Viewer) -> Router {
    let add = |router: Router<Viewer>, route: Route| router.route(route.path, (route.handler)());
    all().into_iter().fold(Router::new(), add).fallback(status::unknown).with_state(viewer)
}
