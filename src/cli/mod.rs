//! The commands. Start reading here.
//!
//! `run` is the edge itself; `check`, `diff`, `init`, `schema` and `asterisk-config` work on the file; everything else asks a
//! running edge over its API.

pub mod asterisk;
pub mod client;
pub mod events;
pub mod exit;
pub mod files;
pub mod operate;
pub mod run;
pub mod show;

use std::path::{Path, PathBuf};

use clap::{Parser, Subcommand};

use exit::Exit;

/// The SIP edge of an Asterisk farm.
///
/// Spreads calls over the nodes by weighted least-calls, keeps every message of a call on its node, notices dead nodes,
/// and is reloaded and drained without losing a call.
#[derive(Debug, Parser)]
#[command(name = "cordboard", version, about, after_help = exit::TABLE, max_term_width = 100)]
pub struct Cli {
    /// The configuration file, which also says where the API of the running edge is: dispatcher.yaml in this folder, or
    /// else /etc/cordboard/dispatcher.yaml.
    #[arg(long, short, global = true, env = "CORDBOARD_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where the running edge's API is, instead of what the file says.
    #[arg(long, global = true, env = "CORDBOARD_API", value_name = "URL")]
    api: Option<String>,
    /// The API's token, instead of what the file says.
    #[arg(long, global = true, env = "CORDBOARD_TOKEN", value_name = "TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// Print JSON instead of text.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the edge.
    Run,
    /// Check a configuration file: every problem at once, and what the file means.
    Check {
        /// The file; the one of --config if not given.
        file: Option<PathBuf>,
    },
    /// Show what a file would change: in the running edge, or against another file.
    Diff {
        /// The new file; the one of --config if not given.
        file: Option<PathBuf>,
        /// Compare with this file instead of asking the running edge.
        #[arg(long, value_name = "FILE")]
        against: Option<PathBuf>,
    },
    /// Write a new, commented configuration file.
    Init(files::InitArgs),
    /// Print the JSON schema of the configuration file, for editors.
    Schema,
    /// The edge at a glance.
    Status {
        /// Print again every second until interrupted.
        #[arg(long, short)]
        watch: bool,
    },
    /// All nodes and gateways.
    Nodes,
    /// Take a node out of service: no new calls, those that are up go on.
    Drain {
        /// The node.
        node: String,
        /// Wait until its last call has ended, and show how many are left.
        #[arg(long, short)]
        wait: bool,
        /// Give up waiting after so long, for example 30m.
        #[arg(long, value_name = "DURATION", requires = "wait", value_parser = humantime::parse_duration)]
        timeout: Option<std::time::Duration>,
    },
    /// Put a node back into service.
    Enable {
        /// The node.
        node: String,
    },
    /// Take a node out of service and do not probe it either; calls that are up go on.
    Disable {
        /// The node.
        node: String,
    },
    /// Calls that are up or being set up.
    Calls {
        /// Of this node only.
        #[arg(long)]
        node: Option<String>,
        /// So many at most.
        #[arg(long, default_value_t = 100)]
        limit: usize,
    },
    /// Why a call went where it went: candidates, counts, tries, reasons.
    Explain {
        /// The call's Call-ID.
        call_id: String,
    },
    /// All users and what they are doing, or one of them and what he did last.
    Agents {
        /// One user.
        user: Option<String>,
        /// So many at most.
        #[arg(long, default_value_t = 1_000)]
        limit: usize,
    },
    /// Let queues call an agent again, and end his wrap-up.
    Ready {
        /// The user.
        user: String,
    },
    /// Keep queues from calling an agent; his calls go on, and people may still call him.
    NotReady {
        /// The user.
        user: String,
        /// Why, for supervisors.
        reason: Option<String>,
    },
    /// Users who are registered, and where their phones are.
    Registrations {
        /// So many at most.
        #[arg(long, default_value_t = 1_000)]
        limit: usize,
    },
    /// Where one user's phones are; exit code 1 when he is registered nowhere.
    Locate {
        /// The user.
        user: String,
    },
    /// What happens, line by line, until interrupted.
    Events {
        /// Only these, with commas between them: agent, call, registration, node.
        #[arg(long, value_name = "KINDS")]
        kind: Option<String>,
    },
    /// Have the running edge load its file again.
    Reload,
    /// Exit with 0 when the running edge takes calls; for containers and keepalived.
    Healthcheck,
    /// Print the files that a stock Asterisk node needs to stand behind the edge.
    AsteriskConfig(asterisk::AsteriskArgs),
}

