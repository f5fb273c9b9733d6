//! Tells when the set of definition files, or a file by itself, changed and has come to rest.
//!
//! Owns the question "has anything changed?", never reads a file and never says what changed: the listener loads
//! everything again. A change is found by comparing fingerprints of the folders, so a rename over a file, a swapped
//! link, a deletion and a folder that appears late are all alike. The system's notifications only make the next look
//! come sooner; where they are missing or lost, a look every [`POLL`] finds the change. Called by `app`.

mod settling;

pub use settling::{Changed, Fingerprint, Settling};

use super::{
    load::DefinitionDirs,
    walk::{Depth, definition_files},
};
use notify::{
    EventKind, RecommendedWatcher, RecursiveMode, Watcher as _,
    event::{AccessKind, AccessMode},
};
use std::{
    fs,
    hash::{DefaultHasher, Hash, Hasher},
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::{
    sync::{Notify, mpsc},
    task::{self, JoinHandle},
    time::{Instant, sleep, timeout},
};

/// The longest time between two looks at the folders.
pub const POLL: Duration = Duration::from_millis(400);
/// How long the files must stay the same before a change is told: a file is written in more than one step.
pub const QUIET: Duration = Duration::from_millis(200);
/// The time between looks while a change comes to rest.
const RECHECK: Duration = Duration::from_millis(50);
/// The shortest time between two looks, however many notifications come.
const BREATHER: Duration = Duration::from_millis(20);

/// What is looked at.
#[derive(Debug)]
enum Watched {
    Definitions(DefinitionDirs),
    File(PathBuf),
}

/// Watches the folders from its creation on; ends when it is dropped.
pub struct Watcher {
    changes: mpsc::Receiver<Changed>,
    task: JoinHandle<()>,
}

impl Watcher {
    /// Begins to watch. Create it before the first load: a change in between is then told and not missed.
    ///
    /// Must be called inside a tokio runtime with its timer on.
    #[must_use]
    pub fn start(dirs: DefinitionDirs) -> Self {
        Self::of(Watched::Definitions(dirs))
    }

    /// The same for one file, which may be replaced and may be missing for a while.
    #[must_use]
    pub fn of_file(file: PathBuf) -> Self {
        Self::of(Watched::File(file))
    }

    fn of(watched: Watched) -> Self {
        // One waiting announcement says all there is to say, so one place is enough.
        let (sender, changes) = mpsc::channel(1);
        let settling = Settling::new(watched.fingerprint(), QUIET);
        let task = task::spawn(watch(watched, settling, sender));
        Self { changes, task }
    }

    /// Waits for the next change that has come to rest. Several changes that nobody waited for are one. None when
    /// watching has ended. Cancelling the wait loses nothing.
    pub async fn changed(&mut self) -> Option<Changed> {
        self.changes.recv().await
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn watch(watched: Watched, mut settling: Settling, changes: mpsc::Sender<Changed>) {
    let watched = Arc::new(watched);
    let touched = Arc::new(Notify::new());
    let mut notifications = armed(&watched, &touched).await;
    loop {
        let wait = if settling.is_pending() { RECHECK } else { POLL };
        // A touch only ends the wait; an elapsed wait is a poll.
        let _ = timeout(wait, touched.notified()).await;
        let looked_at = Instant::now();
        let of = Arc::clone(&watched);
        let Ok(seen) = task::spawn_blocking(move || of.fingerprint()).await else {
            continue;
        };
        if let Some(changed) = settling.observe(seen, looked_at) {
            if let Err(mpsc::error::TrySendError::Closed(_)) = changes.try_send(changed) {
                return;
            }
            // Folders may have been replaced, and notifications follow a folder and not its name.
            drop(notifications);
            notifications = armed(&watched, &touched).await;
        }
        sleep(BREATHER).await;
    }
}

/// Sets up notifications where waiting for a slow disk harms nobody.
async fn armed(watched: &Arc<Watched>, touched: &Arc<Notify>) -> Option<RecommendedWatcher> {
    let (watched, touched) = (Arc::clone(watched), Arc::clone(touched));
    let armed = task::spawn_blocking(move || notifications(&watched, &touched)).await;
    armed.ok().flatten()
}

/// Asks the system to tell of changes; none where it cannot, which the polling makes up for.
fn notifications(watched: &Watched, touched: &Arc<Notify>) -> Option<RecommendedWatcher> {
    let touched = Arc::clone(touched);
    let tell = move |event: notify::Result<notify::Event>| {
        // Looking at the folders is an access too: only a closed write is news.
        let is_look = |kind| match kind {
            EventKind::Access(access) => access != AccessKind::Close(AccessMode::Write),
            _ => false,
        };
        if event.map_or(true, |event| !is_look(event.kind)) {
            touched.notify_one();
        }
    };
    let complain = |what: &str, error: &notify::Error| {
        tracing::debug!(%error, "no file notifications for {what}, looking every {POLL:?}");
    };
    let mut watcher = notify::recommended_watcher(tell)
        .inspect_err(|error| complain("definitions", error))
        .ok()?;
    for (dir, mode) in watched.folders() {
        if let Err(error) = watcher.watch(dir, mode) {
            complain(&dir.display().to_string(), &error);
        }
    }
    Some(watcher)
}

impl Watched {
    /// Where something may happen. A file's folder and not the file: notifications of a file end when it is replaced.
    fn folders(&self) -> Vec<(&Path, RecursiveMode)> {
        match self {
            Self::Definitions(dirs) => vec![
                (&dirs.prompts, RecursiveMode::Recursive),
                (&dirs.experiments, RecursiveMode::NonRecursive),
            ],
            Self::File(file) => {
                let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
                vec![(folder.unwrap_or(Path::new(".")), RecursiveMode::NonRecursive)]
            }
        }
    }

    /// What it looks like from outside: every file's path, length, times and identity, links followed.
    fn fingerprint(&self) -> Fingerprint {
        let mut hasher = DefaultHasher::new();
        match self {
            Self::Definitions(dirs) => {
                add_folder(&mut hasher, &dirs.prompts, Depth::Recursive);
                add_folder(&mut hasher, &dirs.experiments, Depth::Flat);
            }
            Self::File(file) => add_file(&mut hasher, fs::metadata(file)),
        }
        Fingerprint::new(hasher.finish())
    }
}

fn add_folder(hasher: &mut DefaultHasher, dir: &Path, depth: Depth) {
    let walk = definition_files(dir, depth);
    walk.files.len().hash(hasher);
    for file in walk.files {
        file.path.hash(hasher);
        add_file(hasher, file.metadata);
    }
    for mistake in walk.mistakes {
        mistake.to_string().hash(hasher);
    }
}

fn add_file(hasher: &mut DefaultHasher, metadata: io::Result<fs::Metadata>) {
    match metadata {
        Ok(metadata) => {
            metadata.len().hash(hasher);
            metadata.modified().ok().hash(hasher);
            #[cfg(unix)]
            {
                use std::os::unix::fs::MetadataExt as _;
                // The time of change also moves when a file is made readable, or its time is set back.
                (metadata.dev(), metadata.ino()).hash(hasher);
                (metadata.ctime(), metadata.ctime_nsec()).hash(hasher);
            }
        }
        Err(error) => error.kind().hash(hasher),
    }
}
