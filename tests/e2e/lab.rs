//! Real Asterisk nodes, by `asterisk-lab/lab`.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::edge::CORDBOARD;
use crate::process::{Output, repository, run};

/// The lab's exit code when no Asterisk is here.
const CANNOT: i32 = 3;

/// The nodes of a farm. They end with this, and when the test's process is killed.
pub struct Lab {
    run: PathBuf,
    base: String,
    keeper: Child,
}

impl Lab {
    /// Starts so many nodes for a configuration.
    pub fn up(folder: &Path, base: &str, config: &Path, nodes: usize) -> Self {
        let run = folder.join("lab");
        let lab = Lab { keeper: keeper(&run), run, base: base.to_owned() };
        let output = lab.command(&["up", "--config", config.to_str().unwrap(), "--nodes", &nodes.to_string()]);
        assert_ne!(output.code, CANNOT, "no Asterisk is here: run tests/install\n{}", output.stderr);
        assert_eq!(output.code, 0, "asterisk-lab/lab up: {}{}", output.stdout, output.stderr);
        lab
    }

    /// Runs a command of the lab.
    pub fn command(&self, words: &[&str]) -> Output {
        run(&mut self.prepared(words))
    }

    /// Starts a command of the lab that ends by itself.
    pub fn start_command(&self, words: &[&str]) -> Child {
        let mut command = self.prepared(words);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    }

    fn prepared(&self, words: &[&str]) -> Command {
        let mut command = Command::new(repository("asterisk-lab/lab"));
        command.args(["--run", self.run.to_str().unwrap(), "--base", &self.base]).args(words);
        command.env("CORDBOARD", CORDBOARD);
        command
    }

    /// The same; it has to succeed.
    pub fn does(&self, words: &[&str]) -> String {
        let output = self.command(words);
        assert_eq!(output.code, 0, "lab {words:?}: {}{}", output.stdout, output.stderr);
        output.stdout.trim().to_owned()
    }

    /// Active channels of a node.
    pub fn channels(&self, node: &str) -> u32 {
        self.does(&["calls", node]).parse().unwrap()
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        let _ = self.keeper.wait();
    }
}

/// Asterisk outlives the script that starts it. This process waits for the end of its input, which comes with the end
/// of the test however that ends, and takes the lab down.
fn keeper(run: &Path) -> Child {
    let script = r#"cat >/dev/null; exec "$0" --run "$1" down"#;
    let mut command = Command::new("sh");
    command.args(["-c", script]).arg(repository("asterisk-lab/lab")).arg(run).process_group(0);
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}
