//! Tidy, test and CI for this workspace.
fn main() {}
