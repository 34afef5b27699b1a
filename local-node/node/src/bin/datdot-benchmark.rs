//! `datdot-benchmark`: runs the benchmarks of a runtime's wasm as a node executes it, writes the
//! weights that follow, and holds them against what they are to be.
//!
//! `make bench-chain` builds the wasm and calls this. Example:
//! `datdot-benchmark --wasm runtime.wasm --root local-node --table docs/weights.md`.

use clap::Parser;
use codec::{Decode, Encode};
use log::{Level, LevelFilter, Log, Metadata, Record};
use polkadot_sdk::{
    frame_benchmarking::{
        self, Analysis, BenchmarkBatch, BenchmarkConfig, BenchmarkList, BenchmarkMetadata,
        BenchmarkParameter, BenchmarkResult, BenchmarkSelector,
    },
    sc_client_db::bench::BenchmarkingState,
    sc_executor::{HeapAllocStrategy, WasmExecutor, DEFAULT_HEAP_ALLOC_STRATEGY},
    sp_core::traits::{CallContext, RuntimeCode, WrappedRuntimeCode},
    sp_externalities::Extensions,
    sp_io,
    sp_runtime::traits::BlakeTwo256,
    sp_state_machine::{OverlayedChanges, StateMachine},
    sp_storage::Storage,
};
use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Mutex,
};

type Host = (
    sp_io::SubstrateHostFunctions,
    frame_benchmarking::benchmarking::HostFunctions,
);
type State = BenchmarkingState<BlakeTwo256>;
type Components = Vec<(BenchmarkParameter, u32)>;

const TEMPLATE: &str = include_str!("weights.template");
/// Picoseconds in a millisecond.
const MS: f64 = 1e9;
/// ParityDB's prices in picoseconds, as `ParityDbWeight` has them.
const READ: u128 = 8_000_000;
const WRITE: u128 = 50_000_000;
/// Marks the generated part of the table's file.
const MARKS: [&str; 2] = ["<!-- generated -->", "<!-- end of what is generated -->"];

/// Measure the calls and hooks of the runtime's pallets.
#[derive(Parser)]
#[command(
    after_help = "Example: datdot-benchmark --wasm runtime.wasm --root local-node --table docs/weights.md"
)]
struct Arguments {
    /// The runtime, built with its benchmarks.
    #[arg(long)]
    wasm: PathBuf,
    /// The folder with `pallets`, whose `weights.rs` are written.
    #[arg(long)]
    root: Option<PathBuf>,
    /// The file with the table.
    #[arg(long)]
    table: Option<PathBuf>,
    /// How many values of each component.
    #[arg(long, default_value_t = 10)]
    steps: u32,
    /// How many runs of each value; five times as many where there is no component.
    #[arg(long, default_value_t = 20)]
    repeat: u32,
    /// Only benchmarks whose name contains this; nothing is written.
    #[arg(long)]
    only: Option<String>,
    /// Of what machine the figures are, for the files.
    #[arg(long, default_value = "a machine without a name")]
    machine: String,
}

/// Keeps what the benchmarks tell of sizes: lines of a name and a number of bytes.
struct Listener(Mutex<BTreeMap<String, u64>>);

static LISTENER: Listener = Listener(Mutex::new(BTreeMap::new()));

impl Log for Listener {
    fn enabled(&self, metadata: &Metadata) -> bool {
        metadata.target() == "datdot::bytes" || metadata.level() <= Level::Error
    }

    fn log(&self, record: &Record) {
        let line = record.args().to_string();
        match line.split_once(' ') {
            Some((name, bytes)) if record.target() == "datdot::bytes" => {
                if let (Ok(mut sizes), Ok(bytes)) = (self.0.lock(), bytes.parse()) {
                    sizes.insert(name.to_owned(), bytes);
                }
            }
            _ if record.level() <= Level::Error => eprintln!("{line}"),
            _ => {}
        }
    }

