//! The file of users: lines as htdigest writes them, or a list in YAML.
//!
//! A name that ends in `.yaml` or `.yml` means YAML, any other one htdigest: `USER:REALM:HASH`, where 32 digits are MD5 and 64
//! are SHA-256; `{SHA-512-256}` before the digits says what they cannot (RFC 8760). Empty lines and lines that begin with `#`
//! count for nothing. One user may have a line for each algorithm.

use std::collections::hash_map::Entry;

use crate::config::decode::{MISTAKES_MAX, decode};
use crate::config::names::UserName;
use crate::config::place::{Path, Place};
use crate::config::problem::Problem;
use crate::config::raw::RawUser;
use crate::config::tree;
use crate::config::words::{FromText, quoted};
use crate::registrar::digest::{Algorithm, Hex};
use crate::registrar::users::Secrets;
use crate::registrar::{Aor, User};

use super::agents::people;
use super::users::{Found, Proof};
use super::{Check, USERS_MAX};

/// Octets of a YAML file of users.
const YAML_BYTES_MAX: usize = 128 << 20;
/// Values in one: a million users of four keys each.
const YAML_NODES_MAX: usize = 10 * USERS_MAX;

impl Check<'_> {
    /// Adds the users of the file to those of the section.
    pub(super) fn users_in_file(&mut self, file: &std::path::Path, proof: Proof<'_>, known: &mut Found) {
        let path = Path::to("registrar").key("users_file");
        let text = match self.environment.users(file) {
            Ok(Some(text)) => text,
            Ok(None) => return,
            Err(error) => {
                let what = format!("{} cannot be read: {error}", quoted(&file.display().to_string()));
                return self.refuse(&path, what, Some("the edge's user must be able to read it"));
            }
        };
        let is_yaml = file.extension().is_some_and(|end| end == "yaml" || end == "yml");
        let mut read = if is_yaml { self.yaml(&text, proof) } else { htdigest(&text, proof) };
        merge(&mut read, known);
        if read.problems.is_empty() && read.others > 0 {
            let what = format!("{} lines of {} are of other realms and count for nothing", read.others, file.display());
            self.warn(&path, what, &format!("the realm here is {}", proof.realm));
        }
        self.take_problems(read.problems, &file.display().to_string());
    }

    fn yaml(&mut self, text: &str, proof: Proof<'_>) -> Read {
        let (mut tree, mut problems) = match tree::parse_up_to(text, YAML_BYTES_MAX, YAML_NODES_MAX) {
            Ok(parsed) => parsed,
            Err(problem) => return Read { problems: vec![problem], ..Read::default() },
        };
        let Some(users) = decode::<Vec<RawUser>>(&mut tree, &mut problems) else {
            return Read { problems, ..Read::default() };
        };
        let mut inner = Check::new(&tree, self.environment, problems);
        let found = inner.users_in_list(&Path::default(), &users, proof);
        self.people_in_file = people(&users);
        Read { found, problems: inner.problems, others: 0 }
    }

    /// Problems of the file, with its name; no more of them than anybody wants to read.
    fn take_problems(&mut self, mut problems: Vec<Problem>, file: &str) {
        problems.sort_by_key(|problem| (problem.line, problem.column));
        let more = problems.len().saturating_sub(MISTAKES_MAX);
        problems.truncate(MISTAKES_MAX);
        if let (1.., Some(last)) = (more, problems.last_mut()) {
            last.what += &format!("; and {more} more problems of this file");
        }
        self.problems.extend(problems.into_iter().map(|problem| Problem { file: Some(file.into()), ..problem }));
    }
}

/// What a file says.
#[derive(Default)]
struct Read {
    found: Found,
    problems: Vec<Problem>,
    /// Lines of other realms.
    others: usize,
}

impl Read {
    fn refuse(&mut self, place: Place, what: impl Into<String>, hint: Option<&str>) {
        let problem = Problem::new(place, &Path::default(), what);
        self.problems.push(Problem { hint: hint.map(str::to_owned), ..problem });
    }
}

