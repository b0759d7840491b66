//! Users: every one once, with something that proves who he is.

use std::collections::HashMap;

use crate::config::place::{Path, Place};
use crate::config::raw::{RawRegistrar, RawUser};
use crate::registrar::digest::{Algorithm, Hex, ha1};
use crate::registrar::users::Secrets;
use crate::registrar::{Aor, User, Users};
use crate::sip::pattern::Pattern;

use super::{Check, MAY_REGISTER_MAX, Placed};

/// What users' secrets are made for, and asked by.
#[derive(Clone, Copy)]
pub(super) struct Proof<'a> {
    /// The realm.
    pub(super) realm: &'a str,
    /// What is offered.
    pub(super) algorithms: &'a [Algorithm],
}

/// Users by name, with where they stand.
pub(super) type Found = HashMap<Aor, (User, Place)>;

impl Check<'_> {
    /// All users: those of the section and those of the file.
    pub(super) fn users(&mut self, raw: &RawRegistrar, proof: Proof<'_>) -> Users {
        let path = Path::to("registrar").key("users");
        let given = raw.users.as_deref().unwrap_or_default();
        let (lost, file_lost) =
            (self.has_lost_items(&path), self.tree.is_lost(&Path::to("registrar").key("users_file")));
        if given.is_empty() && raw.users_file.is_none() && !lost && !file_lost {
            self.warn(
                &path,
                "no users, so nobody can register",
                "users: [{ name: 1001, password: \"${PASSWORD_1001}\" }], or users_file:",
            );
        }
        let mut found = self.users_in_list(&path, given, proof);
        if let Some(file) = &raw.users_file {
            self.users_in_file(&file.0.0, proof, &mut found);
        }
        self.has_hashes_for_all(&found, proof);
        Users::new(found.into_iter().map(|(aor, (user, _))| (aor, user)))
    }

    /// The users of a list.
    pub(super) fn users_in_list(&mut self, path: &Path, given: &[RawUser], proof: Proof<'_>) -> Found {
        let mut found = Found::with_capacity(given.len());
        for Placed { path, value } in self.placed(path, given) {
            let name = value.name.0.0.as_str();
            let Some(aor) = Aor::from_user(name.as_bytes()) else { continue };
            if let Some((_, first)) = found.get(&aor) {
                let what = format!("a user of the name {name} stands at {}:{} already", first.line, first.column);
                self.refuse(&path.key("name"), what, None);
                continue;
            }
            let place = self.tree.place(&path.key("name"));
            // One without a usable secret is known all the same, so that another one of his name is told.
            let secrets = self.secrets(&path, value, proof).unwrap_or_default();
            found.insert(aor, (User { secrets, may_register: self.may_register(&path, value) }, place));
        }
        found
    }

    fn may_register(&mut self, path: &Path, raw: &RawUser) -> Box<[Pattern]> {
        let patterns = raw.may_register.as_deref().unwrap_or_default();
        if patterns.len() > MAY_REGISTER_MAX {
            let what = format!("{} entries; at most {MAY_REGISTER_MAX} are taken", patterns.len());
            self.refuse(&path.key("may_register"), what, None);
        }
        patterns.iter().map(|pattern| Pattern::new(&pattern.0.0)).collect()
    }

    fn secrets(&mut self, path: &Path, raw: &RawUser, proof: Proof<'_>) -> Option<Secrets> {
        let (name, realm) = (raw.name.0.0.as_bytes(), proof.realm.as_bytes());
        let password = self.secret(&path.key("password"), raw.password.as_ref());
        let mut hashes = Algorithm::ALL.map(|algorithm| {
            password.as_ref().map(|password| ha1(algorithm, name, realm, password.reveal().as_bytes()))
        });
        let known = [("sha256", Algorithm::Sha256, &raw.sha256), ("md5", Algorithm::Md5, &raw.md5)];
        for (key, algorithm, given) in known {
            let Some(text) = self.secret(&path.key(key), given.as_ref()) else { continue };
            let at = Algorithm::ALL.iter().position(|own| *own == algorithm).unwrap_or_default();
            match Hex::read(algorithm, text.reveal().as_bytes()) {
                Some(hash) => hashes[at] = Some(hash),
                None => {
                    let what =
                        format!("must be the {} of NAME:REALM:PASSWORD in hexadecimal digits", algorithm.as_str());
                    self.refuse(&path.key(key), what, None);
                }
            }
        }
        if hashes.iter().all(Option::is_none) {
            self.has_no_secret(path, raw);
            return None;
        }
        let secrets = Secrets::of_hashes(hashes);
        if !proof.algorithms.iter().any(|algorithm| secrets.get(*algorithm).is_some()) {
            let what = "has no hash for any of `algorithms`, so this user can never register";
            self.refuse(path, what, Some("give the password, or offer the algorithm of the hash"));
        }
        Some(secrets)
    }

    fn has_no_secret(&mut self, path: &Path, raw: &RawUser) {
        let was_given = raw.password.is_some() || raw.md5.is_some() || raw.sha256.is_some();
        let is_lost = ["password", "sha256", "md5"].iter().any(|key| self.tree.is_lost(&path.key(key)));
        if !was_given && !is_lost {
            let hint = "password: \"${NAME}\", or md5: or sha256: with a hash";
            self.refuse(path, "`password` is missing", Some(hint));
        }
    }

    /// Everybody is offered the same; a phone that takes what its user has no hash for is refused for ever.
    fn has_hashes_for_all(&mut self, found: &Found, proof: Proof<'_>) {
        for algorithm in proof.algorithms {
            let lacks = |user: &User| user.secrets.get(*algorithm).is_none();
            let count = found.values().filter(|(user, _)| lacks(user)).count();
            if count > 0 && self.problems.is_empty() {
                let name = algorithm.as_str();
                let what =
                    format!("{count} users have no {name} hash; a phone of theirs that chooses {name} cannot register");
                let rest: Vec<String> = proof
                    .algorithms
                    .iter()
                    .filter(|own| *own != algorithm)
                    .map(|own| own.as_str().to_lowercase())
                    .collect();
                let hint = format!("algorithms: [{}]", rest.join(", "));
                self.warn(&Path::to("registrar").key("algorithms"), what, &hint);
            }
        }
    }
}