    fn flush(&self) {}
}

/// The compiled runtime, and the states that it runs on.
struct Runner {
    code: Vec<u8>,
    executor: WasmExecutor<Host>,
    /// For times.
    plain: State,
    /// For reads, writes and proofs.
    tracked: State,
}

impl Runner {
    fn new(code: Vec<u8>) -> Result<Self, String> {
        let heap = HeapAllocStrategy::Dynamic {
            maximum_pages: None,
        };
        let executor = WasmExecutor::<Host>::builder()
            .with_onchain_heap_alloc_strategy(DEFAULT_HEAP_ALLOC_STRATEGY)
            .with_offchain_heap_alloc_strategy(heap)
            .with_max_runtime_instances(1)
            .with_runtime_cache_size(1)
            .build();
        Ok(Self {
            code,
            executor,
            plain: State::new(Storage::default(), None, false, false)?,
            tracked: State::new(Storage::default(), None, true, true)?,
        })
    }

    /// Calls the runtime.
    fn call<R: Decode>(&self, state: &State, method: &str, data: &[u8]) -> Result<R, String> {
        let runtime = RuntimeCode {
            code_fetcher: &WrappedRuntimeCode(self.code.as_slice().into()),
            hash: sp_io::hashing::blake2_256(&self.code).to_vec(),
            heap_pages: None,
        };
        let mut changes = OverlayedChanges::<BlakeTwo256>::default();
        let mut extensions = Extensions::new();
        let answer = StateMachine::new(
            state,
            &mut changes,
            &self.executor,
            method,
            data,
            &mut extensions,
            &runtime,
            CallContext::Offchain,
        )
        .execute()
        .map_err(|error| format!("{method}: {error}"))?;
        R::decode(&mut &answer[..]).map_err(|error| format!("{method}: {error}"))
    }

    fn list(&self, extra: bool) -> Result<Vec<BenchmarkList>, String> {
        // What follows the lists in the answer is about storage.
        self.call(&self.plain, "Benchmark_benchmark_metadata", &extra.encode())
    }

    fn dispatch(
        &self,
        state: &State,
        list: &BenchmarkList,
        name: &[u8],
        components: &Components,
        verify: bool,
        internal_repeats: u32,
    ) -> Result<Vec<BenchmarkResult>, String> {
        let config = BenchmarkConfig {
            pallet: list.pallet.clone(),
            instance: list.instance.clone(),
            benchmark: name.to_vec(),
            selected_components: components.clone(),
            verify,
            internal_repeats,
        };
        let batches: Result<Vec<BenchmarkBatch>, String> =
            self.call(state, "Benchmark_dispatch_benchmark", &config.encode())?;
        let batches = batches.map_err(|error| format!("{} failed: {error}", text(name)))?;
        Ok(batches
            .into_iter()
            .flat_map(|batch| batch.results)
            .collect())
    }
}

/// What was measured of one benchmark.
struct Measured {
    name: String,
    ranges: Vec<(BenchmarkParameter, u32, u32)>,
    times: Vec<BenchmarkResult>,
    time: Fit,
    reads: Fit,
    writes: Fit,
    proof: Fit,
}

/// A figure by the values of the components.
struct Fit {
    base: u128,
    slopes: Vec<u128>,
}

impl Fit {
    fn of(results: &Vec<BenchmarkResult>, selector: BenchmarkSelector) -> Result<Self, String> {
        let analysis = Analysis::min_squares_iqr(results, selector).map_err(|e| e.to_string())?;
        Ok(Self {
            base: analysis.base,
            slopes: analysis.slopes,
        })
    }

    fn at(&self, values: &[u32]) -> u128 {
        let sum: u128 = self
            .slopes
            .iter()
            .zip(values)
            .map(|(slope, value)| slope * u128::from(*value))
            .sum();
        self.base + sum
    }
}

