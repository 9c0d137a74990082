//! Money and odds as integers, with the direction of every rounding.

use crate::wire::{Fault, Field, Value, id};

id! {
    /// An amount in minor units of the book's currency (cents); negative is a loss for the house.
    Money(i64)
}

/// A stake in minor units; on the wire from 1 to [`Stake::MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stake(pub i64);

impl Stake {
    /// The largest stake that a message may carry: a thousand million units of currency. Its payout at the
    /// highest odds still fits an `i64` with room for a million such bets.
    pub const MAX: i64 = 100_000_000_000;
}

impl Field for Stake {
    const SIZE: usize = 8;
    const TYPE: &'static str = "i64 minor units";
    fn put(&self, out: &mut Vec<u8>) {
        self.0.put(out);
    }
    fn get(bytes: &[u8]) -> Result<Self, Fault> {
        match i64::get(bytes)? {
            stake @ 1..=Stake::MAX => Ok(Stake(stake)),
            _ => Err(Fault::Range("from 1 to 100000000000 minor units")),
        }
    }
    fn show(&self) -> Value {
        Value::Int(self.0)
    }
    fn sample(number: u64) -> Self {
        Stake(1 + i64::from(u32::sample(number)))
    }
}

/// Odds in thousandths, and the exact fraction where they were quoted as one.
///
/// The payout uses the fraction: £11 at 4/11 pays £15.00, not £14.99.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Odds {
    /// Decimal odds × 1000, rounded down: 1001 to 10,000,000.
    pub milli: u32,
    /// Numerator of the fractional quote, 0 where there is none.
    pub num: u32,
    /// Denominator of the fractional quote, 0 where there is none.
    pub den: u32,
}

impl Odds {
    /// The lowest odds, 1.001.
    pub const MIN_MILLI: u32 = 1001;
    /// The highest odds, 10,000.
    pub const MAX_MILLI: u32 = 10_000_000;

    /// Decimal odds in thousandths.
    pub const fn decimal(milli: u32) -> Self {
        Odds { milli, num: 0, den: 0 }
    }

    /// Fractional odds; `None` where they are zero or out of range.
    pub fn fraction(num: u32, den: u32) -> Option<Self> {
        let milli = 1000 + (u64::from(num) * 1000).checked_div(u64::from(den))?;
        let milli = u32::try_from(milli).ok()?;
        (Self::MIN_MILLI..=Self::MAX_MILLI).contains(&milli).then_some(Odds { milli, num, den })
    }

    /// Whether it is in range, and its thousandths are those of its fraction.
    pub fn is_sound(self) -> bool {
        match (self.num, self.den) {
            (0, 0) => (Odds::MIN_MILLI..=Odds::MAX_MILLI).contains(&self.milli),
            (num, den) => Odds::fraction(num, den) == Some(self),
        }
    }

    /// How these odds compare with those that somebody asked for: in thousandths, and where these are equal and
    /// the asker named a fraction, exactly.
    pub fn compared_with(self, asked: Odds) -> std::cmp::Ordering {
        let exactly = || {
            let ((num, den), (asked_num, asked_den)) = (self.ratio(), asked.ratio());
            (num * asked_den).cmp(&(asked_num * den))
        };
        let fraction = if asked.den == 0 { std::cmp::Ordering::Equal } else { exactly() };
        self.milli.cmp(&asked.milli).then(fraction)
    }

    /// Numerator and denominator of the whole return for one unit staked.
    fn ratio(self) -> (i128, i128) {
        match self.den {
            0 => (self.milli.into(), 1000),
            den => (i128::from(self.num) + i128::from(den), den.into()),
        }
    }

    /// What a won bet returns, stake included, rounded down to the minor unit.
    pub fn returned_won(self, stake: Stake) -> Money {
        let (num, den) = self.ratio();
        floor(i128::from(stake.0) * num, den)
    }

    /// What a half-won bet returns: odds (o + 1) / 2, rounded down.
    pub fn returned_half_won(self, stake: Stake) -> Money {
        let (num, den) = self.ratio();
        floor(i128::from(stake.0) * (num + den), 2 * den)
    }
}

/// What a half-lost bet returns: half the stake, rounded down.
pub fn returned_half_lost(stake: Stake) -> Money {
    Money(stake.0 / 2)
}

/// Floors a non-negative ratio; stakes and odds are bounded so that it always fits.
fn floor(num: i128, den: i128) -> Money {
    debug_assert!(num >= 0 && den > 0);
    // Nearly all fit a machine's division, which takes a fraction of the time.
    let ratio = match (u64::try_from(num), u64::try_from(den)) {
        (Ok(num), Ok(den)) => i64::try_from(num / den),
        _ => i64::try_from(num / den),
    };
    Money(ratio.expect("stake and odds are bounded by the wire"))
}

impl Field for Odds {
    const SIZE: usize = 12;
    const TYPE: &'static str = "odds: u32 thousandths, u32 num, u32 den";
    fn put(&self, out: &mut Vec<u8>) {
        self.milli.put(out);
        self.num.put(out);
        self.den.put(out);
    }
    fn get(bytes: &[u8]) -> Result<Self, Fault> {
        let mut rest = bytes;
        let mut next = || u32::get(crate::wire::split(&mut rest, 4)?);
        let odds = Odds { milli: next()?, num: next()?, den: next()? };
        if odds.is_sound() { Ok(odds) } else { Err(Fault::Range("1.001 to 10000 and equal to its fraction")) }
    }
    fn show(&self) -> Value {
        match self.den {
            0 => Value::Uint(self.milli.into()),
            _ => Value::Record(vec![
                ("milli", Value::Uint(self.milli.into())),
                ("num", Value::Uint(self.num.into())),
                ("den", Value::Uint(self.den.into())),
            ]),
        }
    }
    fn sample(number: u64) -> Self {
        let (num, den) = (1 + number as u32 % 90, 1 + number as u32 % 7);
        let decimal = Odds::decimal(Odds::MIN_MILLI + u32::sample(number) % 9_000_000);
        if number.is_multiple_of(2) { Odds::fraction(num, den).unwrap_or(decimal) } else { decimal }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fraction_pays_exactly() {
        let odds = Odds::fraction(4, 11).unwrap();
        assert_eq!(odds.milli, 1363);
        assert_eq!(odds.returned_won(Stake(1100)), Money(1500));
        assert_eq!(Odds::decimal(1363).returned_won(Stake(1100)), Money(1499));
    }

    #[test]
    fn every_return_rounds_down() {
        assert_eq!(Odds::decimal(1999).returned_won(Stake(1)), Money(1));
        assert_eq!(Odds::decimal(1999).returned_half_won(Stake(3)), Money(4));
        assert_eq!(returned_half_lost(Stake(3)), Money(1));
    }

    #[test]
    fn the_largest_bet_does_not_overflow() {
        let most = Odds::decimal(Odds::MAX_MILLI).returned_won(Stake(Stake::MAX));
        assert_eq!(most, Money(1_000_000_000_000_000));
        assert!(most.0.checked_mul(9000).is_some());
    }

    #[test]
    fn a_fraction_that_disagrees_with_its_decimal_is_refused() {
        let mut bytes = Vec::new();
        Odds { milli: 2000, num: 4, den: 11 }.put(&mut bytes);
        assert!(Odds::get(&bytes).is_err());
    }
}
