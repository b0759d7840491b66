//! The text of a new `dispatcher.yaml`.

use super::DEFAULT_FILE;

/// What is known of a farm when its file is begun.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewFile {
    /// Name of the edge; empty for the default.
    pub edge: String,
    /// Where it listens, such as `udp://192.0.2.1:5060`; none for the default.
    pub listen: Vec<String>,
    /// The nodes, each as `NAME=URI` or only a URI. `sip:` may be left out; without a name they are ast-1, ast-2, ...
    pub nodes: Vec<String>,
    /// The gateways, each as `NAME=URI` or only a URI. `sip:` may be left out; without a name they are gateway-1,
    /// gateway-2, ...
    pub gateways: Vec<String>,
}

/// The line behind which the default file is at its defaults.
const REST: &str = "# Everything below is at its default.";

/// A commented file. What was given is not checked here: the file is checked as any other.
pub fn new_file(given: &NewFile) -> String {
    let edge = if given.edge.is_empty() { "edge-1" } else { &given.edge };
    let listen = if given.listen.is_empty() {
        vec!["udp://127.0.0.10:5060".to_owned(), "tcp://127.0.0.10:5060".to_owned()]
    } else {
        given.listen.clone()
    };
    let mut text = format!(
        "# dispatcher.yaml: the configuration of a Cordboard edge.\n\
         # `cordboard check` tells every problem of this file; a running edge reads it again when it changes.\n\
         \n\
         edge:\n  name: {}\n  \
         # Several edges of one farm share a secret: text, ${{NAME}} or file:/path.\n  \
         #secret: \"${{CORDBOARD_SECRET}}\"\n\
         \n\
         # Where gateways and nodes reach the edge.\n\
         listen:\n",
        quoted(edge)
    );
    for uri in &listen {
        text += &format!("  - {}\n", quoted(uri));
    }
    text += "\n# Who sends calls from outside, and who takes calls to the outside.\n";
    text += &section("gateways:", &things(&given.gateways, "gateway"), "  ", " []");
    text += "\n# The Asterisk nodes. A node is known by its name; all else may change without losing a call.\n";
    text += "pools:\n  inbound:\n";
    text += &section("    nodes:", &things(&given.nodes, "ast"), "      ", " []");
    text + "\n" + rest()
}

/// The part of the default file that is at its defaults.
fn rest() -> &'static str {
    DEFAULT_FILE.find(REST).map_or("", |start| &DEFAULT_FILE[start..])
}

fn section(head: &str, items: &[String], indent: &str, empty: &str) -> String {
    if items.is_empty() {
        return format!("{head}{empty}\n");
    }
    items.iter().fold(format!("{head}\n"), |text, item| text + &format!("{indent}- {item}\n"))
}

/// Nodes or gateways as flow mappings.
fn things(given: &[String], word: &str) -> Vec<String> {
    let thing = |(position, text): (usize, &String)| {
        let (name, uri) = match text.split_once('=') {
            // A URI has a `=` only in its parameters.
            Some((name, uri)) if !name.contains([':', ';']) => (name.to_owned(), uri),
            _ => (format!("{word}-{}", position + 1), text.as_str()),
        };
        let uri = if uri.to_ascii_lowercase().starts_with("sip:") { uri.to_owned() } else { format!("sip:{uri}") };
        format!("{{ name: {}, uri: {} }}", quoted(&name), quoted(&uri))
    };
    given.iter().enumerate().map(thing).collect()
}

/// Text as a YAML scalar: as it is where nothing in it means anything to YAML, else in double quotes.
fn quoted(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
    let is_word = text.bytes().next().is_some_and(|b| b.is_ascii_alphabetic()) && text.bytes().all(plain);
    if is_word {
        return text.to_owned();
    }
    // JSON's strings are YAML's double-quoted ones.
    serde_json::to_string(text).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::config::check;

    fn file(nodes: &[&str], gateways: &[&str]) -> String {
        let texts = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect();
        let listen = texts(&["udp://192.0.2.1:5060", "tcp://192.0.2.1:5060"]);
        new_file(&NewFile { edge: "north".into(), listen, nodes: texts(nodes), gateways: texts(gateways) })
    }

    #[test]
    fn a_new_file_passes_the_check() {
        let text = file(&["192.0.2.11", "big=sip:ast.example.com;transport=tcp"], &["pri-1=192.0.2.2:5070"]);
        let config = check(&text, &BTreeMap::new()).unwrap().config;
        assert_eq!(config.edge.name, "north");
        let nodes: Vec<String> = config.nodes.iter().map(|node| format!("{} {}", node.name, node.uri)).collect();
        assert_eq!(nodes, ["ast-1 sip:192.0.2.11", "big sip:ast.example.com;transport=tcp"]);
        assert_eq!(config.gateways[0].uri.as_ref().unwrap().to_string(), "sip:192.0.2.2:5070");
        assert_eq!(config.routes.len(), 2);
    }

    #[test]
    fn a_new_file_shows_every_section() {
        let text = file(&["192.0.2.11"], &[]);
        for section in ["health:", "failover:", "calls:", "limits:", "security:", "dns:", "stop:", "api:", "log:"] {
            assert!(text.contains(&format!("\n{section}")), "{section}");
        }
    }

    #[test]
    fn strange_texts_stay_texts_and_are_told_by_the_check() {
        let text = file(&["a\"]: {x\n- y", "true", ""], &["#=&x"]);
        let problems = check(&text, &BTreeMap::new()).unwrap_err();
        assert!(problems.0.iter().all(|problem| !problem.what.starts_with("not YAML")), "{problems}");
        let without_nodes = check(&file(&[], &[]), &BTreeMap::new()).unwrap_err();
        assert_eq!(without_nodes.0[0].what, "a pool without nodes takes no calls");
    }
}
