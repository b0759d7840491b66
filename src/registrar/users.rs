//! Who may register, and what proves it.

use std::collections::HashMap;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::sip::pattern::Pattern;

use super::aor::Aor;
use super::digest::{Algorithm, Hex, ha1};

/// What is known of a user's password: never the password itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Secrets {
    /// By the order of [`Algorithm::ALL`]; none where only another one is known.
    hashes: [Option<Hex>; 3],
}

impl Secrets {
    /// From a password: every algorithm can be used.
    pub fn of_password(user: &[u8], realm: &[u8], password: &[u8]) -> Self {
        Secrets { hashes: Algorithm::ALL.map(|algorithm| Some(ha1(algorithm, user, realm, password))) }
    }

    /// From the hashes that are known, by the order of [`Algorithm::ALL`].
    pub fn of_hashes(hashes: [Option<Hex>; 3]) -> Self {
        Secrets { hashes }
    }

    /// The hash for an algorithm.
    pub fn get(&self, algorithm: Algorithm) -> Option<&Hex> {
        self.hashes[place_of(algorithm)].as_ref()
    }

    /// Notes the hash for an algorithm; returns the one that was known before.
    pub fn set(&mut self, algorithm: Algorithm, hash: Hex) -> Option<Hex> {
        self.hashes[place_of(algorithm)].replace(hash)
    }
}

fn place_of(algorithm: Algorithm) -> usize {
    match algorithm {
        Algorithm::Sha512Of256 => 0,
        Algorithm::Sha256 => 1,
        Algorithm::Md5 => 2,
    }
}

/// A user.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct User {
    /// What proves that it is him.
    pub secrets: Secrets,
    /// Whom else he may register (RFC 3261 section 10.2); mostly nobody.
    pub may_register: Box<[Pattern]>,
}

impl From<Secrets> for User {
    fn from(secrets: Secrets) -> Self {
        User { secrets, may_register: Box::default() }
    }
}

/// All users. Copies share one list.
#[derive(Clone, Debug, Default)]
pub struct Users {
    list: Arc<HashMap<Aor, User>>,
    fingerprint: [u8; 32],
}

/// Numbers of users who differ between two lists.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UserChanges {
    /// Only the newer list has them.
    pub added: usize,
    /// Only the older list has them.
    pub removed: usize,
    /// They have another password, or may register others.
    pub changed: usize,
}

/// Two lists are the same when they say the same.
impl PartialEq for Users {
    fn eq(&self, other: &Self) -> bool {
        self.fingerprint == other.fingerprint
    }
}

impl Users {
    /// From a list; a later user of one name counts.
    pub fn new<U: Into<User>>(list: impl IntoIterator<Item = (Aor, U)>) -> Self {
        let list: HashMap<Aor, User> = list.into_iter().map(|(aor, user)| (aor, user.into())).collect();
        Users { fingerprint: fingerprint(&list), list: Arc::new(list) }
    }

    /// Whether there is such a user.
    pub fn knows(&self, user: &[u8]) -> bool {
        self.list.contains_key(user)
    }

    /// What proves that it is this user.
    pub fn secrets(&self, user: &[u8]) -> Option<&Secrets> {
        self.list.get(user).map(|user| &user.secrets)
    }

    /// Whether one user may register the phones of another one.
    pub fn may_register(&self, user: &[u8], other: &[u8]) -> bool {
        self.list.get(user).is_some_and(|user| user.may_register.iter().any(|pattern| pattern.matches(other)))
    }

    /// Number of users.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// True when there are none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// The names.
    pub fn names(&self) -> impl Iterator<Item = &Aor> {
        self.list.keys()
    }

    /// All of them, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&Aor, &User)> {
        self.list.iter()
    }

    /// What tells two lists apart and cannot be turned back into any secret.
    pub fn fingerprint(&self) -> &[u8; 32] {
        &self.fingerprint
    }

    /// How a newer list differs.
    pub fn changes_to(&self, newer: &Users) -> UserChanges {
        let mut changes = UserChanges::default();
        for (aor, user) in newer.iter() {
            match self.list.get(aor.as_bytes()) {
                None => changes.added += 1,
                Some(before) if before != user => changes.changed += 1,
                Some(_) => {}
            }
        }
        changes.removed = self.len() + changes.added - newer.len();
        changes
    }
}

/// A hash over all users in the order of their names. Each piece is led by its length, so that no two lists run together.
fn fingerprint(list: &HashMap<Aor, User>) -> [u8; 32] {
    let mut sorted: Vec<(&Aor, &User)> = list.iter().collect();
    sorted.sort_unstable_by_key(|(aor, _)| *aor);
    let mut digest = Sha256::new().chain_update("cordboard users");
    let mut piece = |octets: &[u8]| {
        digest.update((octets.len() as u32).to_be_bytes());
        digest.update(octets);
    };
    for (aor, user) in sorted {
        piece(aor.as_bytes());
        user.secrets.hashes.iter().for_each(|hash| piece(hash.as_ref().map_or(b"", Hex::digits)));
        piece(&(user.may_register.len() as u32).to_be_bytes());
        user.may_register.iter().for_each(|pattern| piece(pattern.as_bytes()));
    }
    digest.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(name: &str, password: &str) -> (Aor, User) {
        let secrets = Secrets::of_password(name.as_bytes(), b"pbx", password.as_bytes());
        (Aor::from_user(name.as_bytes()).unwrap(), secrets.into())
    }

    #[test]
    fn two_lists_are_the_same_whatever_their_order_and_differ_in_each_thing_that_counts() {
        let list = || [user("1001", "a"), user("1002", "b")];
        let mut turned = list();
        turned.reverse();
        let users = Users::new(list());
        assert_eq!(users, Users::new(turned));
        let mut helped = list();
        helped[0].1.may_register = [Pattern::new("10*")].into();
        for other in [vec![user("1001", "a")], vec![user("1001", "a"), user("1002", "c")], helped.to_vec()] {
            assert_ne!(users, Users::new(other));
        }
    }

    #[test]
    fn changes_between_two_lists_are_counted() {
        let old = Users::new([user("1001", "a"), user("1002", "b"), user("1003", "c")]);
        let new = Users::new([user("1002", "b"), user("1003", "other"), user("1004", "d"), user("1005", "e")]);
        assert_eq!(old.changes_to(&new), UserChanges { added: 2, removed: 1, changed: 1 });
        assert_eq!(new.changes_to(&old), UserChanges { added: 1, removed: 2, changed: 1 });
        assert_eq!(old.changes_to(&old), UserChanges::default());
    }

    #[test]
    fn whom_a_user_may_register_is_said_by_patterns() {
        let mut admin = user("admin", "a");
        admin.1.may_register = [Pattern::new("10*"), Pattern::new("anna")].into();
        let users = Users::new([admin, user("1001", "b")]);
        for (who, whom, may) in [
            ("admin", "1001", true),
            ("admin", "anna", true),
            ("admin", "2001", false),
            ("1001", "1002", false),
            ("nobody", "1001", false),
        ] {
            assert_eq!(users.may_register(who.as_bytes(), whom.as_bytes()), may, "{who} {whom}");
        }
    }
}
