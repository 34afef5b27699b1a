//! The command line.

use polkadot_sdk::*;

use crate::{apis::Block, chain_spec, service};
use clap::Parser;
use futures::channel::oneshot;
use sc_cli::{Error, Result, SubstrateCli};
use sc_network::config::NetworkBackendType;
use sc_service::{ChainSpec, TaskManager};
use std::{
    io,
    path::PathBuf,
    sync::{
        atomic::{AtomicBool, Ordering},
        Arc,
    },
    thread,
};

const EXAMPLE: &str = "Example: datdot-node --dev\n\n\
    `--chain` takes dev, local, production (a template to export and complete), or a file.";

#[derive(Debug, Parser)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,

    #[command(flatten)]
    run: RunCommand,
}

#[derive(Debug, clap::Args)]
struct RunCommand {
    #[command(flatten)]
    node: sc_cli::RunCmd,

    /// End when standard input is closed, so that whoever started the node takes it along
    #[arg(long)]
    until_stdin_closes: bool,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Make, show or insert keys
    #[command(
        subcommand,
        after_help = "Example: datdot-node key insert --base-path DIR --chain spec.json --scheme sr25519 --key-type aura"
    )]
    Key(sc_cli::KeySubcommand),

    /// Print a chain specification, or write it to a file
    #[command(
        after_help = "Example: datdot-node export-chain-spec --chain production --output spec.json"
    )]
    ExportChainSpec(sc_cli::ExportChainSpecCmd),

    /// Remove the database
    #[command(after_help = "Example: datdot-node purge-chain --chain local --base-path DIR")]
    PurgeChain(sc_cli::PurgeChainCmd),

    /// Print what the database holds
    #[command(after_help = "Example: datdot-node chain-info --chain local --base-path DIR")]
    ChainInfo(sc_cli::ChainInfoCmd),
}

impl SubstrateCli for Cli {
    fn impl_name() -> String {
        "DatDot node".into()
    }

    fn impl_version() -> String {
        env!("CARGO_PKG_VERSION").into()
    }

    fn description() -> String {
        env!("CARGO_PKG_DESCRIPTION").into()
    }

    fn author() -> String {
        "DatDot".into()
    }

    fn support_url() -> String {
        "docs/native-node.md".into()
    }

    fn copyright_start_year() -> i32 {
        2026
    }

    fn load_spec(&self, id: &str) -> std::result::Result<Box<dyn ChainSpec>, String> {
        Ok(Box::new(match id {
            "dev" => chain_spec::development(),
            "" | "local" => chain_spec::local(),
            "production" => chain_spec::template(),
            path => sc_service::GenericChainSpec::from_json_file(PathBuf::from(path))?,
        }))
    }

    fn setup_command(command: clap::Command) -> clap::Command {
        command
            .name("datdot-node")
            .version(Self::impl_version())
            .about(Self::description())
            .after_help(EXAMPLE)
            .propagate_version(true)
            .args_conflicts_with_subcommands(true)
            .subcommand_negates_reqs(true)
    }
}

/// Does what the command line says.
pub fn run() -> Result<()> {
    let cli = Cli::from_args();
    match &cli.command {
        Some(Command::Key(command)) => command.run(&cli),
        Some(Command::ExportChainSpec(command)) => command.run(cli.load_spec(&command.chain)?),
        Some(Command::PurgeChain(command)) => cli
            .create_runner(command)?
            .sync_run(|config| command.run(config.database)),
        Some(Command::ChainInfo(command)) => cli
            .create_runner(command)?
            .sync_run(|config| command.run::<Block>(&config)),
        None => run_node(&cli),
    }
}

fn run_node(cli: &Cli) -> Result<()> {
    let runner = cli.create_runner(&cli.run.node)?;
    if runner.config().chain_spec.id() == chain_spec::TEMPLATE_ID {
        return Err(Error::Input(
            "the production chain is a template; export it, complete it, give it an id of its own, \
             and name that file with --chain"
                .into(),
        ));
    }
    if matches!(
        runner.config().network.network_backend,
        NetworkBackendType::Libp2p
    ) {
        return Err(Error::Input(
            "--network-backend libp2p is not built in; leave it out".into(),
        ));
    }
    let closed = Arc::new(AtomicBool::new(false));
    let leash = cli.run.until_stdin_closes.then(|| closed.clone());
    let ended = runner.run_node_until_exit(|config| async move {
        let tasks = service::start(config)?;
        if let Some(closed) = leash {
            end_with_stdin(&tasks, closed);
        }
        Ok(tasks)
    });
    // The end of an essential task is the orderly way to end a node from within.
    if closed.load(Ordering::SeqCst) {
        return Ok(());
    }
    ended
}

/// Ends the node when nobody can write to its standard input any more.
fn end_with_stdin(tasks: &TaskManager, closed: Arc<AtomicBool>) {
    let (sender, receiver) = oneshot::channel::<()>();
    thread::spawn(move || {
        // What is written is ignored; an error is an end as well.
        let _ = io::copy(&mut io::stdin(), &mut io::sink());
        drop(sender);
    });
    tasks
        .spawn_essential_handle()
        .spawn("until-stdin-closes", None, async move {
            let _ = receiver.await;
            closed.store(true, Ordering::SeqCst);
        });
}

/// An error as one sentence.
pub fn sentence(error: &Error) -> String {
    let words = match error {
        Error::NetworkKeyNotFound(path) => format!(
            "A validator needs a node key that stays the same; make it with \
             `datdot-node key generate-node-key --file {}`",
            path.display()
        ),
        Error::Input(reason) => format!("The node cannot run: {reason}"),
        other => other.to_string(),
    };
    let words = words.split_whitespace().collect::<Vec<_>>().join(" ");
    format!("{}.", words.trim_end_matches('.'))
}
