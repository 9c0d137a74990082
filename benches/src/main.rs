//! Speed of the kernels that a bet passes, in one run on one thread: `cargo run --release -p touchline-benches`.
//!
//! Each kernel runs in batches for a fixed time; a batch's mean is one sample. The fastest sample says what the
//! code can do, the median what this machine did. Compare kernels of one run, not runs of two machines.

mod bets;

use hdrhistogram::Histogram;
use std::hint::black_box;
use std::time::{Duration, Instant};
use touchline_benches::ring;
use touchline_pricing::calibrate::{self, FootballInput};
use touchline_pricing::football::{Clock, FootballGrid, FootballState, Intensities};
use touchline_pricing::markets::Market;
use touchline_pricing::sheet::{price_football, price_tennis};
use touchline_pricing::tennis::{Rules, Tennis, TennisState};
use touchline_protocol::frame::encode;
use touchline_protocol::*;

/// Time for each kernel.
const SPAN: Duration = Duration::from_millis(600);
/// Tickets that pass one stage before the next is run: as a burst would bring them.
const BATCH: usize = 64;
/// Batches of a run: bets stay, so a fixed number keeps the tables as large in every run.
const BATCHES: usize = 2000;
/// Batches that `count` runs.
const COUNTED: usize = 256;

fn main() {
    match std::env::args().nth(1).as_deref() {
        Some("count") => return count(),
        Some("large") => return large(),
        _ => {}
    }
    println!("{:<56} {:>12} {:>12}", "kernel", "fastest ns", "median ns");
    let ticket = Body::sample(Kind::SubmitTicket, 0);
    let envelope = Envelope::session(1, Epoch(1), 1);
    let mut bytes = Vec::new();
    measure("encode a ticket's frame", 1000, || {
        bytes.clear();
        encode(&envelope, black_box(&ticket), &mut bytes);
    });
    let frame = bytes.clone();
    measure("check and decode a ticket's frame", 1000, || {
        black_box(FrameRef::parse(black_box(&frame)).map(|frame| frame.body()).is_ok());
    });
    football();
    let model = Tennis::new(0.64, 0.62, Rules::best_of(3).expect("3 is played")).expect("in range");
    measure("tennis: winner from the first point", 1000, || {
        black_box(price_tennis(black_box(&model), &TennisState::start(), 50_000));
    });
    core("core, 1 match", 1, 0);
    core("core, 200 matches", 200, 0);
    large();
    for readers in 1..=3 {
        println!("log ring: {:?}", ring::run(ring::Load::usual(readers)));
    }
}

fn large() {
    core("core, 10000 matches, 1 M bets", 10_000, 1_000_000);
}

/// A fixed number of tickets through the stages, for a profiler that counts instructions.
fn count() {
    let mut day = bets::Day::new(200, 100);
    (0..COUNTED).for_each(|_| {
        day.stages(BATCH);
    });
    (0..COUNTED * BATCH).for_each(|_| day.bet(true));
    println!("{}", day.identity());
}

/// The whole core with so many matches, 100 customers in each partition and so many bets open from the start.
fn core(name: &str, fixtures: u64, open: usize) {
    let mut day = bets::Day::new(fixtures, 100);
    (0..open).for_each(|_| day.bet(false));
    let mut samples = [(); bets::STAGES.len()].map(|()| Samples::default());
    for _ in 0..BATCHES {
        let times = day.stages(BATCH);
        samples.iter_mut().zip(times).for_each(|(samples, time)| samples.record(time, BATCH as u32));
    }
    for (stage, samples) in bets::STAGES.iter().zip(samples) {
        samples.print(&format!("{name}: {stage}"));
    }
    for (kind, far) in [("ticket within a partition", false), ("cross-partition ticket", true)] {
        let mut samples = Samples::default();
        for _ in 0..BATCHES {
            let start = Instant::now();
            (0..BATCH).for_each(|_| day.bet(far));
            samples.record(start.elapsed(), BATCH as u32);
        }
        samples.print(&format!("{name}: {kind}, all its frames"));
    }
}

fn football() {
    let input = FootballInput { winner: [2.35, 3.52, 3.16], total: Some((10, [1.86, 1.95])) };
    measure("football: calibrate to 1x2 and a total", 10, || {
        black_box(calibrate::football(black_box(&input)).is_ok());
    });
    let goals = Intensities::new(1.46, 1.23).expect("in range");
    let state = FootballState::new([1, 0], Clock::FirstHalf { seconds: 1800.0 }, [0, 0]).expect("in range");
    measure("football: grid of a state", 100, || {
        black_box(FootballGrid::new(black_box(&goals), black_box(&state)));
    });
    let grid = FootballGrid::new(&goals, &state);
    let markets = [
        Market::Winner3,
        Market::BothToScore,
        Market::CorrectScore,
        Market::Total { quarters: 10 },
        Market::AsianHandicap { quarters: -1 },
    ];
    measure("football: 5 markets priced on a grid", 100, || {
        markets.iter().for_each(|market| {
            black_box(price_football(black_box(&grid), *market, 50_000));
        });
    });
}

/// Runs a kernel and prints its figures.
fn measure(name: &str, batch: u32, mut kernel: impl FnMut()) {
    (0..batch).for_each(|_| kernel());
    let mut samples = Samples::default();
    let begun = Instant::now();
    while begun.elapsed() < SPAN {
        let start = Instant::now();
        (0..batch).for_each(|_| kernel());
        samples.record(start.elapsed(), batch);
    }
    samples.print(name);
}

/// Means of batches, in tenths of nanoseconds, so that small kernels keep their digits.
struct Samples(Histogram<u64>);

impl Default for Samples {
    fn default() -> Self {
        Samples(Histogram::new(3).expect("three digits"))
    }
}

impl Samples {
    fn record(&mut self, time: Duration, batch: u32) {
        let tenths = time.as_nanos() as u64 * 10 / u64::from(batch);
        self.0.record(tenths).expect("the histogram grows");
    }

    fn print(&self, name: &str) {
        let tenths = |value: u64| value as f64 / 10.0;
        let (fastest, median) = (self.0.min(), self.0.value_at_quantile(0.5));
        println!("{name:<56} {:>12.1} {:>12.1}", tenths(fastest), tenths(median));
    }
}
