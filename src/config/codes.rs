//! Status codes and what is said about them: which do not count as life, which lead to another node, which refuse.

use std::borrow::Cow;
use std::ops::RangeInclusive;

use schemars::{Schema, json_schema};

use crate::calls::tries::{ReasonRule, StatusRule};

use super::words::{Complaint, FromText};

/// Status codes: `408`, `5xx`, `404-410`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Codes(pub RangeInclusive<u16>);

impl FromText for Codes {
    fn legal() -> Cow<'static, str> {
        "a status code, a class or a range: 408, 5xx, 404-410".into()
    }

    fn from_text(text: &str) -> Result<Self, Complaint> {
        let refuse = || Complaint::not::<Self>(text);
        let range = match (text.strip_suffix("xx"), text.split_once('-')) {
            (Some(class), _) => class.parse().ok().filter(|c| (1..=6).contains(c)).map(|c: u16| c * 100..=c * 100 + 99),
            (None, Some((first, last))) => code(first).zip(code(last)).map(|(first, last)| first..=last),
            (None, None) => code(text).map(|code| code..=code),
        };
        match range.filter(|range| !range.is_empty()) {
            None => Err(refuse()),
            Some(range) if range.contains(&200) => {
                let hint = "a node that answers 200 is alive, whatever else holds".to_owned();
                Err(Complaint::new(format!("{} must not include 200", super::words::quoted(text)))
                    .with_hint(Some(hint)))
            }
            Some(range) => Ok(Codes(range)),
        }
    }

    fn schema() -> Schema {
        json_schema!({ "type": ["string", "integer"], "pattern": "^([1-6]xx|[1-6][0-9][0-9](-[1-6][0-9][0-9])?)$" })
    }
}

fn code(text: &str) -> Option<u16> {
    text.parse().ok().filter(|code| (100..=699).contains(code))
}

/// Codes as they are written in the file.
pub fn show_codes(codes: &RangeInclusive<u16>) -> String {
    match (*codes.start(), *codes.end()) {
        (first, last) if first == last => first.to_string(),
        (first, last) if first % 100 == 0 && last == first + 99 => format!("{}xx", first / 100),
        (first, last) => format!("{first}-{last}"),
    }
}

/// A cause that leads to the next node: `silence`, `refused`, `node_down`, `503`, `503 without reason`,
/// `503 cause 42,41`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RetryOn {
    /// Nothing came back in time.
    Silence,
    /// The transport said no.
    Refused,
    /// The node was found dead while the call waited there.
    NodeDown,
    /// A refusal.
    Status(StatusRule),
}

impl FromText for RetryOn {
    fn legal() -> Cow<'static, str> {
        "silence, refused, node_down, `503`, `503 without reason` or `503 cause 42`".into()
    }

    fn from_text(text: &str) -> Result<Self, Complaint> {
        let words: Vec<&str> = text.split_whitespace().collect();
        let reason = match words.as_slice() {
            ["silence"] => return Ok(RetryOn::Silence),
            ["refused"] => return Ok(RetryOn::Refused),
            ["node_down"] => return Ok(RetryOn::NodeDown),
            [_] => Some(ReasonRule::Any),
            [_, "without", "reason"] => Some(ReasonRule::Absent),
            [_, "cause", causes @ ..] => q850(&causes.concat()).map(ReasonRule::Q850),
            _ => None,
        };
        let (Some(code), Some(reason)) = (words.first().and_then(|word| code(word)), reason) else {
            return Err(Complaint::not::<Self>(text));
        };
        match refusal_that_ends(code) {
            Some(why) => Err(Complaint::not::<Self>(text).with_hint(Some(why.to_owned()))),
            None => Ok(RetryOn::Status(StatusRule { code, reason })),
        }
    }

    fn schema() -> Schema {
        let pattern =
            "^(silence|refused|node_down|[45][0-9][0-9]( without reason| cause [0-9]{1,3}( *, *[0-9]{1,3})*)?)$";
        json_schema!({ "type": ["string", "integer"], "pattern": pattern })
    }
}

