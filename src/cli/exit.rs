//! Exit codes, and failures with advice.

use std::process::{ExitCode, Termination};

/// Printed at the end of `--help`.
pub const TABLE: &str = "\
Exit codes:
  0  done
  1  not done: the edge or the machine said no; the message says why
  2  the command line is wrong
  3  the configuration is wrong
  4  the edge could not start: an address in use, a store that cannot be written
  5  no edge answers at the API's address
  6  the edge does not take calls (healthcheck), or --timeout ran out (drain)";

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Done.
    Done = 0,
    /// Not done.
    Failed = 1,
    /// The configuration is wrong.
    BadConfig = 3,
    /// The edge could not start.
    NoStart = 4,
    /// No edge answers.
    NoEdge = 5,
    /// The edge does not take calls, or waiting was given up.
    NotReady = 6,
}

impl Termination for Exit {
    fn report(self) -> ExitCode {
        ExitCode::from(self as u8)
    }
}

/// Why a command did not do what it should.
#[derive(Debug)]
pub struct Failure {
    exit: Exit,
    message: String,
    hint: Option<String>,
}

impl Failure {
    /// A failure with its exit code.
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Failure { exit, message: message.into(), hint: None }
    }

    /// The same with advice.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Prints it and returns the exit code.
    pub fn report(&self) -> Exit {
        eprintln!("cordboard: {}", self.message);
        if let Some(hint) = &self.hint {
            eprintln!("  hint: {hint}");
        }
        self.exit
    }
}

/// What commands return.
pub type CommandResult = Result<Exit, Failure>;
