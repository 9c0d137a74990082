//! The field's own terms as numbers: sports, statuses, reasons, decision codes.

use crate::wire::code;

code! {
    /// A sport.
    Sport: u8 {
        /// Football: goals, full-time score states.
        Football = 1 "FOOTBALL",
        /// Tennis: points, games, sets.
        Tennis = 2 "TENNIS",
        /// Anything else: markets priced by hand, each its own outcome vector.
        Other = 255 "OTHER",
    }
}

code! {
    /// The answer to a ticket or command. Numbers stand in the order of the checks, so the smaller of two
    /// failing codes decides; from 200 on it is a refusal, which says nothing about earlier attempts.
    Code: u16 {
        /// Accepted or applied.
        Accepted = 0 "ACCEPTED",
        /// The id was used before with other content.
        DuplicateConflict = 1 "DUPLICATE_CONFLICT",
        /// The id is older than the result window.
        Expired = 2 "EXPIRED",
        /// A defect was caught; the fixture is suspended.
        Internal = 10 "INTERNAL",
        /// The brand's book is closed.
        BettingClosed = 20 "BETTING_CLOSED",
        /// Not allowed where the customer is.
        JurisdictionBlocked = 21 "JURISDICTION_BLOCKED",
        /// Not allowed on this channel.
        ChannelBlocked = 22 "CHANNEL_BLOCKED",
        /// No such account.
        AccountNotFound = 30 "ACCOUNT_NOT_FOUND",
        /// The customer excluded themselves.
        SelfExcluded = 31 "SELF_EXCLUDED",
        /// The customer is blocked.
        BlockedCustomer = 32 "BLOCKED_CUSTOMER",
        /// Not the brand's currency.
        CurrencyUnsupported = 33 "CURRENCY_UNSUPPORTED",
        /// No such fixture.
        FixtureNotFound = 40 "FIXTURE_NOT_FOUND",
        /// The fixture takes no more bets.
        FixtureClosed = 41 "FIXTURE_CLOSED",
        /// No such market.
        MarketNotFound = 42 "MARKET_NOT_FOUND",
        /// Market or fixture is suspended.
        MarketSuspended = 43 "MARKET_SUSPENDED",
        /// The market is not active.
        MarketNotOpen = 44 "MARKET_NOT_OPEN",
        /// The selection has no price.
        SelectionInactive = 45 "SELECTION_INACTIVE",
        /// The result is already known.
        PastCutoff = 50 "PAST_CUTOFF",
        /// The price rests on a source that is not fresh.
        FeedStale = 55 "FEED_STALE",
        /// The score changed since the price that the bettor saw.
        ScoreChanged = 60 "SCORE_CHANGED",
        /// Something else material happened since then.
        MaterialChange = 61 "MATERIAL_CHANGE",
        /// The odds moved beyond what the ticket allows.
        OddsChanged = 65 "ODDS_CHANGED",
        /// Stake below the minimum.
        BelowMinStake = 70 "BELOW_MIN_STAKE",
        /// Stake above the maximum.
        AboveMaxStake = 71 "ABOVE_MAX_STAKE",
        /// Payout above the maximum.
        AboveMaxPayout = 72 "ABOVE_MAX_PAYOUT",
        /// Odds above the maximum.
        OddsTooHigh = 73 "ODDS_TOO_HIGH",
        /// The customer's open liability would exceed its limit.
        CustomerLimit = 90 "CUSTOMER_LIMIT",
        /// The selection's liability would exceed its limit.
        SelectionLimit = 100 "SELECTION_LIMIT",
        /// The market's worst case would exceed its limit.
        MarketLimit = 101 "MARKET_LIMIT",
        /// The fixture's worst case would exceed its limit.
        FixtureLimit = 102 "FIXTURE_LIMIT",
        /// Too much is waiting; nothing was recorded, send it again.
        Overloaded = 200 "OVERLOADED",
        /// The journal has no room; nothing was recorded.
        DiskFull = 201 "DISK_FULL",
        /// Another node is the primary.
        NotPrimary = 202 "NOT_PRIMARY",
        /// The bytes are no frame.
        Malformed = 203 "MALFORMED",
        /// No message has this kind, or not from this role.
        UnknownKind = 204 "UNKNOWN_KIND",
        /// A field is outside its range.
        FieldRange = 205 "FIELD_RANGE",
    }
}

