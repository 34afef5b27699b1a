//! `datdot-node`: the DatDot runtime on a network of validators.
//!
//! Blocks are authored by Aura and finalized by GRANDPA; ParityDB keeps them. The runtime is the
//! committed wasm, the same that the embedded chain executes; nothing of it is linked into the node.

mod apis;
mod chain_spec;
mod cli;
mod rpc;
mod service;

use std::process::ExitCode;

fn main() -> ExitCode {
    match cli::run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("datdot-node: {}", cli::sentence(&error));
            ExitCode::FAILURE
        }
    }
}
