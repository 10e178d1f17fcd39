//! The command line.

use std::{net::SocketAddr, path::PathBuf};

use clap::{Args, Parser, Subcommand};

use crate::{floor::Mode, process::Process, start::Programs};

/// Loads servers of Phoenix Channels (V2) and says what came of it: a table for people, then one JSON line
#[derive(Debug, Parser)]
#[command(name = "simurgh-load", version)]
pub struct Options {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Sockets that do nothing: memory of each, and what idling costs
    Idle {
        #[command(flatten)]
        drive: Drive,
        /// Sockets, each on its user topic and a conversation
        #[arg(long, default_value_t = 2_000)]
        sockets: usize,
        /// Members of each conversation
        #[arg(long, default_value_t = 10)]
        members: usize,
        /// Seconds between the last join and the look at the memory
        #[arg(long, default_value_t = 20.0)]
        hold: f64,
    },
    /// One conversation of many members
    Fanout {
        #[command(flatten)]
        drive: Drive,
        #[command(flatten)]
        traffic: Traffic,
        /// Its members
        #[arg(long, default_value_t = 1_000)]
        members: usize,
    },
    /// Many conversations at once
    Chat {
        #[command(flatten)]
        drive: Drive,
        #[command(flatten)]
        traffic: Traffic,
        /// Conversations
        #[arg(long, default_value_t = 50)]
        conversations: usize,
        /// Members of each
        #[arg(long, default_value_t = 20)]
        members: usize,
        #[command(flatten)]
        besides: Besides,
    },
    /// One conversation that grows: joins, messages and pages of history at each length
    Log {
        #[command(flatten)]
        drive: Drive,
        /// Messages in it; several are reached one after the other
        #[arg(long = "length", default_values_t = [10, 1_000, 100_000])]
        lengths: Vec<u64>,
        /// Joins, messages and pages that are measured at each length
        #[arg(long, default_value_t = 200)]
        tries: usize,
    },
    /// Users with many conversations: joins of their topics and pages of their lists, the first and later ones
    List {
        #[command(flatten)]
        drive: Drive,
        /// Conversations of each
        #[arg(long, default_value_t = 1_000)]
        conversations: usize,
        /// Users, all of them in all of these
        #[arg(long, default_value_t = 20)]
        users: usize,
    },
    /// Users with many conversations come back at once, while others chat
    Return {
        #[command(flatten)]
        drive: Drive,
        #[command(flatten)]
        traffic: Traffic,
        /// Users, a multiple of 100
        #[arg(long, default_value_t = 5_000)]
        users: usize,
        /// Conversations of each, of 100 members
        #[arg(long, default_value_t = 50)]
        each: usize,
        /// Seconds over which they come
        #[arg(long, default_value_t = 10.0)]
        within: f64,
    },
    /// Starts the servers: how long each takes until it serves, and what its processes then take
    Start {
        #[command(flatten)]
        drive: Drive,
        /// Starts of each
        #[arg(long, default_value_t = 5)]
        times: usize,
    },
    /// Everyone connects and joins, drops at once, and comes back
    Storm {
        #[command(flatten)]
        drive: Drive,
        /// Sockets
        #[arg(long, default_value_t = 2_000)]
        sockets: usize,
        /// Members of each conversation
        #[arg(long, default_value_t = 10)]
        members: usize,
    },
    /// Some readers stall while others go on
    Slow {
        #[command(flatten)]
        drive: Drive,
        #[command(flatten)]
        traffic: Traffic,
        /// Members of the conversation
        #[arg(long, default_value_t = 50)]
        members: usize,
        /// One in so many of them stalls
        #[arg(long, default_value_t = 10)]
        every: usize,
    },
    /// The floor as a server: joins are answered, broadcasts written to all, nothing else
    Floor {
        /// Where it listens
        #[arg(long, default_value = "127.0.0.1:4800")]
        listen: SocketAddr,
        /// How a broadcast reaches a socket
        #[arg(long, default_value = "queued")]
        mode: Mode,
    },
    /// Starts a cluster for other runs of this program to drive, says how, and ends it on Ctrl-C
    Serve {
        #[command(flatten)]
        programs: Programs,
    },
    /// A DynamoDB engine in memory; prints its address
    Engine,
    /// A short run against the floor's figures: fails on loss, duplicates, order, ratios that halved, memory a socket
    Check {
        #[command(flatten)]
        programs: Programs,
        /// The recorded ratios and targets
        #[arg(long, default_value = "tests/load/recorded.json")]
        recorded: PathBuf,
    },
}

/// What is driven, and how clients come.
#[derive(Clone, Debug, Args)]
pub struct Drive {
    /// Servers, one after the other: floor, floor-direct, cluster, single (started here), or HOST:PORT of one that runs
    #[arg(long = "server", value_name = "SERVER", default_values = ["floor", "cluster"])]
    pub servers: Vec<String>,

    #[command(flatten)]
    pub programs: Programs,

    /// A running server's processes, as NAME=PID
    #[arg(long = "pid", value_name = "NAME=PID")]
    pub pids: Vec<Process>,

    /// A running Simurgh's SIMURGH_JWT_SECRET; without it the server is taken for another one
    #[arg(long)]
    pub secret: Option<String>,

    /// Query of the socket's URL at another server; {} is the user
    #[arg(long, default_value = "token={}")]
    pub params: String,

    /// Name of a conversation's topic
    #[arg(long, default_value = "conversation:{}")]
    pub conversation_topic: String,

    /// Name of a user's topic
    #[arg(long, default_value = "user:{}")]
    pub user_topic: String,

    /// Does not join user topics
    #[arg(long)]
    pub no_user_topics: bool,

    /// Source addresses, from 127.0.1.1 on
    #[arg(long, default_value_t = 8)]
    pub sources: u8,

    /// Clients a second; as fast as may be where absent
    #[arg(long)]
    pub connect_rate: Option<f64>,

    /// Clients that connect or join at one time
    #[arg(long, default_value_t = 128)]
    pub at_once: usize,
}

/// What is there besides, and should cost a message nothing.
#[derive(Clone, Copy, Debug, Args)]
pub struct Besides {
    /// Idle sockets besides, in conversations of ten
    #[arg(long, default_value_t = 0)]
    pub idle: usize,

    /// Conversations of two besides, whose members are not connected
    #[arg(long, default_value_t = 0)]
    pub known: usize,
}

/// Messages.
#[derive(Clone, Debug, Args)]
pub struct Traffic {
    /// Messages a second, all conversations together; several are run one after the other
    #[arg(long = "rate", default_values_t = [20.0])]
    pub rates: Vec<f64>,

    /// Seconds of each rate
    #[arg(long, default_value_t = 10.0)]
    pub seconds: f64,

    /// Bytes of a message's content
    #[arg(long, default_value_t = 128)]
    pub bytes: usize,

    /// Goes on from the last rate, a quarter more each time, until p99 of deliveries is beyond so many milliseconds
    #[arg(long, value_name = "MS")]
    pub until_p99: Option<f64>,
}
