//! What is wrong with the file, said so that nobody has to search: place, path, complaint, and what would be right.

use std::fmt;

use serde::Serialize;

use super::place::{Path, Place};

/// Name of the file when nobody says another.
pub const FILE_NAME: &str = "dispatcher.yaml";

/// One problem, or one warning.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The file, where it is another one than that which was checked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<Box<str>>,
    /// The line, from 1.
    pub line: u32,
    /// The column in characters, from 1.
    pub column: u32,
    /// The way to the value, such as `pools.inbound.nodes[0].weight`; empty for the file as a whole.
    pub path: String,
    /// What is wrong.
    pub what: String,
    /// What would be right.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// The line of the file. None where it could show a secret.
    #[serde(skip)]
    pub source: Option<Box<str>>,
}

/// Everything that is wrong with a file, in the order of the file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(transparent)]
pub struct ConfigProblems(pub Vec<Problem>);

/// Problems with the name of the file they are about.
#[derive(Clone, Copy, Debug)]
pub struct Shown<'a> {
    file: &'a str,
    problems: &'a [Problem],
}

/// Characters of a source line that are shown. Longer lines are cut around the column.
const WIDTH_MAX: usize = 120;

impl Problem {
    /// A problem without a hint.
    pub fn new(place: Place, path: &Path, what: impl Into<String>) -> Self {
        let Place { line, column } = place;
        Problem { file: None, line, column, path: path.to_string(), what: what.into(), hint: None, source: None }
    }

    /// The problem as people read it, about a file of this name.
    pub fn shown<'a>(&'a self, file: &'a str) -> Shown<'a> {
        Shown { file, problems: std::slice::from_ref(self) }
    }
}

impl ConfigProblems {
    /// The problems as people read them, about a file of this name.
    pub fn shown<'a>(&'a self, file: &'a str) -> Shown<'a> {
        Shown { file, problems: &self.0 }
    }
}

/// Brings problems into the order of the file and gives each its line.
pub fn in_order(mut problems: Vec<Problem>, text: &str) -> Vec<Problem> {
    let order = |p: &Problem| (p.file.clone(), p.line, p.column, p.path.clone(), p.what.clone());
    problems.sort_by_cached_key(order);
    problems.dedup();
    let lines: Vec<&str> = text.trim_start_matches('\u{feff}').lines().collect();
    // In another file every line may show a secret.
    for problem in problems.iter_mut().filter(|problem| problem.file.is_none()) {
        let at = (problem.line as usize).saturating_sub(1);
        let around = lines.get(at.saturating_sub(1)..=at).unwrap_or_default();
        problem.source = lines.get(at).filter(|_| !may_show_secret(problem, around)).map(|line| (*line).into());
    }
    problems
}

/// Words that stand beside a literal secret.
const SECRETIVE: [&str; 3] = ["secret", "token", "passw"];

/// Literal secrets are legal in the file and must not get into logs with the lines around them. Where YAML itself is
/// broken a secret may have begun a line earlier; a mistyped key is known by what it was taken for.
fn may_show_secret(problem: &Problem, lines: &[&str]) -> bool {
    let near = if problem.path.is_empty() { lines } else { &lines[lines.len().saturating_sub(1)..] };
    let texts = near.iter().copied().chain([problem.path.as_str()]);
    let is_mistyped = problem.hint.as_deref().is_some_and(|hint| hint.contains("`secret`") || hint.contains("`token`"));
    is_mistyped || texts.map(str::to_ascii_lowercase).any(|text| SECRETIVE.iter().any(|word| text.contains(word)))
}

/// One line that names the file only where it is another one: `12:15: pools.inbound.overflow: there is no pool nigth (did
/// you mean `night`?)`.
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(file) = &self.file {
            write!(f, "{file}:")?;
        }
        write_head(f, self)?;
        match &self.hint {
            Some(hint) => write!(f, " ({hint})"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for ConfigProblems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.shown(FILE_NAME).fmt(f)
    }
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, problem) in self.problems.iter().enumerate() {
            f.write_str(if position > 0 { "\n" } else { "" })?;
            write_problem(f, self.file, problem)?;
        }
        Ok(())
    }
}

fn write_head(f: &mut fmt::Formatter<'_>, problem: &Problem) -> fmt::Result {
    let Problem { line, column, path, what, .. } = problem;
    let colon = if path.is_empty() { "" } else { ": " };
    write!(f, "{line}:{column}: {path}{colon}{what}")
}

fn write_problem(f: &mut fmt::Formatter<'_>, file: &str, problem: &Problem) -> fmt::Result {
    let Problem { line, column, .. } = problem;
    write!(f, "{}:", problem.file.as_deref().unwrap_or(file))?;
    write_head(f, problem)?;
    if let Some(source) = problem.source.as_deref().filter(|source| !source.trim().is_empty()) {
        let (shown, caret_at) = around(source, (*column as usize).saturating_sub(1));
        write!(f, "\n{line:>6} | {shown}\n       | {:caret_at$}^", "")?;
    }
    match &problem.hint {
        Some(hint) => write!(f, "\n         hint: {hint}"),
        None => Ok(()),
    }
}

