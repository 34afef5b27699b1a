//! Every call, event and error, the edges of the phases, and whole challenges. Each test runs on
//! the real pallets and ends with a check of all invariants (`mock::with_timing`).

mod fallback;
mod flip;
mod fraud;
mod medians;
mod queue;
mod random;
mod report;
mod settlement;
mod timing;
