//! A customer's account, their open liability and the limit on it.

use crate::fingerprint::{Reader, put};
use crate::table::{Entity, Stored};
use touchline_protocol::wire::Fault;
use touchline_protocol::{AccountStatus, Code, Money};

/// An account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Account {
    /// Who may bet.
    pub status: AccountStatus,
    /// Scales the customer's limits, per thousand.
    pub factor_permille: u32,
    /// The customer's own limit in minor units, −1 where the default applies.
    pub limit_minor: i64,
    /// Possible net winnings of open and pending bets, minor units.
    pub open_liability_minor: i64,
}

impl Account {
    /// A new account.
    pub fn new(factor_permille: u32) -> Self {
        Account { status: AccountStatus::Open, factor_permille, limit_minor: -1, open_liability_minor: 0 }
    }

    /// Why this customer may not bet at all, if so.
    pub fn blocked(&self) -> Option<Code> {
        match self.status {
            AccountStatus::Open => None,
            AccountStatus::SelfExcluded => Some(Code::SelfExcluded),
            AccountStatus::Blocked => Some(Code::BlockedCustomer),
        }
    }

    /// The limit on open liability: base × factor / 1000, rounded down.
    pub fn limit(&self, default_minor: i64) -> Money {
        let base = if self.limit_minor >= 0 { self.limit_minor } else { default_minor };
        let scaled = i128::from(base) * i128::from(self.factor_permille) / 1000;
        Money(i64::try_from(scaled).unwrap_or(i64::MAX))
    }
}

impl Entity for Account {
    fn bytes(&self, out: &mut Vec<u8>) {
        put(&self.status, out);
        put(&self.factor_permille, out);
        put(&self.limit_minor, out);
        put(&self.open_liability_minor, out);
    }
}

impl<K> Stored<K> for Account {
    fn read(_: &K, from: &mut Reader<'_>) -> Result<Self, Fault> {
        Ok(Account {
            status: from.field()?,
            factor_permille: from.field()?,
            limit_minor: from.field()?,
            open_liability_minor: from.field()?,
        })
    }
}
