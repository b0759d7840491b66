//! Queues: every one once, with members who are users, each of them once.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::config::numbers::Time;
use crate::config::place::Path;
use crate::config::queue_options::{self, OptionName};
use crate::config::raw::{RawConfig, RawMember, RawQueue, RawRealtime};
use crate::config::suggest;
use crate::config::words::{Given, TextOr};
use crate::registrar::{Aor, Member, Person, Queue, Realtime};
use crate::sip::pattern::Pattern;

use super::registrar::listens_elsewhere;
use super::{Check, MEMBERS_MAX, Placed};

/// Who can be in a queue.
pub(super) struct Known<'a> {
    /// Users, by name.
    pub(super) users: BTreeSet<Aor>,
    /// Users of whom something particular is said.
    pub(super) people: &'a BTreeMap<Aor, Person>,
    /// Who else may be one.
    pub(super) others: Others,
}

/// Users whom the configuration does not name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Others {
    /// There are none, so a member who is no user is a mistake.
    Nobody,
    /// Whoever comes to the users' file. Who left it has to be able to leave before the queues do.
    InFile,
    /// Everybody, under any name.
    Anybody,
}

/// What a member is known by.
enum Who<'r> {
    User(&'r str),
    Skill(&'r str),
}

impl Check<'_> {
    pub(super) fn queues(&mut self, raw: &[RawQueue], known: &Known<'_>) -> BTreeMap<Box<str>, Queue> {
        let path = Path::to("agents").key("queues");
        let mut names: HashMap<&str, Path> = HashMap::new();
        let (mut queues, mut members) = (BTreeMap::new(), 0);
        for Placed { path, value } in self.placed(&path, raw) {
            let name = value.name.0.0.as_str();
            if let Some(first) = names.get(name) {
                let what = format!("the queue {name} stands at {} already", self.place(first));
                self.refuse(&path.key("name"), what, None);
                continue;
            }
            names.insert(name, path.key("name"));
            let queue = self.queue(&path, value, known);
            members += queue.members.len();
            if members > MEMBERS_MAX {
                self.refuse(&path.key("members"), format!("all queues have at most {MEMBERS_MAX} members"), None);
                break;
            }
            queues.insert(name.into(), queue);
        }
        queues
    }

    fn queue(&mut self, path: &Path, raw: &RawQueue, known: &Known<'_>) -> Queue {
        let options = raw.options.iter().flatten();
        for (Given(OptionName(name)), _) in options.clone() {
            if !queue_options::KNOWN.contains(&name.as_str()) {
                let hint = suggest::near(name, queue_options::KNOWN).unwrap_or_else(|| "see queues.conf".to_owned());
                self.warn(&path.key("options").key(name), "Asterisk 22 has no such option of a queue", &hint);
            }
        }
        Queue {
            wrapup: raw.wrapup.map(|Given(Time(time))| time),
            members: self.queue_members(path, raw, known),
            options: options.map(|(name, value)| (name.0.0.as_str().into(), value.0.0.as_str().into())).collect(),
        }
    }

    /// The first entry that names somebody counts, so that an exception stands before its rule.
    fn queue_members(&mut self, path: &Path, raw: &RawQueue, known: &Known<'_>) -> Vec<Member> {
        let mut found: BTreeMap<Aor, u32> = BTreeMap::new();
        for Placed { path, value } in self.placed(&path.key("members"), raw.members.as_deref().unwrap_or_default()) {
            let (who, penalty) = match value {
                TextOr::Text(text) => (Who::User(&text.0), 0),
                TextOr::Map(raw) => match self.who(&path, raw) {
                    Some(who) => (who, raw.penalty.map_or(0, |penalty| penalty.0.0)),
                    None => continue,
                },
            };
            let users = known.meant_by(&who);
            if users.is_empty() {
                self.nobody(&path, &who, known);
            }
            for user in users {
                found.entry(user).or_insert(penalty);
            }
        }
        found.into_iter().map(|(user, penalty)| Member { user, penalty }).collect()
    }

    fn who<'r>(&mut self, path: &Path, raw: &'r RawMember) -> Option<Who<'r>> {
        match (&raw.user, &raw.skill) {
            (Some(user), None) => return Some(Who::User(&user.0.0)),
            (None, Some(skill)) => return Some(Who::Skill(&skill.0.0)),
            (Some(_), Some(_)) => {
                self.refuse(path, "`user` and `skill` are two members", Some("an entry for each"));
            }
            (None, None) if ["user", "skill"].iter().any(|key| self.tree.is_lost(&path.key(key))) => {}
            (None, None) => {
                self.refuse(path, "`user` is missing", Some("user: 1001, user: \"10*\" or skill: sales"));
            }
        }
        None
    }

    fn nobody(&mut self, path: &Path, who: &Who<'_>, known: &Known<'_>) {
        let users = Path::to("registrar").key("users");
        if self.has_lost_items(&users) || self.tree.is_lost(&Path::to("registrar").key("users_file")) {
            return;
        }
        let (what, hint) = match who {
            Who::User(name) => (format!("there is no user {name}"), near(name, &known.users)),
            Who::Skill(skill) => {
                let skills = known.people.values().flat_map(|person| &person.skills);
                let skills: BTreeSet<&str> = skills.map(AsRef::as_ref).collect();
                (format!("no user has the skill {skill}"), suggest::hint(skill, skills))
            }
        };
        match known.others {
            Others::Nobody => self.refuse(path, what, hint.as_deref()),
            Others::InFile | Others::Anybody => {
                self.warn(path, what, hint.as_deref().unwrap_or("users_file may bring one later"));
            }
        }
    }

    pub(super) fn realtime(&mut self, raw: &RawConfig, queues: usize, publish: bool) -> Realtime {
        let realtime = match raw.agents.as_ref().and_then(|agents| agents.realtime) {
            None | Some(RawRealtime::Off) => return Realtime::Off,
            Some(RawRealtime::Members) => Realtime::Members,
            Some(RawRealtime::Queues) => Realtime::Queues,
        };
        let path = Path::to("agents").key("realtime");
        self.is_asked_at_the_api(&path, raw);
        if queues == 0 && !self.tree.is_lost(&Path::to("agents").key("queues")) {
            self.warn(&path, "there are no queues that nodes could ask for", "agents.queues");
        }
        if !publish {
            self.warn(&path, "queues are not told what their members do", "publish: true");
        }
        realtime
    }

    /// Nodes that ask the edge have to reach it.
    fn is_asked_at_the_api(&mut self, path: &Path, raw: &RawConfig) {
        let listen = match &raw.api {
            Some(TextOr::Text(_)) => {
                let hint = "api: { listen: \"ADDRESS:8080\" }";
                return self.refuse(path, "nodes ask the API, which is off", Some(hint));
            }
            Some(TextOr::Map(api)) => api.listen.map(|listen| listen.0.0),
            None => None,
        };
        let is_near = listen.is_none_or(|listen| listen.ip().to_canonical().is_loopback());
        if is_near && listens_elsewhere(raw) {
            self.warn(path, "nodes on other machines cannot reach the API", "api.listen: an address that nodes reach");
        }
    }
}

impl Known<'_> {
    fn meant_by(&self, who: &Who<'_>) -> Vec<Aor> {
        match who {
            Who::Skill(skill) => {
                let has = |person: &Person| person.skills.iter().any(|known| **known == **skill);
                self.people.iter().filter(|(_, person)| has(person)).map(|(user, _)| user.clone()).collect()
            }
            Who::User(text) if text.contains(['*', '?']) => {
                let pattern = Pattern::new(text);
                self.users.iter().filter(|user| pattern.matches(user.as_bytes())).cloned().collect()
            }
            Who::User(name) => {
                let is_one = |user: &Aor| self.others == Others::Anybody || self.users.contains(user);
                Aor::from_user(name.as_bytes()).filter(is_one).into_iter().collect()
            }
        }
    }
}

fn near(name: &str, users: &BTreeSet<Aor>) -> Option<String> {
    let names: Vec<_> = users.iter().map(|user| String::from_utf8_lossy(user.as_bytes())).collect();
    suggest::near(name, names.iter().map(AsRef::as_ref))
}
