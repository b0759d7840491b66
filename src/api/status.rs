//! The edge at a glance, for people, load balancers and Prometheus.

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, Uri, header};
use axum::response::IntoResponse;

use crate::edge::view::{StatusView, Viewer};

use super::reply::Refusal;

/// The content type of Prometheus' text format.
const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The process is alive: it answers.
pub async fn healthz() -> &'static str {
    "ok\n"
}

/// Whether the edge takes calls, and what is not as it should be.
pub async fn readyz(State(viewer): State<Viewer>) -> impl IntoResponse {
    let status = viewer.status();
    let code = if status.state == "stopping" { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
    let reasons: String = status.reasons.iter().map(|reason| format!("{reason}\n")).collect();
    (code, format!("{}\n{reasons}", status.state))
}

/// Numbers for Prometheus.
pub async fn metrics(State(viewer): State<Viewer>) -> impl IntoResponse {
    viewer.measure();
    ([(header::CONTENT_TYPE, PROMETHEUS)], viewer.engine.metrics.text())
}

/// The edge at a glance.
pub async fn status(State(viewer): State<Viewer>) -> Json<StatusView> {
    Json(viewer.status())
}

/// A path that is not served.
pub async fn unknown(uri: Uri) -> Refusal {
    Refusal::new(StatusCode::NOT_FOUND, format!("{} is not served", uri.path())).hint("see /api/v1/openapi.json")
}