/// Q.850 causes, `42` or `42,41`.
fn q850(text: &str) -> Option<Vec<u8>> {
    let cause = |text: &str| text.parse().ok().filter(|cause| (1..=127).contains(cause));
    text.split(',').map(cause).collect()
}

/// Why no other node can do better than one that gave this answer.
fn refusal_that_ends(code: u16) -> Option<&'static str> {
    match code {
        100..=199 => Some("a provisional answer refuses nothing"),
        200..=299 => Some("this is no refusal: the call is answered"),
        300..=399 => Some("a redirection is for the caller to follow"),
        401 | 407 => Some("the node asks the caller for a password, and so would the next one"),
        600..=699 => Some("6xx says that no other place will do better (RFC 3261 section 21.6)"),
        _ => None,
    }
}

/// A rule about refusals as it is written in the file.
pub fn show_rule(rule: &StatusRule) -> String {
    match &rule.reason {
        ReasonRule::Any => rule.code.to_string(),
        ReasonRule::Absent => format!("{} without reason", rule.code),
        ReasonRule::Q850(causes) => {
            let causes: Vec<String> = causes.iter().map(u8::to_string).collect();
            format!("{} cause {}", rule.code, causes.join(","))
        }
    }
}

/// A code that the edge refuses with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RejectCode(pub u16);

impl FromText for RejectCode {
    fn legal() -> Cow<'static, str> {
        "a status code, 400..=699".into()
    }

    fn from_text(text: &str) -> Result<Self, Complaint> {
        let legal = |code: &u16| (400..=699).contains(code);
        let refuse = || Complaint::not::<Self>(text).with_hint(Some("such as 403, 404 or 603".to_owned()));
        code(text).filter(legal).map(RejectCode).ok_or_else(refuse)
    }

    fn schema() -> Schema {
        json_schema!({ "type": "integer", "minimum": 400, "maximum": 699 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_single_classes_or_ranges() {
        for (text, range) in [("408", 408..=408), ("5xx", 500..=599), ("404-410", 404..=410)] {
            let codes = Codes::from_text(text).unwrap();
            assert_eq!((codes.0.clone(), show_codes(&codes.0).as_str()), (range, text));
        }
        for bad in ["", "99", "700", "7xx", "xx", "410-404", "4-5", "x", "2xx", "100-699"] {
            assert!(Codes::from_text(bad).is_err(), "{bad}");
        }
        assert!(Codes::from_text("200").unwrap_err().hint.unwrap().contains("alive"));
    }

    #[test]
    fn causes_for_a_retry_come_back_as_they_were_written() {
        for text in ["503", "503 without reason", "503 cause 42", "480 cause 42,41"] {
            let Ok(RetryOn::Status(rule)) = RetryOn::from_text(text) else { panic!("{text}") };
            assert_eq!(show_rule(&rule), text);
        }
        let spaced = RetryOn::Status(StatusRule { code: 503, reason: ReasonRule::Q850(vec![42, 41]) });
        assert_eq!(RetryOn::from_text("503  cause 42, 41"), Ok(spaced));
        for bad in ["", "503 cause", "503 cause 0", "503 cause 128", "503 with", "silent", "503 without", "cause 42"] {
            assert!(RetryOn::from_text(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn answers_that_no_other_node_can_better_are_refused() {
        for text in ["180", "200", "302", "401", "407", "603"] {
            assert!(RetryOn::from_text(text).unwrap_err().hint.is_some(), "{text}");
        }
    }

    #[test]
    fn a_refusal_is_a_failure_code() {
        assert_eq!(RejectCode::from_text("403"), Ok(RejectCode(403)));
        for bad in ["302", "700", "x", ""] {
            assert!(RejectCode::from_text(bad).is_err(), "{bad}");
        }
    }
}
