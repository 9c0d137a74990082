//! The files with every ordering relaxed and no fence.

#[path = "../../../src/asleep.rs"]
mod asleep;
#[path = "../../../src/log_ring.rs"]
mod log_ring;
#[path = "../models.rs"]
pub mod models;
#[path = "../../../src/own_line.rs"]
mod own_line;

mod sync {
    pub(crate) use crate::loomed::{Arc, AtomicBool, AtomicU64, Words};
    use loom::sync::atomic::Ordering as Declared;

    pub(crate) struct Ordering;

    #[expect(non_upper_case_globals, reason = "named as what they replace")]
    impl Ordering {
        pub(crate) const Acquire: Declared = Declared::Relaxed;
        pub(crate) const Release: Declared = Declared::Relaxed;
        pub(crate) const Relaxed: Declared = Declared::Relaxed;
        pub(crate) const SeqCst: Declared = Declared::Relaxed;
    }

    pub(crate) fn fence(_: Declared) {}
}