impl Code {
    /// Whether this is a refusal: nothing was recorded and the same id may be sent again.
    pub fn is_refusal(self) -> bool {
        self as u16 >= 200
    }
}

code! {
    /// Life of a fixture.
    FixtureStatus: u8 {
        /// Open before the start.
        NotStarted = 1 "NOT_STARTED",
        /// In play.
        Live = 2 "LIVE",
        /// Over; waiting for the result, or for those of its markets that the result does not decide.
        Ended = 3 "ENDED",
        /// Settled; takes no more commands but corrections.
        Closed = 4 "CLOSED",
        /// Called off; everything is void.
        Cancelled = 5 "CANCELLED",
    }
}

code! {
    /// Life of a market.
    MarketStatus: u8 {
        /// Takes bets.
        Active = 1 "ACTIVE",
        /// Has no price.
        Inactive = 2 "INACTIVE",
        /// Takes no bets for now.
        Suspended = 3 "SUSPENDED",
        /// Settled by a result.
        Settled = 4 "SETTLED",
        /// Void.
        Cancelled = 5 "CANCELLED",
    }
}

code! {
    /// Why a fixture or market is suspended. Several may hold at once; each is lifted on its own.
    Reason: u8 {
        /// A goal may have been scored.
        PossibleGoal = 1 "POSSIBLE_GOAL",
        /// A red card may be shown.
        PossibleRedCard = 2 "POSSIBLE_RED_CARD",
        /// A penalty may be given.
        PossiblePenalty = 3 "POSSIBLE_PENALTY",
        /// The video referee looks at a scene.
        VideoReview = 4 "VIDEO_REVIEW",
        /// The source's alive interval ran out.
        FeedStale = 5 "FEED_STALE",
        /// A node took over and the source was not fresh.
        Failover = 6 "FAILOVER",
        /// A price failed its checks.
        PriceSanity = 7 "PRICE_SANITY",
        /// An operator.
        Operator = 8 "OPERATOR",
        /// A caught defect.
        Internal = 9 "INTERNAL",
        /// A settlement was rolled back.
        RollbackEvent = 10 "ROLLBACK_EVENT",
    }
}

code! {
    /// What a feed reports. Every report also carries the whole scoreboard after it.
    Event: u8 {
        /// Time passes.
        Clock = 1 "CLOCK",
        /// A period starts.
        PeriodStart = 2 "PERIOD_START",
        /// A period ends.
        PeriodEnd = 3 "PERIOD_END",
        /// A goal counts.
        Goal = 4 "GOAL",
        /// A goal is taken back.
        GoalCancelled = 5 "GOAL_CANCELLED",
        /// A player is sent off.
        RedCard = 6 "RED_CARD",
        /// A caution.
        YellowCard = 7 "YELLOW_CARD",
        /// A corner.
        Corner = 8 "CORNER",
        /// A point is won.
        Point = 9 "POINT",
        /// A goal may have been scored: suspend.
        PossibleGoal = 10 "POSSIBLE_GOAL",
        /// A red card may be shown: suspend.
        PossibleRedCard = 11 "POSSIBLE_RED_CARD",
        /// A penalty may be given: suspend.
        PossiblePenalty = 12 "POSSIBLE_PENALTY",
        /// The video referee looks at a scene: suspend.
        VideoReview = 13 "VIDEO_REVIEW",
        /// The possible event is over: resume.
        Clear = 14 "CLEAR",
        /// The match is over.
        MatchEnd = 15 "MATCH_END",
    }
}

code! {
    /// Part of a match.
    Period: u8 {
        /// Before the start.
        NotStarted = 0 "NOT_STARTED",
        /// First half (football); the match (tennis).
        First = 1 "FIRST",
        /// Half-time.
        Break = 2 "BREAK",
        /// Second half.
        Second = 3 "SECOND",
        /// After the end.
        Ended = 4 "ENDED",
    }
}

