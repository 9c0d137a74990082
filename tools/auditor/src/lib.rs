//! Naive recomputation of every decision and balance from the journal.
