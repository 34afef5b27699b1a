//! One fuzz target, the one that `FUZZ_TARGET` names, by libFuzzer. The inputs to begin with are
//! written to the folder `FUZZ_SEEDS`, if there is one.

#![no_main]

use datdot_fuzz::{seeds, Target, TARGETS};
use libfuzzer_sys::fuzz_target;
use std::{env, fs, path::Path, sync::OnceLock};

static TARGET: OnceLock<Target> = OnceLock::new();

fn begin() {
    let wanted = env::var("FUZZ_TARGET").unwrap_or_default();
    let known = TARGETS.into_iter().find(|(name, _)| *name == wanted);
    let (name, target) = known.unwrap_or_else(|| {
        let names = TARGETS.map(|(name, _)| name).join(", ");
        panic!("FUZZ_TARGET must be one of {names}")
    });
    TARGET.get_or_init(|| target);
    if let Ok(folder) = env::var("FUZZ_SEEDS") {
        for (number, seed) in seeds(name).into_iter().enumerate() {
            let path = Path::new(&folder).join(format!("seed-{number}"));
            fs::write(path, seed).expect("the folder for seeds can be written to");
        }
    }
}

fuzz_target!(init: begin(), |data: &[u8]| {
    let target = TARGET.get().expect("it was chosen");
    target(data);
});
