//! Runs an evaluation program: what it is told, what it says, and its end whatever it does.
//!
//! The program has a process group of its own, so that a time limit and Ctrl-C end it with all that it started.

use super::progress::Progress;
use crate::{cli::client, domain::duration_text};
use rustix::process::{Pid, Signal, kill_process_group};
use std::{
    io,
    os::unix::process::ExitStatusExt as _,
    process::{ExitStatus, Stdio},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _},
    process::{Child, ChildStderr, ChildStdin, Command},
    signal::unix::{SignalKind, signal},
    time::{sleep, timeout},
};

/// The largest answer, in bytes.
const LARGEST_ANSWER: u64 = 4 << 20;
/// The longest line of standard error that is kept together, in bytes.
const LONGEST_LINE: usize = 64 << 10;
/// How long a program that has to end may clean up after itself.
const GRACE: Duration = Duration::from_secs(2);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum ProgramError {
    /// There is no shell, or it cannot be talked to.
    #[error("the program cannot be run: {0}")]
    System(#[from] io::Error),
    /// It ended with a failure.
    #[error("the program failed: it ended {0}")]
    Failed(String),
    /// It hangs.
    #[error("the program took longer than {} and was ended: --timeout gives it more", duration_text::format(*.0))]
    Slow(Duration),
    /// Somebody wants to go on without it.
    #[error("interrupted; the program was ended")]
    Interrupted,
    /// It writes and writes.
    #[error("the program wrote more than {LARGEST_ANSWER} bytes to standard output")]
    TooMuch,
}

/// Runs it with this input, to its end; the answer is what it wrote to standard output.
pub(super) fn run(program: &str, input: &str, limit: Duration) -> anyhow::Result<Vec<u8>> {
    let mut progress = Progress::new();
    let done = client::run(async { Ok(answer(program, input, limit, |line| progress.hear(line)).await) })?;
    progress.end();
    Ok(done?)
}

async fn answer(
    program: &str,
    input: &str,
    limit: Duration,
    hear: impl FnMut(&str),
) -> Result<Vec<u8>, ProgramError> {
    let (mut interrupted, mut terminated) =
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let mut child = Command::new("sh")
        .args(["-c", program])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()?;
    let group = child.id();
    let work = talk(&mut child, input, hear);
    tokio::pin!(work);
    let cut = tokio::select! {
        done = &mut work => {
            if done.is_err() {
                end(group, Signal::KILL);
            }
            return done;
        }
        () = sleep(limit) => ProgramError::Slow(limit),
        _ = interrupted.recv() => ProgramError::Interrupted,
        _ = terminated.recv() => ProgramError::Interrupted,
    };
    end(group, Signal::TERM);
    // What it still says is of no more use.
    let _ = timeout(GRACE, work).await;
    end(group, Signal::KILL);
    Err(cut)
}

async fn talk(child: &mut Child, input: &str, hear: impl FnMut(&str)) -> Result<Vec<u8>, ProgramError> {
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let (_, answer, _, status) =
        tokio::try_join!(feed(stdin, input), read(stdout), listen(stderr, hear), async {
            Ok(child.wait().await?)
        })?;
    if status.success() {
        Ok(answer)
    } else {
        Err(ProgramError::Failed(ending(status)))
    }
}

async fn feed(stdin: Option<ChildStdin>, input: &str) -> Result<(), ProgramError> {
    if let Some(mut stdin) = stdin {
        // A program that needs no input may close it unread.
        let _ = stdin.write_all(input.as_bytes()).await;
    }
    Ok(())
}

async fn read(stdout: Option<impl AsyncRead + Unpin>) -> Result<Vec<u8>, ProgramError> {
    let mut answer = Vec::new();
    if let Some(stdout) = stdout {
        stdout.take(LARGEST_ANSWER + 1).read_to_end(&mut answer).await?;
    }
    if answer.len() as u64 > LARGEST_ANSWER {
        Err(ProgramError::TooMuch)
    } else {
        Ok(answer)
    }
}

/// Hands over each line; a carriage return ends one too, as bars that redraw themselves write it.
async fn listen(stderr: Option<ChildStderr>, mut hear: impl FnMut(&str)) -> Result<(), ProgramError> {
    let Some(mut stderr) = stderr else { return Ok(()) };
    let mut tell = |line: &[u8]| {
        if !line.is_empty() {
            hear(&String::from_utf8_lossy(line));
        }
    };
    let (mut line, mut piece) = (Vec::new(), [0; 4096]);
    loop {
        let read = stderr.read(&mut piece).await?;
        if read == 0 {
            tell(&line);
            return Ok(());
        }
        for byte in &piece[..read] {
            if matches!(byte, b'\n' | b'\r') || line.len() >= LONGEST_LINE {
                tell(&line);
                line.clear();
            }
            if !matches!(byte, b'\n' | b'\r') {
                line.push(*byte);
            }
        }
    }
}

fn end(group: Option<u32>, signal: Signal) {
    let group = group
        .and_then(|id| i32::try_from(id).ok())
        .and_then(Pid::from_raw);
    if let Some(group) = group {
        // It may be gone already.
        let _ = kill_process_group(group, signal);
    }
}

fn ending(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("with exit code {code}"),
        (None, Some(signal)) => format!("by signal {signal}"),
        (None, None) => "in an unknown way".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn ran(program: &str, limit: Duration) -> (Result<String, String>, Vec<String>) {
        let mut heard = Vec::new();
        let done = client::run(async {
            Ok(answer(program, "{\"name\": \"a\"}\n", limit, |line| {
                heard.push(line.to_owned())
            })
            .await)
        });
        let done = done.unwrap().map(|bytes| String::from_utf8(bytes).unwrap());
        (done.map_err(|error| error.to_string()), heard)
    }

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn it_is_told_and_heard() {
        let program = r"printf 'one\rtwo\n3/4' >&2; cat";
        let (answer, heard) = ran(program, LONG);
        assert_eq!(answer.as_deref(), Ok("{\"name\": \"a\"}\n"));
        assert_eq!(heard, ["one", "two", "3/4"]);
        assert_eq!(ran("exec 0<&-; echo done", LONG).0.as_deref(), Ok("done\n"));
    }

    #[test]
    fn a_failure_says_how_it_ended() {
        let told = |program| ran(program, LONG).0.unwrap_err();
        assert_eq!(told("exit 3"), "the program failed: it ended with exit code 3");
        assert_eq!(told("kill -9 $$"), "the program failed: it ended by signal 9");
        assert_eq!(
            told("cat /dev/zero"),
            "the program wrote more than 4194304 bytes to standard output"
        );
    }

    #[test]
    fn one_that_hangs_is_ended_with_all_it_started() {
        let folder = tempfile::tempdir().unwrap();
        let pid = folder.path().join("pid");
        // The shell waits for a program of its own, which has the pipes and would keep them open.
        let program = format!("sleep 1000 & echo $! > '{}'; wait", pid.display());
        let (answer, _) = ran(&program, Duration::from_millis(300));
        assert_eq!(
            answer.unwrap_err(),
            "the program took longer than 300ms and was ended: --timeout gives it more"
        );
        let pid: i32 = std::fs::read_to_string(pid).unwrap().trim().parse().unwrap();
        let alive = || {
            // One that ended may wait for somebody to collect it.
            let status = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            !status.is_empty() && !status.contains(") Z ")
        };
        let began = tokio::time::Instant::now();
        while alive() {
            assert!(began.elapsed() < LONG, "{pid} is still there");
            std::thread::yield_now();
        }
    }
}
