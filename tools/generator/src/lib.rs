//! Synthetic matches and bettors.
