//! Which partition applies a frame: a function of its body and the number of partitions alone.

use crate::body::Body;
use crate::codes::LimitScope;
use crate::ids::{FixtureId, PartitionId};

impl Body {
    /// The partition tag of the frame that carries this body.
    ///
    /// An internal message is also applied by its sender, who takes it out of its outbox. `Reserved` goes to
    /// the ticket's home, `Retire` and `Work` wherever they say; for every other message the fixture or the customer tells.
    pub fn route(&self, partitions: u16) -> PartitionId {
        let fixture = |fixture: FixtureId| fixture.partition(partitions);
        match self {
            Body::Genesis(_)
            | Body::NewEpoch(_)
            | Body::Configure(_)
            | Body::Activate(_)
            | Body::SourceFresh(_)
            | Body::SourceExpired(_)
            | Body::Attest(_)
            | Body::SetRetention(_)
            | Body::SetBook(_)
            | Body::Settled(_)
            | Body::Unsettled(_) => PartitionId::ALL,
            Body::OpenAccount(m) => m.customer.partition(m.brand, partitions),
            Body::SetAccountStatus(m) => m.customer.partition(m.brand, partitions),
            Body::SetLimit(m) => match m.scope {
                LimitScope::Customer => m.customer.partition(m.brand, partitions),
                _ => fixture(m.fixture),
            },
            Body::OpenFixture(m) => fixture(m.fixture),
            Body::OpenMarkets(m) => fixture(m.fixture),
            Body::SetReference(m) => fixture(m.fixture),
            Body::SetIntensities(m) => fixture(m.fixture),
            Body::Incident(m) => fixture(m.fixture),
            Body::Suspend(m) => fixture(m.fixture),
            Body::SetPrices(m) => fixture(m.fixture),
            Body::SettleFixture(m) => fixture(m.fixture),
            Body::SettleMarket(m) => fixture(m.fixture),
            Body::VoidMarket(m) => fixture(m.fixture),
            Body::RollbackSettlement(m) => fixture(m.fixture),
            Body::SubmitTicket(m) => m.ticket.home(partitions),
            Body::Reserve(m) => fixture(m.fixture),
            Body::Reserved(m) => m.ticket.home(partitions),
            Body::Confirm(m) => fixture(m.fixture),
            Body::Rollback(m) => fixture(m.fixture),
            Body::Publish(m) => fixture(m.fixture),
            Body::PriceVerdict(m) => fixture(m.fixture),
            Body::Archive(m) => fixture(m.fixture),
            Body::Closed(m) => fixture(m.fixture),
            Body::Retire(m) => m.to,
            Body::Work(m) => m.to,
            Body::Recall(m) => fixture(m.record.fixture),
            Body::Reopen(m) => m.bet.ticket.home(partitions),
            Body::Hello(_)
            | Body::Welcome(_)
            | Body::Refused(_)
            | Body::Subscribe(_)
            | Body::Ping(_)
            | Body::Pong(_)
            | Body::Leader(_)
            | Body::Hold(_)
            | Body::Decision(_)
            | Body::Done(_)
            | Body::BetSettled(_)
            | Body::MarketSettled(_)
            | Body::MarketOdds(_)
            | Body::FixtureState(_)
            | Body::LimitChanged(_)
            | Body::BetArchived(_)
            | Body::FixtureArchived(_)
            | Body::Alarm(_) => PartitionId::NONE,
        }
    }
}
