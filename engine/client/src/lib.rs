//! What a bet-intake service links: connect, submit, subscribe, retry safely.
