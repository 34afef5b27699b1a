//! Fuzz targets, each a plain function of bytes that panics on a finding. `tests/targets.rs` drives
//! them by proptest (`docs/development.md`).
//!
//! * [`chain::calls`]: a sequence of calls and blocks on the runtime of the tests, beside a model.
//! * [`rules`]: one for each reader and check of `datdot-primitives`.

pub mod chain;
pub mod model;
pub mod rules;

/// A fuzz target: panics if it finds something.
pub type Target = fn(&[u8]);

/// All targets by name.
pub const TARGETS: [(&str, Target); 9] = [
    ("calls", chain::calls),
    ("report", rules::report),
    ("receipt", rules::receipt),
    ("evidence", rules::evidence),
    ("head", rules::head),
    ("multiproof", rules::multiproof),
    ("answer", rules::answer),
    ("false_receipt", rules::false_receipt),
    ("coinflip", rules::coinflip),
];
