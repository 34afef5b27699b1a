//! Every call, event and error, the edges of the phases, and whole challenges. Each test runs on
//! the real pallets and ends with a check of all invariants (`mock::with_timing`).

mod bad_input;
mod charges;
mod demands;
mod duties;
mod endings;
mod events;
mod fairness;
mod fallback;
mod false_receipts;
mod flip;
mod fraud;
mod hosters;
mod invariants;
mod medians;
mod migrations;
mod queue;
mod random;
mod report;
mod settlement;
mod timing;
