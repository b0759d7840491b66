//! `dispatcher.yaml`: from its text to a configuration that holds, or to everything that is wrong with it.
//!
//! Pure, but for [`reload`] and [`SystemEnvironment`]: text and environment go in, a [`Checked`] or [`ConfigProblems`]
//! come out. The way of a file, each step a module:
//!
//! - `tree`: YAML to texts, lists and mappings, each with its place
//! - `raw`: the keys that exist, with what may stand there; `words` and those beside it are the single values
//! - `decode`: the tree as those keys, past every mistake
//! - `checks`: what values have to do with each other
//! - [`checked`]: the [`Config`], which nobody has to check again
//!
//! Beside the way: [`problem`] (how a mistake is told), `secret` (text, variable or file), [`mod@diff`] (what changes
//! from one configuration to the next), [`build`] (the next farm), [`schema`](schema()) for editors, [`init`] for a
//! first file.

mod addresses;
pub mod build;
pub mod checked;
mod checks;
mod codes;
mod decode;
pub mod diff;
mod facts;
pub mod init;
mod keys;
mod names;
mod numbers;
mod place;
pub mod problem;
mod queue_options;
mod raw;
pub mod reload;
mod schema;
mod secret;
mod strip;
mod suggest;
mod tree;
mod words;

pub use checked::{Checked, Config};
pub use diff::{Change, diff};
pub use problem::{ConfigProblems, Problem};
pub use schema::schema;
pub use secret::{Environment, SystemEnvironment};

/// The commented file that an edge starts with when it is given no other.
pub const DEFAULT_FILE: &str = include_str!("../../dispatcher.yaml");

/// Checks a file. All problems are told at once, in the order of the file; warnings come with a valid configuration
/// only.
pub fn check(text: &str, environment: &dyn Environment) -> Result<Checked, ConfigProblems> {
    let refuse = |problems| ConfigProblems(problem::in_order(problems, text));
    let (mut tree, mut problems) = tree::parse(text).map_err(|problem| refuse(vec![problem]))?;
    let Some(raw) = decode::decode(&mut tree, &mut problems) else { return Err(refuse(problems)) };
    let checked = checks::check(&raw, &tree, environment, problems).map_err(refuse)?;
    Ok(Checked { warnings: problem::in_order(checked.warnings, text), ..checked })
}

#[cfg(test)]
mod default_file_tests;
#[cfg(test)]
mod mistakes_tests;
#[cfg(test)]
mod redis_tests;
#[cfg(test)]
mod robustness_tests;
#[cfg(test)]
mod users_tests;
