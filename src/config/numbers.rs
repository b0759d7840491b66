//! Numbers, times and shares, each with its range.

use std::borrow::Cow;
use std::time::Duration;

use schemars::{Schema, json_schema};

use crate::dispatch::node::Weight;

use super::words::{Complaint, FromText, quoted};

/// A whole number from `MIN` to `MAX`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Whole<const MIN: u32, const MAX: u32>(pub u32);

impl<const MIN: u32, const MAX: u32> FromText for Whole<MIN, MAX> {
    fn legal() -> Cow<'static, str> {
        format!("{MIN}..={MAX}").into()
    }

    fn from_text(text: &str) -> Result<Self, Complaint> {
        let legal = |number: &u32| (MIN..=MAX).contains(number);
        text.parse().ok().filter(legal).map(Whole).ok_or_else(|| Complaint::not::<Self>(text))
    }

    fn schema() -> Schema {
        json_schema!({ "type": "integer", "minimum": MIN, "maximum": MAX })
    }
}

impl FromText for Weight {
    fn legal() -> Cow<'static, str> {
        format!("1..={}", Weight::MAX).into()
    }

    fn from_text(text: &str) -> Result<Self, Complaint> {
        let drain = || "a node that shall take no calls is drained: `cordboard drain NODE`".to_owned();
        let hint = text.parse::<f64>().is_ok_and(|number| number <= 0.0).then(drain);
        let weight = text.parse().ok().and_then(Weight::new);
        weight.ok_or_else(|| Complaint::not::<Self>(text).with_hint(hint))
    }

    fn schema() -> Schema {
        json_schema!({ "type": "integer", "minimum": 1, "maximum": Weight::MAX })
    }
}

/// The calls that a node or gateway may have at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MaxCalls(pub u32);

impl MaxCalls {
    const MAX: u32 = 1_000_000;
}

impl FromText for MaxCalls {
    fn legal() -> Cow<'static, str> {
        format!("1..={}", Self::MAX).into()
    }

    fn from_text(text: &str) -> Result<Self, Complaint> {
        let hint = match text {
            "0" => "without max_calls there is no limit; `cordboard drain NODE` lets a node take no calls",
            _ => "leave it out for no limit",
        };
        let legal = |number: &u32| (1..=Self::MAX).contains(number);
        let read = text.parse().ok().filter(legal).map(MaxCalls);
        read.ok_or_else(|| Complaint::not::<Self>(text).with_hint(Some(hint.to_owned())))
    }

    fn schema() -> Schema {
        json_schema!({ "type": "integer", "minimum": 1, "maximum": Self::MAX })
    }
}

/// A span of time from `MIN_MS` to `MAX_MS`, both in milliseconds: `500ms`, `2s`, `1m 30s`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Time<const MIN_MS: u64, const MAX_MS: u64>(pub Duration);

impl<const MIN_MS: u64, const MAX_MS: u64> FromText for Time<MIN_MS, MAX_MS> {
    fn legal() -> Cow<'static, str> {
        let [min, max] = [MIN_MS, MAX_MS].map(|ms| show_time(Duration::from_millis(ms)));
        format!("a time, {min}..={max}").into()
    }

    fn from_text(text: &str) -> Result<Self, Complaint> {
        let bare = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        let read = humantime::parse_duration(text).ok().filter(|_| !bare || text == "0");
        let [min, max] = [MIN_MS, MAX_MS].map(Duration::from_millis);
        let legal = |time: &Duration| (min..=max).contains(time);
        read.filter(legal).map(Time).ok_or_else(|| {
            let hint = read.is_none().then(|| "a number with its unit, such as 500ms, 2s, 5m or 4h".to_owned());
            Complaint::not::<Self>(text).with_hint(hint)
        })
    }

    fn schema() -> Schema {
        json_schema!({ "type": "string", "pattern": "^ *[0-9]+ *[a-z]+( *[0-9]+ *[a-z]+)*$" })
    }
}

/// A time as people write it: `1m 30s`.
pub fn show_time(time: Duration) -> String {
    humantime::format_duration(time).to_string()
}

/// A share in percent, from `MIN` to `MAX`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Percent<const MIN: u8, const MAX: u8>(pub u8);

