//! Secrets: literal text, `${NAME}` for a variable of the environment, `file:/path` for the first line of a file.
//!
//! What the environment says is asked through a trait, so that a check has no other input than its arguments;
//! [`SystemEnvironment`] is the one that reads the process's own. No secret is ever printed.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, BufRead, Read};
use std::path::Path;

use std::borrow::Cow;

use schemars::{Schema, json_schema};
use sha2::{Digest, Sha256};

use super::words::{Complaint, FromText, quoted};

/// Where `${NAME}` and `file:` come from.
pub trait Environment {
    /// The value of a variable, if it is set.
    fn variable(&self, name: &str) -> Option<String>;

    /// The first line of a file; what follows its line end does not count.
    fn first_line(&self, path: &Path) -> io::Result<String>;

    /// The users in a file, as its text; none where files of users are not to be read.
    fn users(&self, path: &Path) -> io::Result<Option<String>>;
}

/// The environment of this process.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemEnvironment;

/// Octets of a secret's file that are read: a key fits in.
const LINE_BYTES_MAX: u64 = 4_096;

/// Octets of a file of users: a million of them.
const USERS_BYTES_MAX: u64 = 128 << 20;

impl Environment for SystemEnvironment {
    fn variable(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }

    fn first_line(&self, path: &Path) -> io::Result<String> {
        let mut line = String::new();
        io::BufReader::new(regular(path)?.take(LINE_BYTES_MAX)).read_line(&mut line)?;
        Ok(line)
    }

    fn users(&self, path: &Path) -> io::Result<Option<String>> {
        let (file, mut text) = (regular(path)?, String::new());
        if file.metadata()?.len() > USERS_BYTES_MAX {
            let what = format!("it has more than {USERS_BYTES_MAX} octets");
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, what));
        }
        file.take(USERS_BYTES_MAX).read_to_string(&mut text)?;
        Ok(Some(text))
    }
}

/// Opens a file. A pipe or a device could keep the reader waiting for ever.
fn regular(path: &Path) -> io::Result<std::fs::File> {
    if !std::fs::metadata(path)?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
    }
    std::fs::File::open(path)
}

/// An environment with these variables and no files; those of users are passed over.
impl Environment for BTreeMap<String, String> {
    fn variable(&self, name: &str) -> Option<String> {
        self.get(name).cloned()
    }

    fn first_line(&self, _: &Path) -> io::Result<String> {
        Err(io::ErrorKind::NotFound.into())
    }

    fn users(&self, _: &Path) -> io::Result<Option<String>> {
        Ok(None)
    }
}

/// A secret. It is compared and used, and never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Box<str>);

impl Secret {
    /// A secret from its text.
    pub fn new(text: &str) -> Self {
        Secret(text.into())
    }

    /// The text itself, for those who need it: key derivation and the comparison of tokens.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Its length in octets.
    pub fn octets(&self) -> usize {
        self.0.len()
    }

    /// What tells two secrets apart and cannot be turned back into either.
    pub(super) fn fingerprint(&self) -> String {
        let digest = Sha256::new()
            .chain_update("cordboard fingerprint")
            .chain_update([0])
            .chain_update(self.reveal())
            .finalize();
        digest.iter().map(|octet| format!("{octet:02x}")).collect()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// A secret as the file gives it.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretText(String);

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretText(..)")
    }
}

impl FromText for SecretText {
    fn legal() -> Cow<'static, str> {
        "a secret: text, ${NAME} or file:/path".into()
    }

    fn from_text(text: &str) -> Result<Self, Complaint> {
        Ok(SecretText(text.to_owned()))
    }

    fn schema() -> Schema {
        json_schema!({ "type": "string" })
    }
}

impl SecretText {
    /// Finds the secret.
    pub fn resolve(&self, environment: &dyn Environment) -> Result<Secret, Complaint> {
        let text = &self.0;
        let (found, from) = if let Some(rest) = text.strip_prefix("${") {
            let name = rest.strip_suffix('}').filter(|name| is_variable(name)).ok_or_else(broken_reference)?;
            (variable(name, environment)?, format!("the variable {name}"))
        } else if let Some(path) = text.strip_prefix("file:") {
            (first_line(path, environment)?, format!("the first line of {}", quoted(path)))
        } else {
            (text.clone(), "the secret".to_owned())
        };
        match found.trim() {
            "" => Err(Complaint::new(format!("{from} is empty"))),
            secret if secret.chars().any(char::is_control) => {
                Err(Complaint::new(format!("{from} has control characters in it")))
            }
            secret => Ok(Secret::new(secret)),
        }
    }
}

