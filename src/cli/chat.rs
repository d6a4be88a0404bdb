//! `rowcast chat`: which shard has which rooms, and moving them.

use std::{collections::BTreeMap, time::Duration};

use super::{Failure, screen};
use crate::{
    chat::{self, BUCKETS, Move, Place},
    config::{Overrides, Resolved, env::Env},
};

/// Arguments of `chat`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// List the shards, how many buckets each has, and what moves
    Buckets {
        /// Every bucket with its shard and the version of the map
        #[arg(long)]
        all: bool,
    },
    /// Move a bucket's rooms to another shard while they are in use
    ///
    /// If it was cut off, the same command goes on with it, and the one that
    /// names the shard where the bucket was undoes it.
    Move {
        /// The bucket; chat.bucket(room) in the database tells that of a room
        #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u16).range(..i64::from(BUCKETS)))]
        bucket: u16,
        /// The shard's place in ROWCAST_CHAT_SHARDS, from 0
        #[arg(long, value_name = "SHARD")]
        to: usize,
        /// Seconds that a shard's streams may take to tell what was written before
        ///
        /// Writers wait meanwhile. Servers repeat their calls for five seconds.
        #[arg(long, value_name = "SECONDS", default_value_t = 4)]
        patience: u64,
    },
}

pub(super) async fn run(args: Args) -> Result<(), Failure> {
    let resolved = Resolved::read(&Env, &Overrides::default())?;
    let shards = resolved.chat_shards()?;
    let first = shards.first().ok_or_else(|| {
        Failure::new("The chat has no shards.", "set ROWCAST_CHAT_SHARDS as the server has it.")
    })?;
    match args.command {
        Command::Buckets { all } => {
            let places = chat::places(first).await?;
            screen::line(if all { list(&places) } else { summary(&places, shards.len()) });
        }
        Command::Move { bucket, to, patience } => {
            let patience = Duration::from_secs(patience);
            let order = Move { shards: &shards, bucket, to, patience };
            Box::pin(order.run(|step| screen::line(format!("  {step}")))).await?;
        }
    }
    Ok(())
}

fn summary(places: &[Place], shards: usize) -> String {
    let mut counts: BTreeMap<usize, usize> = (0..shards).map(|shard| (shard, 0)).collect();
    for place in places {
        *counts.entry(place.shard).or_default() += 1;
    }
    let lines = counts.iter().map(|(shard, count)| format!("shard {shard}  {count} buckets"));
    let moves = places.iter().filter(|place| state(place).is_some()).map(line);
    lines.chain(moves).collect::<Vec<_>>().join("\n")
}

fn list(places: &[Place]) -> String {
    places.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn line(place: &Place) -> String {
    let Place { bucket, shard, version, .. } = place;
    let state = state(place).map(|state| format!("  {state}")).unwrap_or_default();
    format!("bucket {bucket}  shard {shard}  version {version}{state}")
}

fn state(place: &Place) -> Option<String> {
    let moves = place.moves_to.map(|to| format!("moves to shard {to}"));
    moves.or_else(|| place.left_in.map(|shard| format!("to be cleared in shard {shard}")))
}
