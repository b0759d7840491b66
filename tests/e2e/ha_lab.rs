//! Two edges with one address, as `make lab-ha` shows them, with fewer calls. In network namespaces of its own; where they may not be made it
//! says so and ends.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use crate::edge::CORDBOARD;
use crate::process::{need, repository};

/// The lab's exit code where it cannot be shown.
const CANNOT: i32 = 3;

#[test]
fn the_edge_with_the_address_is_killed_and_no_call_that_is_up_is_lost() {
    ["ip", "keepalived", "redis-server", "sipp"].iter().for_each(|program| need(program));
    let folder = tempfile::Builder::new().prefix("cb-ha-").tempdir_in("/tmp").unwrap();
    // The lab removes what it made when its input ends, which comes with the end of the test however that ends.
    let script = r#"exec 3<&0
"$0" </dev/null & lab=$!
(cat <&3; kill -TERM $lab) >/dev/null 2>&1 & watch=$!
wait $lab; code=$?
kill $watch 2>/dev/null
exit $code"#;
    let mut lab = Command::new("bash");
    lab.args(["-c", script]).arg(repository("asterisk-lab/ha")).env("CORDBOARD", CORDBOARD).process_group(0);
    lab.env("CORDBOARD_LAB_HA_RUN", folder.path().join("run")).envs([("RATE", "10"), ("SECS", "14"), ("UP", "20")]);
    let mut lab = lab.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let input = lab.stdin.take();
    let output = lab.wait_with_output().unwrap();
    drop(input);
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    if output.status.code() == Some(CANNOT) {
        let _ = writeln!(std::io::stderr(), "SKIPPED: {}", said.lines().last().unwrap_or_default());
        return;
    }
    assert!(output.status.success(), "{said}");
    println!("{said}");
    assert!(said.contains("20 calls that stayed: 0 lost"), "{said}");
}
