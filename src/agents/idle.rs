//! Who is free, the longest idle first; for each skill too, so that choosing one of ten thousand is no search.

use std::collections::{BTreeMap, BTreeSet};

use crate::moment::Moment;
use crate::registrar::Aor;

/// Those who are free, by the time since when; equals by name.
type Line = BTreeSet<(Moment, Aor)>;

/// What users are good for: their skills, by user.
pub type Skills = BTreeMap<Aor, Vec<Box<str>>>;

/// All who are free.
#[derive(Debug, Default)]
pub struct Idle {
    all: Line,
    by_skill: BTreeMap<Box<str>, Line>,
    skills: Skills,
}

impl Idle {
    /// Takes up who has which skills.
    pub fn set_skills(&mut self, skills: Skills) {
        if self.skills == skills {
            return;
        }
        self.skills = skills;
        self.by_skill.clear();
        // A skill that somebody has is known, though nobody who has it is free.
        for skill in self.skills.values().flatten() {
            self.by_skill.entry(skill.clone()).or_default();
        }
        for (since, aor) in &self.all {
            for skill in self.skills.get(aor).into_iter().flatten() {
                self.by_skill.entry(skill.clone()).or_default().insert((*since, aor.clone()));
            }
        }
    }

    /// He is free.
    pub fn add(&mut self, since: Moment, aor: &Aor) {
        for skill in self.skills.get(aor).into_iter().flatten() {
            self.by_skill.entry(skill.clone()).or_default().insert((since, aor.clone()));
        }
        self.all.insert((since, aor.clone()));
    }

    /// He is not any more.
    pub fn remove(&mut self, since: Moment, aor: &Aor) {
        let place = (since, aor.clone());
        for skill in self.skills.get(aor).into_iter().flatten() {
            self.by_skill.get_mut(skill).into_iter().for_each(|line| _ = line.remove(&place));
        }
        self.all.remove(&place);
    }

    /// Who has been free for longest and has all of these skills. With one skill or none he is the first of a line; with several he
    /// is looked for in the shortest of theirs.
    pub fn longest(&self, skills: &[&str]) -> Option<&Aor> {
        let mut line = &self.all;
        for skill in skills {
            let own = self.by_skill.get(*skill)?;
            line = if own.len() < line.len() { own } else { line };
        }
        line.iter().map(|(_, aor)| aor).find(|aor| self.has_all(aor, skills))
    }

    fn has_all(&self, aor: &Aor, wanted: &[&str]) -> bool {
        let own = self.skills.get(aor).map_or(&[][..], Vec::as_slice);
        wanted.iter().all(|skill| own.iter().any(|known| **known == **skill))
    }

    /// What this user is good for.
    pub fn skills_of(&self, aor: &Aor) -> &[Box<str>] {
        self.skills.get(aor).map_or(&[], Vec::as_slice)
    }

    /// Every skill that a user has.
    pub fn known_skills(&self) -> impl Iterator<Item = &str> {
        self.by_skill.keys().map(|skill| &**skill)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn aor(name: &str) -> Aor {
        Aor::from_user(name.as_bytes()).unwrap()
    }

    fn at(secs: u64) -> Moment {
        Moment::from_micros(secs * 1_000_000)
    }

    fn skills(list: &[(&str, &[&str])]) -> Skills {
        list.iter().map(|(name, skills)| (aor(name), skills.iter().map(|skill| (*skill).into()).collect())).collect()
    }

    fn longest(idle: &Idle, wanted: &[&str]) -> String {
        idle.longest(wanted).map_or_else(|| "nobody".to_owned(), ToString::to_string)
    }

    #[test]
    fn the_longest_idle_of_all_wanted_skills_is_chosen_and_equals_by_name() {
        let mut idle = Idle::default();
        idle.set_skills(skills(&[("1", &["sales"]), ("2", &["sales", "english"]), ("3", &["english", "sales"])]));
        for (name, since) in [("3", 10), ("2", 10), ("1", 5), ("4", 1)] {
            idle.add(at(since), &aor(name));
        }
        assert_eq!(longest(&idle, &[]), "4");
        assert_eq!(longest(&idle, &["sales"]), "1");
        assert_eq!(longest(&idle, &["sales", "english"]), "2");
        idle.remove(at(10), &aor("2"));
        assert_eq!(longest(&idle, &["english", "sales"]), "3");
        assert_eq!(longest(&idle, &["french"]), "nobody");
        assert_eq!(idle.known_skills().collect::<Vec<_>>(), ["english", "sales"]);
    }

    #[test]
    fn other_skills_count_at_once_also_for_who_is_free_already() {
        let mut idle = Idle::default();
        idle.add(at(1), &aor("1"));
        assert_eq!(longest(&idle, &["sales"]), "nobody");
        idle.set_skills(skills(&[("1", &["sales"])]));
        assert_eq!(longest(&idle, &["sales"]), "1");
        idle.set_skills(Skills::new());
        assert_eq!((longest(&idle, &["sales"]), longest(&idle, &[])), ("nobody".to_owned(), "1".to_owned()));
        idle.remove(at(1), &aor("1"));
        assert_eq!(longest(&idle, &[]), "nobody");
    }
}