code! {
    /// One of two sides, or neither.
    Side: u8 {
        /// Neither.
        None = 0 "NONE",
        /// Home side or first player.
        Home = 1 "HOME",
        /// Away side or second player.
        Away = 2 "AWAY",
    }
}

code! {
    /// Which price changes a ticket accepts.
    OddsPolicy: u8 {
        /// No change.
        Exact = 0 "EXACT",
        /// Higher odds, which are then the bet's.
        Higher = 1 "HIGHER",
        /// Any change; the bet takes the current odds.
        Any = 2 "ANY",
        /// Lower by at most the tolerance, or higher; the bet takes the current odds.
        Tolerance = 3 "TOLERANCE",
    }
}

code! {
    /// Status of an account.
    AccountStatus: u8 {
        /// May bet.
        Open = 1 "OPEN",
        /// Excluded by their own wish.
        SelfExcluded = 2 "SELF_EXCLUDED",
        /// Blocked by an operator.
        Blocked = 3 "BLOCKED",
    }
}

code! {
    /// What a limit bounds.
    LimitScope: u8 {
        /// Loss if this selection wins.
        Selection = 1 "SELECTION",
        /// Loss at the market's worst outcome.
        Market = 2 "MARKET",
        /// Loss at the fixture's worst outcome (a bound where markets have no common states).
        Fixture = 3 "FIXTURE",
        /// Sum of a customer's possible net winnings on open bets.
        Customer = 4 "CUSTOMER",
    }
}

code! {
    /// When a limit applies.
    Stage: u8 {
        /// Before the start.
        PreMatch = 1 "PRE_MATCH",
        /// In play.
        Live = 2 "LIVE",
    }
}

code! {
    /// Result of a selection or bet.
    Payoff: u8 {
        /// Pays at its odds.
        Won = 1 "WON",
        /// Half pays, half is returned.
        HalfWon = 2 "HALF_WON",
        /// The stake is returned.
        Void = 3 "VOID",
        /// Half is returned.
        HalfLost = 4 "HALF_LOST",
        /// Nothing is returned.
        Lost = 5 "LOST",
    }
}

code! {
    /// How certain a result is.
    Certainty: u8 {
        /// Reported live by a scout.
        LiveScouted = 1 "LIVE_SCOUTED",
        /// Confirmed.
        Confirmed = 2 "CONFIRMED",
    }
}

code! {
    /// How a cluster protects its log; set at genesis.
    ClusterMode: u8 {
        /// One node, own journal; never becomes DUAL.
        Standalone = 1 "STANDALONE",
        /// Primary, standby and witness.
        Cluster = 2 "CLUSTER",
    }
}

code! {
    /// Why an epoch opened.
    EpochCause: u8 {
        /// A standalone node started.
        Start = 1 "START",
        /// A standby was promoted.
        Promote = 2 "PROMOTE",
        /// A lone primary came back.
        Recover = 3 "RECOVER",
        /// Both nodes came back.
        Cold = 4 "COLD",
        /// Roles were swapped on purpose.
        Handoff = 5 "HANDOFF",
        /// An operator forced it.
        Force = 6 "FORCE",
        /// The primary goes on without its standby.
        Solo = 7 "SOLO",
        /// The standby is in sync again.
        Dual = 8 "DUAL",
    }
}

code! {
    /// Who is at the other end of a connection, which decides what it may send.
    Role: u8 {
        /// Submits tickets.
        Intake = 1 "INTAKE",
        /// Reports matches.
        Feed = 2 "FEED",
        /// Opens fixtures and accounts, suspends, limits, settles.
        Operator = 3 "OPERATOR",
        /// Only listens.
        Observer = 4 "OBSERVER",
    }
}

code! {
    /// How grave an alarm is.
    Severity: u8 {
        /// Worth knowing.
        Notice = 1 "NOTICE",
        /// Somebody should look today.
        Warning = 2 "WARNING",
        /// Page a person.
        Critical = 3 "CRITICAL",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_stand_in_the_order_of_the_checks() {
        assert!(Code::ALL.windows(2).all(|pair| pair[0] < pair[1]));
        assert!(Code::ALL.iter().all(|code| Code::from_name(code.name()) == Some(*code)));
        assert!(Code::Overloaded.is_refusal() && !Code::Internal.is_refusal());
    }
}