/// The configuration file in the folder that a command is given in.
const HERE: &str = "dispatcher.yaml";

/// The configuration file of an edge that was installed as a package.
const INSTALLED: &str = "/etc/cordboard/dispatcher.yaml";

/// The file to read when none was named. Where neither is there, the one in this folder is missed.
fn usual_file(is_there: impl Fn(&Path) -> bool) -> PathBuf {
    let (here, installed) = (Path::new(HERE), Path::new(INSTALLED));
    if !is_there(here) && is_there(installed) { installed.into() } else { here.into() }
}

/// Runs the command that was given and returns the exit code.
pub fn main() -> Exit {
    let cli = Cli::parse();
    let config = cli.config.clone().unwrap_or_else(|| usual_file(Path::exists));
    let client = || client::Client::find(&config, cli.api.as_deref(), cli.token.as_deref());
    let json = cli.json;
    let result = match &cli.command {
        Command::Run => run::run(&config),
        Command::Check { file } => files::check(file.as_ref().unwrap_or(&config), json),
        Command::Diff { file, against } => {
            files::diff(file.as_ref().unwrap_or(&config), against.as_deref(), client, json)
        }
        Command::Init(args) => files::init(args, cli.config.as_deref().unwrap_or(Path::new(HERE))),
        Command::Schema => files::schema(),
        Command::Status { watch } => client().and_then(|client| operate::status(&client, *watch, json)),
        Command::Nodes => client().and_then(|client| operate::nodes(&client, json)),
        Command::Drain { node, wait, timeout } => {
            client().and_then(|client| operate::drain(&client, node, *wait, *timeout, json))
        }
        Command::Enable { node } => client().and_then(|client| operate::set(&client, node, "enabled", json)),
        Command::Disable { node } => client().and_then(|client| operate::set(&client, node, "disabled", json)),
        Command::Calls { node, limit } => {
            client().and_then(|client| operate::calls(&client, node.as_deref(), *limit, json))
        }
        Command::Explain { call_id } => client().and_then(|client| operate::explain(&client, call_id, json)),
        Command::Agents { user: Some(user), .. } => client().and_then(|client| operate::agent(&client, user, json)),
        Command::Agents { user: None, limit } => client().and_then(|client| operate::agents(&client, *limit, json)),
        Command::Ready { user } => client().and_then(|client| operate::set_agent(&client, user, "ready", None, json)),
        Command::NotReady { user, reason } => {
            client().and_then(|client| operate::set_agent(&client, user, "not_ready", reason.as_deref(), json))
        }
        Command::Registrations { limit } => client().and_then(|client| operate::registrations(&client, *limit, json)),
        Command::Locate { user } => client().and_then(|client| operate::locate(&client, user, json)),
        Command::Events { kind } => client().and_then(|client| events::follow(&client, kind.as_deref(), json)),
        Command::Reload => client().and_then(|client| operate::reload(&client, json)),
        Command::Healthcheck => client().and_then(|client| operate::healthcheck(&client)),
        Command::AsteriskConfig(args) => asterisk::print(args, &config),
    };
    match result {
        Ok(exit) => exit,
        Err(failure) => failure.report(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }

    #[test]
    fn the_file_in_this_folder_goes_before_the_installed_one() {
        let found = |there: &[&str]| usual_file(|path| there.iter().any(|name| path == Path::new(name)));
        assert_eq!(found(&[HERE, INSTALLED]), Path::new(HERE));
        assert_eq!(found(&[INSTALLED]), Path::new(INSTALLED));
        assert_eq!(found(&[]), Path::new(HERE));
    }
}