impl<const MIN: u8, const MAX: u8> FromText for Percent<MIN, MAX> {
    fn legal() -> Cow<'static, str> {
        format!("{MIN}%..={MAX}%").into()
    }

    fn from_text(text: &str) -> Result<Self, Complaint> {
        let legal = |percent: &u8| (MIN..=MAX).contains(percent);
        let number = |text: &str| text.trim_end().parse().ok().filter(legal);
        if let Some(percent) = text.strip_suffix('%').and_then(number) {
            return Ok(Percent(percent));
        }
        let hint = number(text).map(|percent| format!("write {percent}%"));
        Err(Complaint::new(format!("must be {}, not {}", Self::legal(), quoted(text))).with_hint(hint))
    }

    fn schema() -> Schema {
        json_schema!({ "type": "string", "pattern": "^[0-9]{1,3} *%$" })
    }
}

/// A contact's preference `q` (RFC 3261 section 25.1), in thousandths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Preference(pub u16);

impl FromText for Preference {
    fn legal() -> Cow<'static, str> {
        "a preference from 0 to 1 with up to three decimals, such as 0.5".into()
    }

    fn from_text(text: &str) -> Result<Self, Complaint> {
        let read = crate::registrar::binding::preference(Some(text.as_bytes()));
        read.map(Preference).ok_or_else(|| Complaint::not::<Self>(text))
    }

    fn schema() -> Schema {
        json_schema!({ "type": "number", "minimum": 0, "maximum": 1 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaint<T: FromText>(text: &str) -> (String, Option<String>) {
        let complaint = T::from_text(text).err().unwrap();
        (complaint.what, complaint.hint)
    }

    #[test]
    fn numbers_keep_to_their_range() {
        assert_eq!(Whole::<1, 8>::from_text("8").unwrap().0, 8);
        for (text, shown) in [("9", "9"), ("-1", "-1"), ("1.5", "1.5"), ("", "``"), ("1_0", "`1_0`"), ("x", "`x`")] {
            assert_eq!(complaint::<Whole<1, 8>>(text), (format!("must be 1..=8, not {shown}"), None));
        }
    }

    #[test]
    fn a_weight_of_zero_is_answered_with_draining() {
        assert_eq!(Weight::from_text("1000").unwrap().get(), 1_000);
        let drain = Some("a node that shall take no calls is drained: `cordboard drain NODE`".to_owned());
        assert_eq!(complaint::<Weight>("0"), ("must be 1..=1000, not 0".into(), drain.clone()));
        assert_eq!(complaint::<Weight>("-1"), ("must be 1..=1000, not -1".into(), drain));
        assert_eq!(complaint::<Weight>("heavy"), ("must be 1..=1000, not `heavy`".into(), None));
        assert!(complaint::<MaxCalls>("0").1.unwrap().contains("there is no limit"));
    }

    #[test]
    fn times_need_their_unit() {
        type Short = Time<100, 3_600_000>;
        assert_eq!(Short::from_text("1m 30s").unwrap().0, Duration::from_secs(90));
        assert_eq!(Time::<0, 1_000>::from_text("0s").unwrap().0, Duration::ZERO);
        assert_eq!(complaint::<Short>("2h"), ("must be a time, 100ms..=1h, not `2h`".into(), None));
        assert_eq!(complaint::<Short>("99999us").0, "must be a time, 100ms..=1h, not `99999us`");
        let unit = Some("a number with its unit, such as 500ms, 2s, 5m or 4h".to_owned());
        assert_eq!(complaint::<Short>("2"), ("must be a time, 100ms..=1h, not 2".into(), unit.clone()));
        assert_eq!(complaint::<Short>("soon"), ("must be a time, 100ms..=1h, not `soon`".into(), unit));
    }

    #[test]
    fn a_preference_is_at_most_one() {
        assert_eq!(Preference::from_text("0.5"), Ok(Preference(500)));
        assert_eq!(Preference::from_text("1"), Ok(Preference(1_000)));
        let what = "must be a preference from 0 to 1 with up to three decimals, such as 0.5, not 1.5";
        assert_eq!(complaint::<Preference>("1.5"), (what.into(), None));
    }

    #[test]
    fn a_share_is_written_with_its_percent_sign() {
        assert_eq!(Percent::<1, 100>::from_text("80%").unwrap().0, 80);
        assert_eq!(complaint::<Percent<1, 100>>("80"), ("must be 1%..=100%, not 80".into(), Some("write 80%".into())));
        assert_eq!(complaint::<Percent<1, 100>>("0%"), ("must be 1%..=100%, not `0%`".into(), None));
    }
}
