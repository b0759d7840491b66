//! The description of the API (OpenAPI 3.1), made from the list of routes and the types of the answers.

use axum::Json;
use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use crate::edge::events::News;
use crate::edge::located::{AgentView, ChangeView, ReservedView};
use crate::edge::view::{CallView, ConfigView, ExplainView, NodeView, StatusView};

use super::config::{DiffView, ReloadView};
use super::nodes::NodeState;
use super::registrations::{AgentState, AgentWanted};
use super::reply::Problem;
use super::routes::{self, Route};

/// The description.
pub async fn document() -> Json<Value> {
    Json(describe())
}

/// The description as a value.
pub fn describe() -> Value {
    let mut paths = Map::new();
    for route in routes::all() {
        let path = paths.entry(route.path).or_insert_with(|| json!({}));
        path[route.method] = operation(&route);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Cordboard",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "The SIP edge of an Asterisk farm.",
        },
        "paths": paths,
        "components": {
            "schemas": schemas(),
            "securitySchemes": {
                "token": { "type": "http", "scheme": "bearer" },
                "password": { "type": "http", "scheme": "basic", "description": "The token as password, for nodes." },
            },
        },
    })
}

fn operation(route: &Route) -> Value {
    let content = match route.answer {
        None => json!({ "text/plain": { "schema": { "type": "string" } } }),
        Some(name) if route.path == "/api/v1/events" => json!({ "text/event-stream": { "schema": reference(name) } }),
        Some(name) => json!({ "application/json": { "schema": reference(name) } }),
    };
    let names = route.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    let mut parameters: Vec<Value> = names
        .map(|name| json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } }))
        .collect();
    if route.path == "/api/v1/calls" {
        parameters.push(json!({ "name": "node", "in": "query", "schema": { "type": "string" } }));
        parameters.push(json!({ "name": "limit", "in": "query", "schema": { "type": "integer", "minimum": 0 } }));
    }
    if matches!(route.path, "/api/v1/registrations" | "/api/v1/agents") {
        parameters.push(json!({ "name": "limit", "in": "query", "schema": { "type": "integer", "minimum": 0 } }));
    }
    if route.path == "/api/v1/events" {
        parameters.push(json!({ "name": "kind", "in": "query", "schema": { "type": "string" } }));
    }
    let problem = json!({ "application/json": { "schema": reference("Problem") } });
    let mut operation = json!({
        "summary": route.summary,
        "parameters": parameters,
        "responses": {
            "200": { "description": "Done.", "content": content },
            "default": { "description": "What is wrong.", "content": problem },
        },
    });
    if route.needs_token {
        let mut ways = vec![json!({ "token": [] })];
        ways.extend(routes::is_for_nodes(route.path).then(|| json!({ "password": [] })));
        operation["security"] = json!(ways);
    }
    match route.path {
        "/api/v1/nodes/{name}/state" => {
            let schema = json!({ "application/json": { "schema": reference("NodeState") } });
            operation["requestBody"] = json!({ "required": true, "content": schema });
        }
        "/api/v1/agents/{user}/state" => {
            let schema = json!({ "application/json": { "schema": reference("AgentState") } });
            operation["requestBody"] = json!({ "required": true, "content": schema });
        }
        "/api/v1/agents/reserve" => {
            let schema = json!({ "application/json": { "schema": reference("AgentWanted") } });
            operation["requestBody"] = json!({ "required": true, "content": schema });
        }
        "/api/v1/agents/reserve/dial" => {
            let text = json!({ "type": "string" });
            let properties = json!({ "skills": text, "queue": text, "hold_secs": { "type": "integer" } });
            let schema = json!({ "schema": { "type": "object", "properties": properties } });
            operation["requestBody"] = json!({ "content": { "application/x-www-form-urlencoded": schema } });
        }
        "/rt/{table}/{operation}" => {
            let properties = json!({ "name": { "type": "string" } });
            let schema = json!({ "schema": { "type": "object", "properties": properties } });
            operation["requestBody"] = json!({ "content": { "application/x-www-form-urlencoded": schema } });
            operation["responses"]["default"] = json!({ "description": "No answer, and no body." });
        }
        "/api/v1/config/diff" => {
            let schema = json!({ "application/yaml": { "schema": { "type": "string" } } });
            operation["requestBody"] = json!({ "required": true, "content": schema });
        }
        _ => {}
    }
    operation
}

/// `Name` or, for a list, `Name[]`.
fn reference(name: &str) -> Value {
    match name.strip_suffix("[]") {
        Some(item) => json!({ "type": "array", "items": reference(item) }),
        None => json!({ "$ref": format!("#/components/schemas/{name}") }),
    }
}

fn schemas() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|s| s.definitions_path = "/components/schemas".into());
    let mut generator = SchemaGenerator::new(settings);
    generator.subschema_for::<StatusView>();
    generator.subschema_for::<NodeView>();
    generator.subschema_for::<CallView>();
    generator.subschema_for::<AgentView>();
    generator.subschema_for::<ChangeView>();
    generator.subschema_for::<ReservedView>();
    generator.subschema_for::<ExplainView>();
    generator.subschema_for::<News>();
    generator.subschema_for::<ConfigView>();
    generator.subschema_for::<ReloadView>();
    generator.subschema_for::<DiffView>();
    generator.subschema_for::<NodeState>();
    generator.subschema_for::<AgentState>();
    generator.subschema_for::<AgentWanted>();
    generator.subschema_for::<Problem>();
    Value::Object(generator.take_definitions(true))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_answer_that_is_named_is_described() {
        let document = describe();
        let schemas = document["components"]["schemas"].as_object().unwrap();
        for route in routes::all() {
            let Some(name) = route.answer else { continue };
            let name = name.trim_end_matches("[]");
            assert!(schemas.contains_key(name), "{name} of {}", route.path);
        }
        assert!(document["paths"]["/api/v1/nodes/{name}/state"]["put"]["requestBody"].is_object());
    }
}