/// Nobody stands in both. A file without anybody is one that is just being written, or the wrong one.
fn merge(read: &mut Read, known: &mut Found) {
    if read.found.is_empty() && read.problems.is_empty() {
        let what = if read.others > 0 { "no line is of the farm's realm" } else { "there is no user in this file" };
        read.refuse(Place::START, what, Some("a line is USER:REALM:HASH; without users there is no users_file"));
    }
    if known.is_empty() {
        *known = std::mem::take(&mut read.found);
        return;
    }
    for (aor, (user, place)) in std::mem::take(&mut read.found) {
        match known.entry(aor) {
            Entry::Vacant(entry) => drop(entry.insert((user, place))),
            Entry::Occupied(entry) => {
                let Place { line, column } = entry.get().1;
                let what = format!(
                    "a user of the name {} stands in the section `users` at {line}:{column} already",
                    entry.key()
                );
                read.refuse(place, what, None);
            }
        }
    }
}

fn htdigest(text: &str, proof: Proof<'_>) -> Read {
    let mut read = Read::default();
    for (line, number) in text.trim_start_matches('\u{feff}').lines().zip(1..) {
        let line = line.trim_end();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if read.found.len() >= USERS_MAX {
            let what = format!("more than {USERS_MAX} users; no more are taken");
            read.refuse(Place { line: number, column: 1 }, what, None);
            break;
        }
        one_line(&mut read, line, Place { line: number, column: 1 }, proof);
    }
    without_use(&mut read, proof);
    read
}

fn one_line(read: &mut Read, line: &str, place: Place, proof: Proof<'_>) {
    // A realm may have colons in it; names and hashes have none.
    let parts =
        line.split_once(':').and_then(|(user, rest)| rest.rsplit_once(':').map(|(realm, hash)| (user, realm, hash)));
    let Some((user, realm, hash)) = parts else {
        return read.refuse(place, "this is no USER:REALM:HASH", Some("`htdigest FILE REALM USER` writes such lines"));
    };
    if realm != proof.realm {
        read.others += 1;
        return;
    }
    let aor = UserName::from_text(user).map(|name| Aor::from_user(name.0.as_bytes()));
    let aor = match aor {
        Ok(Some(aor)) => aor,
        Ok(None) => return read.refuse(place, "this is no user's name", None),
        Err(complaint) => return read.refuse(place, complaint.what, complaint.hint.as_deref()),
    };
    let Some((algorithm, hash)) = hash_of(hash) else {
        let column = place.column + (line.chars().count() - hash.chars().count()) as u32;
        let what = "must be 32 hexadecimal digits of MD5 or 64 of SHA-256; {SHA-512-256} may stand before them";
        return read.refuse(Place { column, ..place }, what, None);
    };
    let (known, first) = read.found.entry(aor).or_insert_with(|| (User::default(), place));
    let first = *first;
    if known.secrets.set(algorithm, hash).is_some() {
        let what = format!(
            "a line for this user with {} stands at line {} or behind it already",
            algorithm.as_str(),
            first.line
        );
        read.refuse(place, what, Some("one line for each algorithm"));
    }
}

/// A hash with its algorithm, which its length tells unless it is said.
fn hash_of(text: &str) -> Option<(Algorithm, Hex)> {
    let (algorithm, digits) = match text.strip_prefix('{').and_then(|rest| rest.split_once('}')) {
        Some((name, digits)) => (Algorithm::from_bytes(name.as_bytes())?, digits),
        None if text.len() == 32 => (Algorithm::Md5, text),
        None => (Algorithm::Sha256, text),
    };
    Some((algorithm, Hex::read(algorithm, digits.as_bytes())?))
}

/// Tells users whose only hashes are of algorithms that are not offered, once for all of them.
fn without_use(read: &mut Read, proof: Proof<'_>) {
    let is_usable = |secrets: &Secrets| proof.algorithms.iter().any(|algorithm| secrets.get(*algorithm).is_some());
    let useless = || read.found.values().filter(|(user, _)| !is_usable(&user.secrets)).map(|(_, place)| *place);
    let Some(first) = useless().min() else { return };
    let what = match useless().count() - 1 {
        0 => "has no hash for any of `algorithms`, so this user can never register".to_owned(),
        more => format!("has no hash for any of `algorithms`, so this user and {more} more can never register"),
    };
    read.refuse(first, what, Some("offer the algorithm of the hashes in registrar.algorithms"));
}