/// The part of a line around a column that is shown, and where the column stands in it. One character stands for each
/// of the line, whatever it is, so that the caret is under the right one.
fn around(line: &str, column: usize) -> (String, usize) {
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    let chars: Vec<char> = line.trim_end().chars().map(plain).collect();
    let column = column.min(chars.len());
    let first = if chars.len() > WIDTH_MAX { column.saturating_sub(WIDTH_MAX / 2) } else { 0 };
    (chars.iter().skip(first).take(WIDTH_MAX).collect(), column - first)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(line: u32, column: u32, path: &str, hint: Option<&str>) -> Problem {
        let hint = hint.map(str::to_owned);
        let what = "must be 1..=1000, not -1".into();
        Problem { file: None, line, column, path: path.into(), what, hint, source: None }
    }

    #[test]
    fn a_problem_is_shown_with_its_line_a_caret_and_a_hint() {
        let text = "a: 1\n  weight: -1\nx: 0\n";
        let problems = in_order(vec![problem(3, 4, "x", None), problem(2, 11, "a.weight", Some("drain it"))], text);
        let expected = "\
dispatcher.yaml:2:11: a.weight: must be 1..=1000, not -1
     2 |   weight: -1
       |           ^
         hint: drain it
dispatcher.yaml:3:4: x: must be 1..=1000, not -1
     3 | x: 0
       |    ^";
        assert_eq!(ConfigProblems(problems).to_string(), expected);
    }

    #[test]
    fn another_file_name_can_be_given_and_the_whole_file_has_no_path() {
        let shown = problem(1, 1, "", None).shown("/etc/edge.yaml").to_string();
        assert_eq!(shown, "/etc/edge.yaml:1:1: must be 1..=1000, not -1");
        let line = problem(2, 4, "a.b", Some("drain it")).to_string();
        assert_eq!(line, "2:4: a.b: must be 1..=1000, not -1 (drain it)");
    }

    #[test]
    fn a_long_line_is_cut_around_the_column() {
        let text = format!("{}HERE{}", "x".repeat(500), "y".repeat(500));
        let (shown, at) = around(&text, 500);
        assert_eq!((shown.chars().count(), &shown[at..at + 4]), (WIDTH_MAX, "HERE"));
    }

    #[test]
    fn a_line_that_could_show_a_secret_is_not_shown() {
        let shown = |text: &str, problem: Problem| in_order(vec![problem], text)[0].source.clone();
        assert_eq!(shown("edge: { secret: hunter2 }\n", problem(1, 1, "edge.secret", None)), None);
        assert_eq!(shown("edge:\n  secret: >\n    hunter2\n", problem(3, 5, "edge.secret", None)), None);
        assert_eq!(shown("edge: { secert: hunter2 }\n", problem(1, 9, "edge.secert", Some("`secret`?"))), None);
        assert_eq!(shown("  token: \"hunter2\n  x: 1\n", problem(2, 3, "", None)), None);
        assert!(shown("  secret: x\n  workers: 0\n", problem(2, 3, "edge.workers", None)).is_some());
        assert!(shown("listen: 0.0.0.0:80\n", problem(1, 9, "api.listen", Some("token: x"))).is_some());
    }

    #[test]
    fn a_problem_of_another_file_names_it_and_shows_no_line_of_it() {
        let other = Problem { file: Some("/etc/users".into()), ..problem(1, 1, "", Some("h")) };
        let problems = ConfigProblems(in_order(vec![other, problem(2, 1, "x", None)], "a: 1\nx: 2\n"));
        let expected = "\
dispatcher.yaml:2:1: x: must be 1..=1000, not -1
     2 | x: 2
       | ^
/etc/users:1:1: must be 1..=1000, not -1
         hint: h";
        assert_eq!(problems.to_string(), expected);
        assert_eq!(problems.0[1].to_string(), "/etc/users:1:1: must be 1..=1000, not -1 (h)");
    }

    #[test]
    fn control_characters_do_not_reach_the_terminal() {
        assert_eq!(around("a\u{1b}[31m\tb", 2), ("a [31m b".to_owned(), 2));
    }

    #[test]
    fn the_json_form_has_place_path_complaint_and_hint() {
        let json = serde_json::to_string(&ConfigProblems(vec![problem(2, 4, "a", Some("h"))])).unwrap();
        assert_eq!(json, r#"[{"line":2,"column":4,"path":"a","what":"must be 1..=1000, not -1","hint":"h"}]"#);
    }
}