fn is_variable(name: &str) -> bool {
    let legal = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    name.bytes().all(legal) && name.bytes().next().is_some_and(|b| !b.is_ascii_digit())
}

fn broken_reference() -> Complaint {
    let hint = "${NAME} and nothing beside it; letters, digits and _ make a name";
    Complaint::new("this is no reference to a variable").with_hint(Some(hint.to_owned()))
}

fn variable(name: &str, environment: &dyn Environment) -> Result<String, Complaint> {
    let hint = || Some(format!("set {name} in the edge's environment, or name a file with file:/path"));
    let unset = || Complaint::new(format!("the variable {name} is not set")).with_hint(hint());
    environment.variable(name).ok_or_else(unset)
}

fn first_line(path: &str, environment: &dyn Environment) -> Result<String, Complaint> {
    let hint = || Some("the edge's user must be able to read it".to_owned());
    let text = environment.first_line(Path::new(path));
    let text =
        text.map_err(|error| Complaint::new(format!("{} cannot be read: {error}", quoted(path))).with_hint(hint()))?;
    Ok(text.lines().next().unwrap_or_default().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fixed;

    impl Environment for Fixed {
        fn variable(&self, name: &str) -> Option<String> {
            match name {
                "CORDBOARD_SECRET" => Some(" sixteen octets ok ".into()),
                "EMPTY" => Some("  ".into()),
                _ => None,
            }
        }

        fn first_line(&self, path: &Path) -> io::Result<String> {
            match path.to_str() {
                Some("/run/secret") => Ok("from a file\r\nsecond line".into()),
                _ => Err(io::ErrorKind::NotFound.into()),
            }
        }

        fn users(&self, _: &Path) -> io::Result<Option<String>> {
            Ok(None)
        }
    }

    fn resolve(text: &str) -> Result<String, String> {
        let secret = SecretText::from_text(text).unwrap().resolve(&Fixed);
        secret.map(|secret| secret.reveal().to_owned()).map_err(|complaint| complaint.what)
    }

    #[test]
    fn a_secret_is_text_a_variable_or_the_first_line_of_a_file() {
        assert_eq!(resolve("literal $text"), Ok("literal $text".into()));
        assert_eq!(resolve("${CORDBOARD_SECRET}"), Ok("sixteen octets ok".into()));
        assert_eq!(resolve("file:/run/secret"), Ok("from a file".into()));
    }

    #[test]
    fn a_secret_that_is_not_there_is_told_without_telling_any() {
        assert_eq!(resolve("${NONE}"), Err("the variable NONE is not set".into()));
        assert_eq!(resolve("${EMPTY}"), Err("the variable EMPTY is empty".into()));
        assert_eq!(resolve("${A} b"), Err("this is no reference to a variable".into()));
        assert_eq!(resolve("${1A}"), Err("this is no reference to a variable".into()));
        assert_eq!(resolve("file:/nowhere"), Err("`/nowhere` cannot be read: entity not found".into()));
        assert_eq!(resolve("a\u{7}b"), Err("the secret has control characters in it".into()));
        assert_eq!(resolve(""), Err("the secret is empty".into()));
    }

    #[test]
    fn a_secret_is_never_printed_and_its_fingerprint_does_not_hold_it() {
        let secret = Secret::new("hunter2hunter2hunter2");
        assert_eq!(format!("{secret:?} {:?}", SecretText("hunter2".into())), "Secret(..) SecretText(..)");
        assert_ne!(secret.fingerprint(), Secret::new("hunter2hunter2hunter3").fingerprint());
        assert_eq!(secret.fingerprint().len(), 64);
    }

    #[test]
    fn the_environment_of_the_process_reads_the_first_line_of_a_file() {
        assert!(SystemEnvironment.variable("CORDBOARD_SURELY_NOT_SET").is_none());
        assert!(SystemEnvironment.first_line(Path::new("/nowhere/at/all")).is_err());
        assert!(SystemEnvironment.first_line(Path::new("/dev/zero")).is_err());
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("secret");
        std::fs::write(&file, "first\nsecond\n").unwrap();
        assert_eq!(SystemEnvironment.first_line(&file).unwrap(), "first\n");
        assert_eq!(SystemEnvironment.users(&file).unwrap().as_deref(), Some("first\nsecond\n"));
        assert!(SystemEnvironment.users(folder.path()).is_err());
        std::fs::write(&file, "x".repeat(100_000)).unwrap();
        assert_eq!(SystemEnvironment.first_line(&file).unwrap().len(), LINE_BYTES_MAX as usize);
    }
}