impl Measured {
    fn highest(&self) -> Vec<u32> {
        self.ranges.iter().map(|range| range.2).collect()
    }

    /// The median time where all components have these values, in picoseconds.
    fn median(&self, values: &[u32]) -> Option<u128> {
        let mut times: Vec<u128> = self
            .times
            .iter()
            .filter(|result| {
                let here = result.components.iter().map(|component| component.1);
                here.eq(values.iter().copied())
            })
            .map(|result| result.extrinsic_time * 1_000)
            .collect();
        times.sort_unstable();
        times.get(times.len() / 2).copied()
    }

    /// The whole weight in picoseconds, with reads and writes.
    fn weight(&self, values: &[u32]) -> u128 {
        self.time.at(values) + self.reads.at(values) * READ + self.writes.at(values) * WRITE
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Each component from its lowest to its highest value, all others at their highest.
fn values(benchmark: &BenchmarkMetadata, steps: u32) -> Vec<Components> {
    if benchmark.components.is_empty() {
        return vec![Vec::new()];
    }
    let mut all = Vec::new();
    for (varied, low, high) in &benchmark.components {
        let last = steps.min(high - low + 1).saturating_sub(1);
        for step in 0..=last {
            let offset = match last {
                0 => high - low,
                _ => (u64::from(high - low) * u64::from(step) / u64::from(last)) as u32,
            };
            let point = benchmark
                .components
                .iter()
                .map(|(name, _, high)| match name == varied {
                    true => (*name, low + offset),
                    false => (*name, *high),
                });
            all.push(point.collect());
        }
    }
    all
}

fn measure(
    runner: &Runner,
    list: &BenchmarkList,
    benchmark: &BenchmarkMetadata,
    steps: u32,
    repeat: u32,
) -> Result<Measured, String> {
    let name = text(&benchmark.name);
    eprintln!("{}::{name}", text(&list.pallet));
    let (mut times, mut tracked) = (Vec::new(), Vec::new());
    for components in values(benchmark, steps) {
        let run = |state, verify, repeats| {
            runner.dispatch(state, list, &benchmark.name, &components, verify, repeats)
        };
        // Does it do what it should?
        run(&runner.plain, true, 1)?;
        tracked.extend(run(&runner.tracked, false, 1)?);
        let runs = match components.is_empty() {
            true => 5 * repeat,
            false => repeat,
        };
        times.extend(run(&runner.plain, false, runs)?);
    }
    Ok(Measured {
        time: Fit::of(&times, BenchmarkSelector::ExtrinsicTime)?,
        reads: Fit::of(&tracked, BenchmarkSelector::Reads)?,
        writes: Fit::of(&tracked, BenchmarkSelector::Writes)?,
        proof: Fit::of(&tracked, BenchmarkSelector::ProofSize)?,
        ranges: benchmark.components.clone(),
        times,
        name,
    })
}

/// A number with `_` between its thousands.
fn grouped(number: u128) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            out.push('_');
        }
        out.push(digit);
    }
    out
}

/// The body of a weight function, and whether each component occurs in it.
fn body(measured: &Measured, prices: &str) -> (String, Vec<bool>) {
    let mut used = vec![false; measured.ranges.len()];
    let mut lines = format!(
        "        Weight::from_parts({}, {})\n",
        grouped(measured.time.base),
        grouped(measured.proof.base)
    );
    for (place, (name, _, _)) in measured.ranges.iter().enumerate() {
        let (time, proof) = (measured.time.slopes[place], measured.proof.slopes[place]);
        if time + proof > 0 {
            used[place] = true;
            let (time, proof) = (grouped(time), grouped(proof));
            let parts = format!("Weight::from_parts({time}, {proof})");
            let _ = writeln!(
                lines,
                "            .saturating_add({parts}.saturating_mul({name:?}.into()))"
            );
        }
    }
    for (what, fit) in [("reads", &measured.reads), ("writes", &measured.writes)] {
        if fit.base > 0 {
            let _ = writeln!(
                lines,
                "            .saturating_add({prices}.{what}({}))",
                fit.base
            );
        }
        for (place, (name, _, _)) in measured.ranges.iter().enumerate() {
            let slope = fit.slopes[place];
            if slope > 0 {
                used[place] = true;
                let _ = writeln!(
                    lines,
                    "            .saturating_add({prices}.{what}(u64::from({name:?}) * {slope}))"
                );
            }
        }
    }
    (lines, used)
}

