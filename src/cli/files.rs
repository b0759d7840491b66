//! Commands that work on configuration files.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use crate::api::config::DiffView;
use crate::config::init::{NewFile, new_file};
use crate::config::{self, Checked, Config, SystemEnvironment};

use super::client::{Client, parse};
use super::exit::{CommandResult, Exit, Failure};

/// What a new file is made of.
#[derive(Debug, Args)]
pub struct InitArgs {
    /// Name of the edge.
    #[arg(long, value_name = "NAME", default_value = "edge-1")]
    edge: String,
    /// Where it listens, for example udp://192.0.2.1:5060; may be given several times.
    #[arg(long, value_name = "URI")]
    listen: Vec<String>,
    /// A node, for example ast-1=sip:192.0.2.11:5060; may be given several times.
    #[arg(long, value_name = "[NAME=]URI")]
    node: Vec<String>,
    /// A gateway, for example pri-1=sip:192.0.2.2:5060; may be given several times.
    #[arg(long, value_name = "[NAME=]URI")]
    gateway: Vec<String>,
    /// Print it instead of writing --config.
    #[arg(long)]
    stdout: bool,
}

/// Reads and checks a file; all of its problems are the failure.
pub fn load(file: &Path) -> Result<Checked, Failure> {
    let text = read(file)?;
    config::check(&text, &SystemEnvironment).map_err(|problems| {
        let shown = problems.shown(&file.display().to_string()).to_string();
        let count = problems.0.len();
        let word = if count == 1 { "problem" } else { "problems" };
        Failure::new(Exit::BadConfig, format!("{count} {word} in {}\n{shown}", file.display()))
    })
}

fn read(file: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(file).map_err(|error| {
        Failure::new(Exit::BadConfig, format!("{}: {error}", file.display()))
            .hint("--config names another file; `cordboard init` writes a new one")
    })
}

/// `check`
pub fn check(file: &Path, json: bool) -> CommandResult {
    let text = read(file)?;
    let name = file.display().to_string();
    match config::check(&text, &SystemEnvironment) {
        Ok(checked) if json => {
            println!(
                "{}",
                json!({ "ok": true, "generation": checked.config.generation().to_string(), "warnings": checked.warnings })
            );
            Ok(Exit::Done)
        }
        Ok(checked) => {
            for warning in &checked.warnings {
                println!("warning: {}", warning.shown(&name));
            }
            print!("{}", summary(&checked.config));
            Ok(Exit::Done)
        }
        Err(problems) => {
            if json {
                println!("{}", json!({ "ok": false, "problems": problems.0 }));
            } else {
                print!("{}", problems.shown(&name));
                println!("{} in {name}", count(problems.0.len(), "problem"));
            }
            Ok(Exit::BadConfig)
        }
    }
}

/// What a file means, in a few lines.
fn summary(config: &Config) -> String {
    let names = |list: Vec<&str>| if list.is_empty() { "none".to_owned() } else { list.join(", ") };
    let mut text = format!("ok: {}, generation {}\n", config.edge.name, config.generation());
    for pool in &config.pools {
        let total: u32 = pool.members.iter().map(|member| member.weight.get()).sum();
        let share = |member: &crate::config::checked::MemberConfig| {
            format!("{} {:.0}%", member.node, f64::from(member.weight.get()) * 100.0 / f64::from(total.max(1)))
        };
        let shares: Vec<String> = pool.members.iter().map(share).collect();
        text += &format!("pool {}: {}, {}\n", pool.name, pool.algorithm.as_str(), shares.join(", "));
    }
    text += &format!("gateways: {}\n", names(config.gateways.iter().map(|gateway| gateway.name.as_str()).collect()));
    if let Some(registrar) = &config.registrar {
        let users =
            registrar.auth.as_ref().map_or_else(|| "everybody".to_owned(), |auth| count(auth.users.len(), "user"));
        text += &format!("registrar: {users}, {}\n", count(registrar.contacts.len(), "permanent contact"));
    }
    let health = &config.health;
    text += &format!(
        "a dead node is noticed after {:?} at the latest: the next probe after up to {:?}, then {} time-outs of {:?}\n",
        health.detection_max(),
        health.detection_max() - health.timeout * health.fall,
        health.fall,
        health.timeout
    );
    let failover = &config.calls.failover;
    text + &format!(
        "a call is offered to {} nodes at most, the next one after {:?} of silence, within {:?}\n",
        failover.tries_max, failover.no_response, failover.budget
    )
}

fn count(number: usize, word: &str) -> String {
    format!("{number} {word}{}", if number == 1 { "" } else { "s" })
}

/// `diff`
pub fn diff(
    file: &Path,
    against: Option<&Path>,
    client: impl FnOnce() -> Result<Client, Failure>,
    json: bool,
) -> CommandResult {
    let view = match against {
        Some(old) => {
            let (old, new) = (load(old)?, load(file)?);
            DiffView {
                changes: config::diff(&old.config, &new.config).iter().map(ToString::to_string).collect(),
                problems: vec![],
                warnings: new.warnings.iter().map(ToString::to_string).collect(),
            }
        }
        None => {
            let text = read(file)?;
            let (code, answer) = client()?.send("POST", "/api/v1/config/diff", "application/yaml", &text)?;
            parse::<DiffView>(code, &answer)?
        }
    };
    if json {
        println!("{}", serde_json::to_string_pretty(&view).unwrap_or_default());
    } else {
        view.problems.iter().chain(&view.changes).for_each(|line| println!("{line}"));
        if view.problems.is_empty() && view.changes.is_empty() {
            println!("no change");
        }
    }
    Ok(if view.problems.is_empty() { Exit::Done } else { Exit::BadConfig })
}

/// `init`
pub fn init(args: &InitArgs, file: &Path) -> CommandResult {
    let given = NewFile {
        edge: args.edge.clone(),
        listen: args.listen.clone(),
        nodes: args.node.clone(),
        gateways: args.gateway.clone(),
    };
    let text = new_file(&given);
    if args.stdout {
        print!("{text}");
        return Ok(Exit::Done);
    }
    let path = PathBuf::from(file);
    let mut options = std::fs::OpenOptions::new();
    let written = options.write(true).create_new(true).open(&path).and_then(|mut file| {
        use std::io::Write;
        file.write_all(text.as_bytes())
    });
    written.map_err(|error| {
        Failure::new(Exit::Failed, format!("{}: {error}", path.display()))
            .hint("--config names another file; --stdout prints it")
    })?;
    println!("wrote {}", path.display());
    check(&path, false)
}

/// `schema`
pub fn schema() -> CommandResult {
    println!("{}", config::schema());
    Ok(Exit::Done)
}
