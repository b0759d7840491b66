//! Nodes, and what operators want of them.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::dispatch::node::Admin;
use crate::edge::farm_writer::AdminError;
use crate::edge::view::{NodeView, Viewer};

use super::reply::Refusal;

/// What is wanted of a node.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NodeState {
    /// `enabled`, `draining` or `disabled`.
    pub state: String,
}

/// All of them.
pub async fn list(State(viewer): State<Viewer>) -> Json<Vec<NodeView>> {
    Json(viewer.nodes())
}

/// One of them.
pub async fn one(State(viewer): State<Viewer>, Path(name): Path<String>) -> Result<Json<NodeView>, Refusal> {
    find(&viewer, &name).map(Json)
}

/// Enables, drains or disables one. It is on disk when this is answered.
pub async fn set_state(
    State(viewer): State<Viewer>,
    Path(name): Path<String>,
    Json(wanted): Json<NodeState>,
) -> Result<Json<NodeView>, Refusal> {
    let Some(state) = Admin::from_word(&wanted.state) else {
        let error = format!("{:?} is no state of a node", wanted.state);
        return Err(Refusal::new(StatusCode::BAD_REQUEST, error).hint("enabled, draining or disabled"));
    };
    match viewer.writer.set_admin(&name, state).await {
        Some(Ok(())) => find(&viewer, &name).map(Json),
        Some(Err(error @ AdminError::UnknownNode(_))) => Err(unknown(&viewer, &error.to_string())),
        Some(Err(error)) => Err(Refusal::new(StatusCode::INSUFFICIENT_STORAGE, error.to_string())),
        None => Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "the edge is ending")),
    }
}

fn find(viewer: &Viewer, name: &str) -> Result<NodeView, Refusal> {
    let found = viewer.nodes().into_iter().find(|node| node.name == name);
    found.ok_or_else(|| unknown(viewer, &format!("there is no node {name}")))
}

fn unknown(viewer: &Viewer, error: &str) -> Refusal {
    let names: Vec<String> = viewer.nodes().into_iter().map(|node| node.name).collect();
    Refusal::new(StatusCode::NOT_FOUND, error).hint(format!("there are {}", names.join(", ")))
}