/// The file of a pallet's weights.
fn render(pallet: &str, all: &[Measured], arguments: &Arguments) -> String {
    let (mut declared, mut runtime, mut unit) = (String::new(), String::new(), String::new());
    for measured in all {
        let ranges: Vec<String> = measured
            .ranges
            .iter()
            .map(|(name, low, high)| format!("`{name:?}`: {low} to {high}"))
            .collect();
        let about = match ranges.is_empty() {
            true => String::new(),
            false => format!("; {}", ranges.join(", ")),
        };
        let named: Vec<String> = measured
            .ranges
            .iter()
            .map(|(name, _, _)| format!("{name:?}: u32"))
            .collect();
        let (name, named) = (&measured.name, named.join(", "));
        let _ = writeln!(
            declared,
            "    /// `{name}`{about}.\n    fn {name}({named}) -> Weight;"
        );
        for (out, prices) in [
            (&mut runtime, "T::DbWeight::get()"),
            (&mut unit, "ParityDbWeight::get()"),
        ] {
            let (lines, used) = body(measured, prices);
            let named: Vec<String> = measured
                .ranges
                .iter()
                .zip(used)
                .map(|((name, _, _), used)| match used {
                    true => format!("{name:?}: u32"),
                    false => "_: u32".to_owned(),
                })
                .collect();
            let _ = writeln!(
                out,
                "    fn {name}({}) -> Weight {{\n{lines}    }}\n",
                named.join(", ")
            );
        }
    }
    TEMPLATE
        .replace("{{pallet}}", pallet)
        .replace("{{machine}}", &arguments.machine)
        .replace("{{steps}}", &arguments.steps.to_string())
        .replace("{{repeat}}", &arguments.repeat.to_string())
        .replace("{{trait}}", &declared)
        .replace("{{runtime}}", runtime.trim_end_matches('\n'))
        .replace("{{unit}}", unit.trim_end_matches('\n'))
}

/// Rows of the table: what each call costs where its components are greatest.
fn rows(pallet: &str, all: &[Measured]) -> String {
    let mut out = String::new();
    for measured in all.iter().filter(|one| !one.name.starts_with("aim_")) {
        let highest = measured.highest();
        let at: Vec<String> = measured
            .ranges
            .iter()
            .map(|(name, _, high)| format!("{name:?} = {high}"))
            .collect();
        let _ = writeln!(
            out,
            "| {pallet} | `{}` | {} | {:.3} | {} | {} | {} | {:.3} |",
            measured.name,
            at.join(", "),
            measured.time.at(&highest) as f64 / MS,
            measured.reads.at(&highest),
            measured.writes.at(&highest),
            measured.proof.at(&highest),
            measured.weight(&highest) as f64 / MS,
        );
    }
    out
}

