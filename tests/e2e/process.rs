//! Child processes that never outlive their test, and waiting for things.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How often a condition is looked at again.
const AGAIN: Duration = Duration::from_millis(20);

/// Waits until something is so, and fails with its sentence when it does not become so in time.
pub fn until(sentence: &str, within: Duration, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < within, "not within {within:?}: {sentence}");
        std::thread::sleep(AGAIN);
    }
}

/// Seconds.
pub fn secs(number: u64) -> Duration {
    Duration::from_secs(number)
}

/// Fails with advice when a program is not installed.
pub fn need(program: &str) {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let is_here = std::env::split_paths(&path).any(|folder| folder.join(program).is_file());
    assert!(is_here, "{program} is not installed: run tests/install");
}

/// A child process. It is killed when this is dropped, and by the kernel when the test's process is.
pub struct Process {
    name: String,
    child: Child,
    code: Option<i32>,
}

impl Process {
    /// Starts a program in a folder; what it prints goes to `NAME.log` there.
    ///
    /// The kernel kills it with the *thread* that calls this, so that has to be the test's own.
    pub fn start(name: &str, program: &str, arguments: &[String], folder: &Path) -> Self {
        let log = File::options().create(true).append(true).open(folder.join(format!("{name}.log"))).unwrap();
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--", program]).args(arguments).current_dir(folder);
        for variable in ["CORDBOARD_CONFIG", "CORDBOARD_API", "CORDBOARD_TOKEN", "RUST_LOG"] {
            command.env_remove(variable);
        }
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        let child = command.spawn().unwrap_or_else(|error| panic!("setpriv (util-linux): {error}"));
        Process { name: name.to_owned(), child, code: None }
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal, by its name.
    pub fn signal(&self, signal: &str) {
        assert!(self.code.is_none(), "{} has ended already", self.name);
        signal_pid(self.pid(), signal);
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        if self.code.is_none() {
            self.code = self.child.try_wait().unwrap().map(|status| status.code().unwrap_or(-1));
        }
        self.code.is_none()
    }

    /// Waits for its end and returns its exit code, -1 when a signal ended it.
    pub fn wait(&mut self, within: Duration) -> i32 {
        let sentence = format!("{} has ended", self.name);
        until(&sentence, within, || !self.is_running());
        self.code.unwrap()
    }

    /// Sends a signal and waits for the end; `None` when it does not come in time, and then it is killed.
    pub fn end_or_kill(&mut self, signal: &str, within: Duration) -> Option<i32> {
        if self.is_running() {
            self.signal(signal);
        }
        let began = Instant::now();
        while self.is_running() && began.elapsed() < within {
            std::thread::sleep(AGAIN);
        }
        if self.is_running() {
            self.signal("KILL");
            self.wait(within);
            return None;
        }
        self.code
    }

    /// Sends a signal and waits for the end. Whoever is killed while a busy disk writes for him ends when that is written.
    pub fn end(&mut self, signal: &str, within: Duration) -> i32 {
        if self.is_running() {
            self.signal(signal);
        }
        self.wait(if signal == "KILL" { within.max(secs(30)) } else { within })
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.is_running() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// Sends a signal by its name.
pub fn signal_pid(pid: u32, signal: &str) {
    let script = format!("kill -{signal} {pid}");
    assert!(Command::new("sh").args(["-c", &script]).status().unwrap().success(), "{script}");
}

/// What a command printed, and its exit code.
#[derive(Debug)]
pub struct Output {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

/// Runs a command to its end.
pub fn run(command: &mut Command) -> Output {
    let output = command.stdin(Stdio::null()).output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    Output {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// A path inside the repository.
pub fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}
