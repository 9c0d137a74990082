//! The whole appliance under a seed.
