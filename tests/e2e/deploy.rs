//! What stands in `deploy/`, by the programs that will read it.

use std::process::Command;

use crate::process::repository;

/// What `tests/install` has all programs for. The address that moves (`failover`) is left out: it goes by seconds, which a
/// machine full of tests does not keep.
const RUN: [&str; 6] = ["unit", "configurations", "prometheus", "grafana", "keepalived", "package"];

#[test]
fn what_an_operator_gets_is_accepted_by_the_programs_that_read_it() {
    let mut check = Command::new(repository("deploy/check"));
    let output = check.args(RUN).env("CORDBOARD", env!("CARGO_BIN_EXE_cordboard")).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    for part in RUN {
        let ran = said.lines().any(|line| line.starts_with("ran ") && line.split_whitespace().nth(1) == Some(part));
        let checked = part == "package" && said.lines().any(|line| line.starts_with("checked") && line.contains(part));
        assert!(ran || checked, "{part} was not run:\n{said}");
    }
}
