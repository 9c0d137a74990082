//! Customers and their bets.

use crate::prices::PriceBoard;
use crate::random::Random;
use touchline_protocol::*;

/// A crowd of customers of one brand.
#[derive(Clone, Debug)]
pub struct Bettors {
    random: Random,
    brand: BrandId,
    currency: Currency,
    customers: u64,
}

impl Bettors {
    /// A crowd of customers with the numbers 1 to `customers`.
    pub fn new(seed: u64, brand: BrandId, currency: Currency, customers: u64) -> Self {
        Bettors { random: Random::new(seed), brand, currency, customers: customers.max(1) }
    }

    /// Commands that open their accounts: nine of ten with the usual limits, the others with a tenth or twice
    /// of them; one in a hundred is blocked afterwards, one excluded themselves.
    pub fn accounts(&mut self) -> Vec<Body> {
        let mut commands = Vec::new();
        for customer in (1..=self.customers).map(CustomerId) {
            let factor_permille = match self.random.below(20) {
                0 => 100,
                1 => 2000,
                _ => 1000,
            };
            let (brand, currency) = (self.brand, self.currency);
            commands.push(OpenAccount { brand, customer, currency, factor_permille }.into());
            let status = match self.random.below(100) {
                0 => AccountStatus::Blocked,
                1 => AccountStatus::SelfExcluded,
                _ => continue,
            };
            let (operator, note) = (OperatorId(1), Text::cut("synthetic"));
            commands.push(SetAccountStatus { brand, customer, status, operator, note }.into());
        }
        commands
    }

    /// A bet on something that is open at the prices seen; `None` while nothing is.
    pub fn bet(&mut self, now_ms: u64, board: &PriceBoard) -> Option<SubmitTicket> {
        let (seen, selection, milli) = board.pick(&mut self.random)?;
        let customer = CustomerId(1 + self.random.below(self.customers));
        let (policy, tolerance_permille) = match self.random.below(10) {
            0..=4 => (OddsPolicy::Exact, 0),
            5..=6 => (OddsPolicy::Higher, 0),
            7..=8 => (OddsPolicy::Tolerance, 50),
            _ => (OddsPolicy::Any, 0),
        };
        Some(SubmitTicket {
            brand: self.brand,
            ticket: TicketId::new(now_ms, self.brand, customer, self.random.bits()),
            customer,
            currency: self.currency,
            channel: 1,
            fixture: seen.fixture,
            market: seen.market,
            selection,
            odds: Odds::decimal(milli),
            stake: self.stake(),
            policy,
            tolerance_permille,
            price_version: seen.version,
        })
    }

    /// Stakes as bettors choose them: mostly small and round, a few very large, a few too small to be taken.
    fn stake(&mut self) -> Stake {
        let minor = match self.random.below(200) {
            0 => 5,
            1 => 10_000_000,
            2..=9 => 50_000 + 1000 * self.random.below(200) as i64,
            10..=59 => 2000 + 500 * self.random.below(50) as i64,
            _ => 100 + 100 * self.random.below(20) as i64,
        };
        Stake(minor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn board() -> PriceBoard {
        let mut board = PriceBoard::default();
        for fixture in 1..5 {
            let prices = List([2000, 3500, 0].map(Price::decimal).to_vec());
            let (fixture, market) = (FixtureId(fixture), MarketKey::new(1, 0));
            let status = MarketStatus::Active;
            board.note(&MarketOdds { fixture, market, status, version: Seq(7), prices }.into());
        }
        board
    }

    #[test]
    fn bets_are_well_formed_and_follow_from_the_seed() {
        let crowd = || Bettors::new(3, BrandId(1), Currency(*b"EUR"), 50);
        let (mut one, mut other) = (crowd(), crowd());
        assert_eq!(one.accounts(), other.accounts());
        let board = board();
        for n in 0..2000 {
            let bet = one.bet(n, &board).unwrap();
            assert_eq!(Some(&bet), other.bet(n, &board).as_ref());
            assert!(bet.selection < 2, "the third selection has no price");
            assert_eq!(Body::from(bet).check_range(), Ok(()));
        }
        assert_eq!(one.bet(0, &PriceBoard::default()), None);
    }

    #[test]
    fn nobody_bets_on_what_is_suspended() {
        let mut board = board();
        for fixture in 1..5 {
            let state = FixtureState {
                fixture: FixtureId(fixture),
                status: FixtureStatus::Live,
                suspended: 1 << Reason::PossibleGoal as u32,
                board: Scoreboard::default(),
                worst_minor: Money(0),
                bound: false,
            };
            board.note(&state.into());
        }
        assert_eq!(Bettors::new(3, BrandId(1), Currency(*b"EUR"), 50).bet(0, &board), None);
    }
}