/// How many challenges with so many attestors a chain can carry in a day.
fn capacity(all: &BTreeMap<String, Measured>, report_bytes: u64) -> Option<String> {
    const ATTESTORS: u32 = 10;
    const BLOCKS: u128 = 14_400;
    // Three quarters of a second, and of 5 MiB, are for ordinary transactions.
    const TIME: u128 = 750_000_000_000;
    const BYTES: u128 = 5 * 1_024 * 1_024 / 4 * 3;
    // 32 out of 4,096 chunks: some 196 nodes.
    const PARTS: u32 = 228;
    let weight = |name: &str, values: &[u32]| Some(all.get(name)?.weight(values));
    let settle = ["settle_served", "settle_unanswered", "settle_absent"]
        .iter()
        .filter_map(|name| weight(name, &[ATTESTORS]))
        .max()?;
    let reports = u128::from(ATTESTORS) * weight("submit_report", &[PARTS])?;
    let anchor = weight("anchor_flip", &[ATTESTORS])?;
    let hooks = weight("start", &[ATTESTORS])?
        + weight("open_reports", &[])?
        + weight("prune", &[ATTESTORS])?;
    let time = reports + anchor + settle + hooks;
    let bytes = u128::from(ATTESTORS) * u128::from(report_bytes) + u128::from(ATTESTORS) * 160;
    let (by_time, by_bytes) = (BLOCKS * TIME / time, BLOCKS * BYTES / bytes);
    let by_starts = BLOCKS * 4;
    let mut out = String::new();
    let _ = writeln!(
        out,
        "A challenge with {ATTESTORS} attestors, feeds of 4,096 chunks: {:.1} ms of weight \
         (reports {:.1}, settlement at its worst {:.1}, anchor {:.1}, hooks {:.1}) and {} bytes.\n",
        time as f64 / MS,
        reports as f64 / MS,
        settle as f64 / MS,
        anchor as f64 / MS,
        hooks as f64 / MS,
        bytes
    );
    let _ = writeln!(
        out,
        "Challenges a day at one block in 6 s: {by_time} by time, {by_bytes} by length, {by_starts} by \
         the four that may start in a block."
    );
    Some(out)
}

/// Prints the figures beside the aims; whether all are met.
fn judge(all: &BTreeMap<String, Measured>, sizes: &BTreeMap<String, u64>) -> bool {
    let mut met = true;
    let mut line = |what: &str, is: f64, aim: f64, unit: &str| {
        let verdict = if is <= aim { "ok" } else { "MISSED" };
        met &= is <= aim;
        println!("{what:<58} {is:>9.3} {unit:<3} aim {aim:>7.3}  {verdict}");
    };
    let reports = [
        (
            "aim_report_32_of_4096",
            "submit_report, N = 100, K = 32 of 4,096",
            2.5,
            Some(13.0),
        ),
        (
            "aim_report_32_of_16777216",
            "submit_report, N = 100, K = 32 of 2^24",
            4.0,
            Some(30.0),
        ),
        (
            "aim_report_100_of_4096",
            "submit_report, N = 100, K = 100 of 4,096",
            4.5,
            None,
        ),
    ];
    for (name, what, time, size) in reports {
        if let Some(median) = all.get(name).and_then(|measured| measured.median(&[])) {
            line(what, median as f64 / MS, time, "ms");
        }
        if let (Some(bytes), Some(aim)) = (sizes.get(name), size) {
            line(
                "  its bytes, median of ten",
                *bytes as f64 / 1_000.0,
                aim,
                "KB",
            );
        }
        if let Some(bytes) = sizes.get(&format!("{name}_most")) {
            let most = *bytes as f64 / 1_000.0;
            println!("{:<58} {most:>9.3} KB", "  the largest of the ten");
        }
    }
    if let Some(anchor) = all.get("anchor_flip") {
        line(
            "anchor_flip, n = 32",
            anchor.time.at(&[32]) as f64 / MS,
            3.5,
            "ms",
        );
    }
    if let Some(idle) = all.get("aim_idle_blocks") {
        if let (Some(few), Some(many)) = (idle.median(&[10]), idle.median(&[10_000])) {
            let (few, many) = (few as f64 / MS, many as f64 / MS);
            // A tenth is noise.
            line(
                "100 idle blocks, 10,000 hostings; aim: as with 10",
                many,
                few * 1.1,
                "ms",
            );
        }
        for (what, fit) in [("reads", &idle.reads), ("bytes of proof", &idle.proof)] {
            let (few, many) = (fit.at(&[10]) as f64, fit.at(&[10_000]) as f64);
            line(&format!("  their {what}"), many, few, "");
        }
    }
    for keys in [32, 100] {
        let theirs = 1.305 + 0.077 * f64::from(keys);
        println!(
            "beside it: StorageHub's published weight of a proof of {keys} keys: {theirs:.3} ms"
        );
    }
    met
}

