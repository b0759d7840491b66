//! `cordboard asterisk-config`

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use clap::Args;

use crate::asterisk::node_files::{Folders, NodeFile, node_files};

use super::exit::{CommandResult, Exit, Failure};
use super::files::load;

/// What the files are for, and where they go.
#[derive(Debug, Args)]
pub struct AsteriskArgs {
    /// The node, by its name in the configuration.
    node: String,
    /// Write the files into this folder instead of printing them. Files that are there are not overwritten.
    #[arg(long, short, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Overwrite files that are there.
    #[arg(long, requires = "out")]
    force: bool,
    /// The address that the node binds, when the configuration knows it by a name.
    #[arg(long, value_name = "IP")]
    address: Option<IpAddr>,
}

/// Prints or writes the files of a node.
pub fn print(args: &AsteriskArgs, file: &Path) -> CommandResult {
    let config = load(file)?.config;
    let files = node_files(&config, &args.node, args.address, &Folders::default())
        .map_err(|error| Failure::new(Exit::Failed, error.to_string()))?;
    match &args.out {
        None => files.iter().for_each(|file| println!("; ---- {}\n{}", file.name, file.text)),
        Some(folder) => write(folder, &files, args.force)?,
    }
    Ok(Exit::Done)
}

fn write(folder: &Path, files: &[NodeFile], force: bool) -> Result<(), Failure> {
    let failed =
        |path: &Path, error: std::io::Error| Failure::new(Exit::Failed, format!("{}: {error}", path.display()));
    std::fs::create_dir_all(folder).map_err(|error| failed(folder, error))?;
    if let Some(there) = files.iter().map(|file| folder.join(file.name)).find(|path| path.exists() && !force) {
        let message = format!("{} is there already; nothing was written", there.display());
        return Err(Failure::new(Exit::Failed, message).hint("--force overwrites it; --out names another folder"));
    }
    for file in files {
        let path = folder.join(file.name);
        std::fs::write(&path, &file.text).map_err(|error| failed(&path, error))?;
        eprintln!("wrote {}", path.display());
    }
    Ok(())
}
