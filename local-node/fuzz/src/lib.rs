//! Fuzz targets, each a plain function of bytes that panics on a finding. `tests/targets.rs` drives
//! them by proptest, `fuzz_targets/guided.rs` by libFuzzer (`docs/development.md`).
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

/// Inputs to begin with, for the target of this name.
pub fn seeds(target: &str) -> Vec<Vec<u8>> {
    match target {
        // Short ones, which are quick; they are lengthened where that leads to something new.
        "calls" => chain::sequences()
            .map(|bytes| bytes[..300].to_vec())
            .take(32)
            .collect(),
        _ => rules::seeds(),
    }
}