/// Puts the text between the marks of the file.
fn put_between_marks(path: &Path, text: &str) -> Result<(), String> {
    let name = path.display();
    let old = fs::read_to_string(path).map_err(|error| format!("{name}: {error}"))?;
    let (before, rest) = old
        .split_once(MARKS[0])
        .ok_or(format!("{name} has no place for the table"))?;
    let (_, after) = rest
        .split_once(MARKS[1])
        .ok_or(format!("{name} has no end of the table"))?;
    let new = format!("{before}{}\n{text}{}{after}", MARKS[0], MARKS[1]);
    fs::write(path, new).map_err(|error| format!("{name}: {error}"))
}

fn run(arguments: &Arguments) -> Result<bool, String> {
    let code = fs::read(&arguments.wasm)
        .map_err(|error| format!("{}: {error}", arguments.wasm.display()))?;
    let runner = Runner::new(code)?;
    let weights = runner.list(false)?;
    let mut table = String::from(
        "| pallet | call or hook | at | time, ms | reads | writes | proof, bytes | weight, ms |\n\
         | --- | --- | --- | ---: | ---: | ---: | ---: | ---: |\n",
    );
    let mut by_name = BTreeMap::new();
    for list in runner.list(true)? {
        let pallet = text(&list.pallet);
        let chosen = list.benchmarks.iter().filter(|benchmark| {
            let only = arguments.only.as_deref().unwrap_or_default();
            text(&benchmark.name).contains(only)
        });
        let mut all = Vec::new();
        for benchmark in chosen {
            // The crowd of an idle block takes long to make.
            let (steps, repeat) = match text(&benchmark.name).as_str() {
                "aim_idle_blocks" => (2, arguments.repeat.min(9)),
                _ => (arguments.steps, arguments.repeat),
            };
            all.push(measure(&runner, &list, benchmark, steps, repeat)?);
        }
        table.push_str(&rows(&pallet, &all));
        if let (Some(root), None) = (&arguments.root, &arguments.only) {
            let named = weights.iter().find(|other| other.pallet == list.pallet);
            let named = named.map(|list| &list.benchmarks[..]).unwrap_or_default();
            let (ours, extra): (Vec<Measured>, Vec<Measured>) = all
                .into_iter()
                .partition(|one| named.iter().any(|other| text(&other.name) == one.name));
            let folder = pallet.trim_start_matches("pallet_");
            let path = root.join("pallets").join(folder).join("src/weights.rs");
            fs::write(&path, render(&pallet, &ours, arguments))
                .map_err(|error| format!("{}: {error}", path.display()))?;
            all = ours.into_iter().chain(extra).collect();
        }
        by_name.extend(
            all.into_iter()
                .map(|measured| (measured.name.clone(), measured)),
        );
    }
    let sizes = LISTENER.0.lock().map_err(|error| error.to_string())?;
    let bytes = sizes.get("aim_report_32_of_4096").copied();
    if let Some(capacity) = bytes.and_then(|bytes| capacity(&by_name, bytes)) {
        let _ = write!(table, "\n{capacity}");
    }
    println!("{table}");
    if let (Some(path), None) = (&arguments.table, &arguments.only) {
        put_between_marks(path, &table)?;
    }
    Ok(judge(&by_name, &sizes))
}

fn main() -> ExitCode {
    if log::set_logger(&LISTENER).is_ok() {
        log::set_max_level(LevelFilter::Info);
    }
    match run(&Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("datdot-benchmark: {error}");
            ExitCode::FAILURE
        }
    }
}
