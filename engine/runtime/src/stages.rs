//! stub
use std::sync::atomic::{AtomicU64, Ordering};
pub struct Counter(AtomicU64);
impl Counter { pub fn new() -> Self { Counter(AtomicU64::new(0)) } pub fn add(&self, n: u64) { self.0.fetch_add(n, Ordering::Relaxed); } pub fn get(&self) -> u64 { self.0.load(Ordering::Relaxed) } }
pub struct Histogram;
impl Histogram { pub fn new() -> Self { Histogram } pub fn record(&self, _ns: u64) {} }
