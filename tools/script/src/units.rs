//! How a script writes amounts, odds, lines, probabilities and the protocol's own names: always exact, as text.

use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserialize, Deserializer, Error};
use std::borrow::Cow;
use touchline_protocol as protocol;

/// An amount in units of currency from 0, at most two decimals: `"10.00"`. Held in minor units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Amount(pub i64);

/// Odds, decimal with at most three places (`"2.35"`) or fractional (`"4/11"`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Odds(pub protocol::Odds);

/// A line as a multiple of 0.25: `"2.5"`, `"-0.75"`. Held in quarters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Line(pub i32);

/// A number with at most nine places: `"1.46"`. Held in thousand-millionths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nano(pub u64);

/// Percent with at most four places: `"5"`. Held in millionths.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Percent(pub u32);

/// A currency: `"EUR"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Currency(pub protocol::Currency);

/// A ticket id of 32 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TicketId(pub protocol::TicketId);

/// A decimal number times `scale`, where it has at most `places` decimals and the product is whole. Only plain
/// notation counts, so that nothing is read that the schema refuses, and nothing is rounded.
fn scaled(text: &str, places: u32, scale: i64) -> Option<i64> {
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    let (whole, decimals) = unsigned.split_once('.').unwrap_or((unsigned, "0"));
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(decimals) {
        return None;
    }
    let value = Decimal::from_str_exact(text).ok().filter(|value| value.scale() <= places)?;
    value.checked_mul(Decimal::from(scale)).filter(Decimal::is_integer)?.to_i64()
}

fn odds(text: &str) -> Option<protocol::Odds> {
    if let Some((num, den)) = text.split_once('/') {
        return protocol::Odds::fraction(num.parse().ok()?, den.parse().ok()?);
    }
    let milli = u32::try_from(scaled(text, 3, 1000)?).ok()?;
    let fits = (protocol::Odds::MIN_MILLI..=protocol::Odds::MAX_MILLI).contains(&milli);
    fits.then_some(protocol::Odds::decimal(milli))
}

/// A type that is written as text.
macro_rules! text {
    ($($name:ident: $parse:expr, $pattern:literal, $must:literal;)*) => {$(
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                let parse: fn(&str) -> Option<_> = $parse;
                let wrong = || Error::custom(format!("{text:?} is not {}", $must));
                parse(&text).map($name).ok_or_else(wrong)
            }
        }

        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({"type": "string", "pattern": $pattern, "description": $must})
            }
        }
    )*};
}

text! {
    Amount: |text| scaled(text, 2, 100).filter(|minor| *minor >= 0), r"^\d+(\.\d{1,2})?$",
        "an amount from 0 with at most two decimals, as \"10.00\"";
    Odds: odds, r"^(\d+(\.\d{1,3})?|\d+/\d+)$", "odds from 1.001 to 10000 as \"2.35\" or \"4/11\"";
    Line: |text| i32::try_from(scaled(text, 2, 4)?).ok(), r"^-?\d+(\.(0|00|25|5|50|75))?$", "a multiple of 0.25, as \"2.5\"";
    Nano: |text| u64::try_from(scaled(text, 9, 1_000_000_000)?).ok(), r"^\d+(\.\d{1,9})?$",
        "a number from 0 with at most nine places, as \"1.46\"";
    Percent: |text| u32::try_from(scaled(text, 4, 10_000)?).ok(), r"^\d+(\.\d{1,4})?$",
        "percent with at most four places, as \"5\"";
    Currency: protocol::Currency::parse, "^[A-Z]{3}$", "three capital letters, as \"EUR\"";
    TicketId: protocol::TicketId::parse, "^[0-9a-f]{32}$", "32 hexadecimal digits";
}

/// One of the protocol's names, written as it stands there: `"FOOTBALL"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Name<T>(pub T);

macro_rules! names {
    ($($type:ident),*) => {$(
        impl<'de> Deserialize<'de> for Name<protocol::$type> {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                protocol::$type::from_name(&text).map(Name).ok_or_else(|| {
                    let all: Vec<&str> = protocol::$type::ALL.iter().map(|one| one.name()).collect();
                    Error::custom(format!("{text:?} is none of {}", all.join(", ")))
                })
            }
        }

        impl JsonSchema for Name<protocol::$type> {
            fn schema_name() -> Cow<'static, str> {
                stringify!($type).into()
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                let all: Vec<&str> = protocol::$type::ALL.iter().map(|one| one.name()).collect();
                json_schema!({"type": "string", "enum": all})
            }
        }
    )*};
}

names!(AccountStatus, Certainty, Event, LimitScope, OddsPolicy, Period, Reason, Side, Sport, Stage);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_exactly_or_not_at_all() {
        assert_eq!(scaled("10.00", 2, 100), Some(1000));
        assert_eq!(scaled("-0.75", 2, 4), Some(-3));
        assert_eq!(scaled("92233720368547758.07", 2, 100), Some(i64::MAX));
        let tiny = format!("10.{}1", "0".repeat(40));
        for wrong in ["", "-", ".5", "5.", "+5", "1_0", "1e2", "10.001", "92233720368547758.08", &tiny] {
            assert_eq!(scaled(wrong, 2, 100), None, "{wrong:?}");
        }
    }
}
