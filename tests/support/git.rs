//! Real git repositories, made with `git` itself; the same commands give the same commits on every machine.
#![allow(dead_code, unreachable_pub, reason = "each test file uses a part of it")]

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// A repository whose first branch is `main`, and whose clock moves an hour with every commit.
pub struct Repo {
    folder: tempfile::TempDir,
    hours: std::cell::Cell<u32>,
}

impl Repo {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let repo = Self {
            folder,
            hours: std::cell::Cell::new(0),
        };
        repo.git(&["init", "-q", "-b", "main"]);
        repo
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        let path = self.file(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("git");
        let date = format!("{} +0100", 1_767_225_600 + u64::from(self.hours.get()) * 3_600);
        command
            .arg("-C")
            .arg(self.path())
            .args(["-c", "protocol.file.allow=always"])
            .args(arguments)
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_AUTHOR_NAME", "Dev")
            .env("GIT_AUTHOR_EMAIL", "dev@example.org")
            .env("GIT_COMMITTER_NAME", "CI")
            .env("GIT_COMMITTER_EMAIL", "ci@example.org")
            .env("GIT_AUTHOR_DATE", &date)
            .env("GIT_COMMITTER_DATE", &date)
            .env_remove("GIT_DIR");
        command
    }

    /// What `git` says; it must succeed.
    pub fn git(&self, arguments: &[&str]) -> String {
        let output = self.command(arguments).output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "git {arguments:?}: {errors}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// Whether `git` succeeds.
    pub fn tries(&self, arguments: &[&str]) -> bool {
        self.command(arguments).output().unwrap().status.success()
    }

    /// Commits everything; gives the commit's id.
    pub fn commit(&self, message: &str) -> String {
        self.hours.set(self.hours.get() + 1);
        self.git(&["add", "-A"]);
        self.git(&["commit", "-q", "--allow-empty", "-m", message]);
        self.git(&["rev-parse", "HEAD"])
    }

    /// One file and its commit.
    pub fn commit_file(&self, name: &str, bytes: impl AsRef<[u8]>, message: &str) -> String {
        self.write(name, bytes);
        self.commit(message)
    }

    /// Goes on with a branch, which begins here when it is new.
    pub fn branch(&self, name: &str) {
        if !self.tries(&["checkout", "-q", name]) {
            self.git(&["checkout", "-q", "-b", name]);
        }
    }

    /// Many commits of one file each on `main`, in one stream.
    pub fn fast_import(&self, commits: impl Iterator<Item = (String, String)>) {
        let mut stream = String::new();
        for (index, (path, text)) in commits.enumerate() {
            let message = format!("commit {index}");
            stream += &format!(
                "commit refs/heads/main\nmark :{0}\ncommitter CI <ci@example.org> {1} +0000\ndata {2}\n{message}\n\
                 M 100644 inline {path}\ndata {3}\n{text}\n",
                index + 1,
                1_767_225_600 + index,
                message.len(),
                text.len(),
            );
        }
        let mut child = self
            .command(&["fast-import", "--quiet"])
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(stream.as_bytes()).unwrap();
        assert!(child.wait().unwrap().success());
    }
}
