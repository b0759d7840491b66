//! Calls, and why they went where they went.

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use serde::Deserialize;

use crate::edge::view::{CallView, ExplainView, Viewer};

use super::reply::Refusal;

/// Calls that one answer lists at most.
const LIMIT_MAX: usize = 10_000;

/// Which calls.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Which {
    /// Of this node only.
    node: Option<String>,
    /// So many at most.
    limit: Option<usize>,
}

/// Calls that are up or being set up, the oldest first.
pub async fn list(State(viewer): State<Viewer>, Query(which): Query<Which>) -> Json<Vec<CallView>> {
    let limit = which.limit.unwrap_or(1_000).min(LIMIT_MAX);
    Json(viewer.calls(which.node.as_deref(), limit))
}

/// One call.
pub async fn one(State(viewer): State<Viewer>, Path(call_id): Path<String>) -> Result<Json<CallView>, Refusal> {
    viewer.call(call_id.as_bytes()).map(Json).ok_or_else(|| unknown(&call_id))
}

/// Why a call went where it went.
pub async fn explain(State(viewer): State<Viewer>, Path(call_id): Path<String>) -> Result<Json<ExplainView>, Refusal> {
    viewer.explain(call_id.as_bytes()).map(Json).ok_or_else(|| unknown(&call_id))
}

fn unknown(call_id: &str) -> Refusal {
    Refusal::new(StatusCode::NOT_FOUND, format!("no call with the Call-ID {call_id:?} is known"))
        .hint("Call-IDs are case-sensitive; calls are explained as long as `limits.explain` allows")
}
