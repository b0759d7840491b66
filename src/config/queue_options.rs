//! Options of `queues.conf`, which nodes are told of a queue.

use std::borrow::Cow;

use schemars::{Schema, json_schema};

use super::suggest;
use super::words::{Complaint, FromText};

/// Those that Asterisk 22 knows. It takes no notice of others, and says nothing.
pub const KNOWN: [&str; 58] = [
    "announce",
    "announce-frequency",
    "announce-holdtime",
    "announce-position",
    "announce-position-limit",
    "announce-position-only-up",
    "announce-round-seconds",
    "announce-to-first-user",
    "autofill",
    "autopause",
    "autopausebusy",
    "autopausedelay",
    "autopauseunavail",
    "context",
    "defaultrule",
    "joinempty",
    "leavewhenempty",
    "log-restricted-caller-id",
    "maxlen",
    "memberdelay",
    "membergosub",
    "min-announce-frequency",
    "monitor-format",
    "monitor-type",
    "music",
    "musicclass",
    "musiconhold",
    "penaltymemberslimit",
    "periodic-announce",
    "periodic-announce-frequency",
    "periodic-announce-startdelay",
    "queue-callerannounce",
    "queue-callswaiting",
    "queue-holdtime",
    "queue-minute",
    "queue-minutes",
    "queue-quantity1",
    "queue-quantity2",
    "queue-reporthold",
    "queue-seconds",
    "queue-thankyou",
    "queue-thereare",
    "queue-youarenext",
    "random-periodic-announce",
    "relative-periodic-announce",
    "reportholdtime",
    "retry",
    "ringinuse",
    "servicelevel",
    "setinterfacevar",
    "setqueueentryvar",
    "setqueuevar",
    "strategy",
    "timeout",
    "timeoutpriority",
    "timeoutrestart",
    "weight",
    "wrapuptime",
];

/// The name of an option.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct OptionName(pub String);

impl FromText for OptionName {
    fn legal() -> Cow<'static, str> {
        "an option of queues.conf: small letters, digits and `-`".into()
    }

    fn from_text(text: &str) -> Result<Self, Complaint> {
        if matches!(text, "name" | "member") {
            let hint = "the queue has a `name`, and its `members` are a list of their own";
            return Err(Complaint::new("stands beside `options`, not in them").with_hint(Some(hint.to_owned())));
        }
        let legal = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if (1..=64).contains(&text.len()) && text.bytes().all(legal) {
            return Ok(OptionName(text.to_owned()));
        }
        let near = suggest::near(text, KNOWN);
        Err(Complaint::not::<Self>(text).with_hint(near.or(Some("such as strategy or timeout".to_owned()))))
    }

    fn schema() -> Schema {
        json_schema!({ "type": "string", "pattern": "^[a-z0-9-]{1,64}$" })
    }
}

/// What an option is set to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OptionValue(pub String);

impl FromText for OptionValue {
    fn legal() -> Cow<'static, str> {
        "the value of an option: 1 to 256 characters on one line, without `;`".into()
    }

    fn from_text(text: &str) -> Result<Self, Complaint> {
        // A semicolon begins a comment in the files of Asterisk.
        let legal = |c: char| !c.is_control() && c != ';';
        let fits = !text.trim().is_empty() && text.len() <= 256;
        if fits && text.chars().all(legal) {
            Ok(OptionValue(text.to_owned()))
        } else {
            Err(Complaint::not::<Self>(text))
        }
    }

    fn schema() -> Schema {
        json_schema!({ "type": ["string", "integer", "boolean"], "minLength": 1, "maxLength": 256 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_names_of_asterisks_and_values_of_one_line() {
        assert_eq!(OptionName::from_text("announce-position"), Ok(OptionName("announce-position".to_owned())));
        assert_eq!(OptionName::from_text("Strategy").unwrap_err().hint.as_deref(), Some("did you mean `strategy`?"));
        assert!(OptionName::from_text("member").unwrap_err().what.contains("beside `options`"));
        assert!(OptionValue::from_text("paused,invalid").is_ok());
        for text in ["", " ", "a;b", "a\nb", &"x".repeat(257)] {
            assert!(OptionValue::from_text(text).is_err(), "{text:?}");
        }
        assert!(KNOWN.is_sorted());
    }
}
