//! Which tickets are sent: popular fixtures, regular customers, mostly small stakes, a few prices that are stale.

use crate::quotes::Quotes;
use touchline_generator::Random;
use touchline_protocol::*;

/// One in so many tickets asks for better odds than are on sale, as after a move that the bettor has not seen.
const STALE: u64 = 50;
/// One in so many tickets has a stake below any minimum.
const TOO_SMALL: u64 = 500;

/// A rank from 0 to `count` − 1 by Zipf's law with exponent 1, from the inverse of its continuous form: rank k has
/// probability ln((k + 2) / (k + 1)) / ln(count + 1).
pub fn zipf(random: &mut Random, count: u64) -> u64 {
    let rank = ((count + 1) as f64).powf(random.unit()) as u64;
    rank.saturating_sub(1).min(count.saturating_sub(1))
}

/// A crowd of customers of one brand who bet on what is on sale.
#[derive(Clone, Debug)]
pub struct Mix {
    random: Random,
    brand: BrandId,
    currency: Currency,
    customers: u64,
}

impl Mix {
    /// A crowd of customers with the numbers 1 to `customers`.
    pub fn new(seed: u64, customers: u64) -> Self {
        let random = Random::new(seed);
        Mix { random, brand: BrandId(1), currency: Currency(*b"EUR"), customers: customers.max(1) }
    }

    /// The commands that open the customers' accounts.
    pub fn accounts(&self) -> impl Iterator<Item = OpenAccount> + use<> {
        let (brand, currency) = (self.brand, self.currency);
        let customers = (1..=self.customers).map(CustomerId);
        customers.map(move |customer| OpenAccount { brand, customer, currency, factor_permille: 1000 })
    }

    /// A ticket issued at a Unix millisecond; `None` while nothing is on sale.
    pub fn ticket(&mut self, now_ms: u64, quotes: &Quotes) -> Option<SubmitTicket> {
        let random = &mut self.random;
        let (fixture, quote, selection) = quotes.pick(random)?;
        let customer = CustomerId(1 + zipf(random, self.customers));
        let on_sale = quote.odds[usize::from(selection)];
        let (policy, tolerance_permille) = match random.below(10) {
            0..=4 => (OddsPolicy::Exact, 0),
            5..=6 => (OddsPolicy::Higher, 0),
            7..=8 => (OddsPolicy::Tolerance, 50),
            _ => (OddsPolicy::Any, 0),
        };
        let stale = random.below(STALE) == 0;
        let (milli, policy, tolerance_permille) = match stale {
            true => ((on_sale + on_sale / 10 + 1).min(Odds::MAX_MILLI), OddsPolicy::Exact, 0),
            false => (on_sale, policy, tolerance_permille),
        };
        let too_small = random.below(TOO_SMALL) == 0;
        let stake = Stake(if too_small { 1 } else { 50 + 50 * random.below(40) as i64 });
        Some(SubmitTicket {
            brand: self.brand,
            ticket: TicketId::new(now_ms, self.brand, customer, random.bits()),
            customer,
            currency: self.currency,
            channel: 1,
            fixture,
            market: quote.market,
            selection,
            odds: Odds::decimal(milli),
            stake,
            policy,
            tolerance_permille,
            price_version: quote.version,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_follow_the_law_and_stay_in_range() {
        let (mut random, mut counts) = (Random::new(7), [0.0_f64; 10]);
        (0..100_000).for_each(|_| counts[zipf(&mut random, 10) as usize] += 1e-5);
        for (k, found) in counts.iter().enumerate() {
            let k = k as f64;
            let due = ((k + 2.0) / (k + 1.0)).ln() / 11_f64.ln();
            assert!((found - due).abs() < 0.01, "rank {k}: {found} instead of {due}");
        }
        assert_eq!([zipf(&mut random, 0), zipf(&mut random, 1)], [0, 0]);
    }

    #[test]
    fn tickets_are_well_formed_and_follow_from_the_seed() {
        let mut quotes = Quotes::new(FixtureId(1));
        for fixture in (1..20).map(FixtureId) {
            let prices = List([2000, 3500, 9_999_999].map(Price::decimal).to_vec());
            let (market, status) = (MarketKey::new(1, 0), MarketStatus::Active);
            quotes.note(&MarketOdds { fixture, market, status, version: Seq(7), prices }.into());
        }
        let (mut one, mut other) = (Mix::new(5, 100), Mix::new(5, 100));
        let mut stale = 0;
        for n in 0..5000 {
            let ticket = one.ticket(n, &quotes).unwrap();
            assert_eq!(Some(&ticket), other.ticket(n, &quotes).as_ref());
            stale += u64::from(![2000, 3500, 9_999_999].contains(&ticket.odds.milli));
            assert_eq!(Body::from(ticket).check_range(), Ok(()));
        }
        assert!((50..150).contains(&stale), "{stale} of 5000 are stale");
        assert_eq!(one.accounts().count(), 100);
    }
}
