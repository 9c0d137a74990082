//! The one binary a person types.
fn main() {}
