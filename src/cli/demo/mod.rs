//! `serin demo`: a server of its own, sample traffic, a bad canary that freezes and a good experiment that wins.
//!
//! Everything is real but the users: the files, the server and its two listeners, HTTP between them and the gateway.
//! What is left behind: nothing; the folder goes when the demo ends, however it ends.

mod board;
mod ending;
mod gateway;
mod look;
mod script;

use super::{
    client::{self, Server},
    output, server,
};
use anyhow::{Context as _, Result, anyhow, bail};
use board::Board;
use ending::{Ending, Frozen};
use gateway::Gateway;
use look::{Look, Lookout};
use std::time::Duration;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    time::{Instant, MissedTickBehavior, interval},
};

/// The time between two looks at the control plane.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// How long the traffic goes on after the freeze, to see that it holds.
const AFTERMATH: Duration = Duration::from_secs(3);
/// So many looks in a row may fail.
const PATIENCE: u32 = 20;

/// Watch a bad canary freeze and a good experiment win, on a server of its own
///
/// Needs no settings and leaves nothing behind. Exits with 0 when both were seen, otherwise with 1 and what is missing.
#[derive(Debug, clap::Args)]
pub(super) struct Demo {
    /// The longest the traffic may last; it mostly ends much earlier
    #[arg(long, value_name = "N", default_value_t = 45, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
}

/// Plays the demo.
///
/// # Errors
/// What was to be seen and was not, or why the demo could not be played.
pub(super) fn run(demo: &Demo, json: bool) -> Result<()> {
    let runtime = client::runtime()?;
    // Before there is anything to clean up, so that nothing is ever left behind.
    let mut wishes = {
        let _inside = runtime.enter();
        Interruption::listen()?
    };
    let folder = tempfile::Builder::new()
        .prefix("serin-demo-")
        .tempdir()
        .context("cannot make a temporary folder")?;
    let running = server::start(script::write(folder.path())?)?;
    let [data_plane, control_plane] = [running.data_plane, running.control_plane].map(Server::listening_on);
    let ending = runtime.block_on(play(demo, json, &data_plane, control_plane, &mut wishes));
    // The server goes before its folder does, also when the play failed.
    let stopped = running.stop().context("the server did not stop cleanly");
    let removed = folder.close().context("cannot remove the temporary folder");
    let ending = ending?;
    if json {
        output::print_json(&ending.json())?;
    } else {
        output::print(&ending.words())?;
    }
    stopped.and(removed)?;
    let missing = ending.missing();
    if missing.is_empty() {
        Ok(())
    } else {
        Err(anyhow!("{}", missing.join("; ")))
    }
}

async fn play(
    demo: &Demo,
    json: bool,
    data_plane: &Server,
    control_plane: Server,
    wishes: &mut Interruption,
) -> Result<Ending> {
    let mut board = Board::new(json);
    if !json {
        output::print(&format!(
            "A server of its own: decisions on {}, control plane on {}.\n\n",
            data_plane.url(),
            control_plane.url()
        ))?;
    }
    let mut lookout = Lookout::new(control_plane);
    let mut gateway = Gateway::open(data_plane, demo.seconds);
    let limit = Duration::from_secs(demo.seconds);
    let begin = Instant::now();
    let mut frozen_at: Option<Instant> = None;
    let mut failed_looks = 0;
    let mut ticks = interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut last = Look::default();
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = wishes.wanted() => bail!("interrupted"),
        }
        match lookout.look().await {
            Ok(look) => {
                failed_looks = 0;
                last = look;
            }
            Err(error) => {
                failed_looks += 1;
                if failed_looks > PATIENCE {
                    return Err(error.into());
                }
            }
        }
        let elapsed = begin.elapsed();
        board.draw(elapsed, &gateway.tally(), &last)?;
        if let Some(why) = gateway.tally().gave_up() {
            bail!("the gateway gave up: {why}");
        }
        if last.freeze().is_some() {
            frozen_at.get_or_insert_with(Instant::now);
        }
        let seen_enough = frozen_at.is_some_and(|at| at.elapsed() >= AFTERMATH) && last.winner().is_some();
        if seen_enough || elapsed >= limit {
            break;
        }
    }
    gateway.close().await;
    let freeze = match last.freeze() {
        Some(freeze) => {
            let tally = std::mem::take(&mut *gateway.tally());
            Some(Frozen::gather(freeze, &tally, &lookout).await?)
        }
        None => None,
    };
    Ok(Ending {
        freeze,
        winner: last.winner(),
        seconds: begin.elapsed().as_secs_f64(),
    })
}

/// Hears when somebody wants the demo to end.
struct Interruption {
    interrupt: Signal,
    terminate: Signal,
}

impl Interruption {
    /// Listens from now on; must be called inside a runtime.
    fn listen() -> Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// Resolves when the wish has come; cancelling the wait loses nothing.
    async fn wanted(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
