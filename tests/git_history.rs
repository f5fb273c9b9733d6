//! Versions out of real repositories: which commits make one, in which order, and what is told.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test stops at the first surprise"
)]

#[path = "support/git.rs"]
mod git;

use git::Repo;
use serin::{
    definitions::git::{
        self as reader, Source,
        error::GitError,
        history::{History, short},
    },
    domain::prompt::PromptContent,
};
use std::{fs, path::Path};

fn source(repository: &Path) -> Source {
    Source {
        repository: repository.to_owned(),
        reference: "main".to_owned(),
        path: "p".to_owned(),
        branches: true,
        convert_braces: false,
    }
}

fn read(repo: &Repo) -> History {
    reader::read(&source(repo.path())).unwrap()
}

fn refused(source: &Source) -> String {
    reader::read(source).unwrap_err().to_string()
}

/// `name: first line of the message`, in order.
fn told(history: &History) -> Vec<String> {
    let line = |version: &serin::definitions::git::history::ImportedVersion| {
        let message = version.draft.commit_message.as_deref().unwrap();
        format!("{}: {}", version.name, message.lines().next().unwrap())
    };
    history.versions.iter().map(line).collect()
}

/// `label name: message` for every head.
fn heads(history: &History) -> Vec<String> {
    let told = told(history);
    let mut heads = Vec::new();
    for branch in &history.branches {
        heads.extend(
            branch
                .heads
                .values()
                .map(|head| format!("{} {}", branch.label, told[*head])),
        );
    }
    heads
}

fn mistakes(history: &History) -> Vec<String> {
    history.mistakes.iter().map(ToString::to_string).collect()
}

#[test]
fn every_commit_that_changes_a_prompt_is_a_version_with_its_author_message_and_date() {
    let repo = Repo::new();
    let first = repo.commit_file(
        "p/greeting.md",
        "Hi {{name}}\n",
        "greet\n\nbecause it is polite\n",
    );
    repo.commit_file("src/other.md", "no prompt", "not ours");
    repo.commit_file("p/README.md", "about", "nor this");
    let second = repo.commit_file("p/greeting.md", "Hello {{name}}\n", "softer");
    repo.commit_file(
        "p/support/reply/1.0.0.toml",
        "prompt = \"x\"\nauthor = \"file\"",
        "a version",
    );
    let history = read(&repo);
    assert_eq!(
        told(&history),
        ["greeting: greet", "greeting: softer", "support/reply: a version"]
    );
    let [one, two, three] = history.versions.as_slice() else {
        panic!()
    };
    assert_eq!(
        (one.commit.as_str(), two.commit.as_str()),
        (first.as_str(), second.as_str())
    );
    assert_eq!(one.draft.author.as_deref(), Some("Dev <dev@example.org>"));
    assert_eq!(
        one.draft.commit_message.as_deref(),
        Some("greet\n\nbecause it is polite")
    );
    assert_eq!(
        (one.at.to_string().as_str(), one.path.as_str()),
        ("2026-01-01T01:00:00Z", "p/greeting.md")
    );
    assert_eq!(one.draft.prompt, PromptContent::Text("Hi {{name}}\n".to_owned()));
    assert_eq!(
        three.draft.author.as_deref(),
        Some("Dev <dev@example.org>"),
        "the commit's, not the file's"
    );
    assert_eq!(three.draft.semver, Some(semver::Version::new(1, 0, 0)));
    assert_eq!(history.tip, repo.git(&["rev-parse", "HEAD"]));
    assert_eq!(mistakes(&history), [""; 0]);
}

#[test]
fn a_merge_brings_its_branch_before_itself_and_makes_a_version_only_where_it_mixes() {
    let repo = Repo::new();
    repo.commit_file("p/a.md", "one\n\n\n\n\nend\n", "base");
    repo.branch("feature/warm");
    repo.commit_file("p/a.md", "one\n\n\n\n\nEND\n", "branch a");
    repo.commit_file("p/b.md", "new\n", "branch b");
    repo.branch("main");
    repo.commit_file("p/c.md", "c\n", "main c");
    // Takes both sides as they are.
    repo.git(&["merge", "-q", "--no-ff", "-m", "clean merge", "feature/warm"]);
    let clean = ["a: base", "c: main c", "a: branch a", "b: branch b"];
    assert_eq!(told(&read(&repo)), clean);
    // Both sides changed the same file, so the merged one is neither of them.
    repo.branch("other");
    repo.commit_file("p/a.md", "ONE\n\n\n\n\nEND\n", "top");
    repo.branch("main");
    repo.commit_file("p/a.md", "one\n\n\n\n\nfin\n", "bottom");
    repo.git(&["merge", "-q", "--no-ff", "-m", "mixing merge", "other"]);
    let history = read(&repo);
    assert_eq!(told(&history)[..4], clean);
    assert_eq!(told(&history)[4..], ["a: bottom", "a: top", "a: mixing merge"]);
    let merged = &history.versions[6].draft.prompt;
    assert_eq!(*merged, PromptContent::Text("ONE\n\n\n\n\nfin\n".to_owned()));
    // A merge that throws the other side's work away makes nothing.
    repo.branch("thrown");
    repo.commit_file("p/a.md", "thrown away\n", "lost");
    repo.branch("main");
    repo.commit("unrelated");
    repo.git(&["merge", "-q", "--no-ff", "-s", "ours", "-m", "ours", "thrown"]);
    assert_eq!(told(&read(&repo))[7..], ["a: lost"]);
    let at_main = heads(&read(&repo))
        .into_iter()
        .find(|head| head.starts_with("branch-main a"));
    assert_eq!(at_main.as_deref(), Some("branch-main a: mixing merge"));
}

#[test]
fn branches_are_labels_and_what_is_only_on_them_comes_after_the_ref() {
    let repo = Repo::new();
    repo.commit_file("p/a.md", "1", "base");
    repo.branch("feature/Warm-tone");
    repo.commit_file("p/a.md", "warm", "warmer");
    repo.commit_file("p/b.md", "b", "only here");
    repo.branch("main");
    repo.commit_file("p/a.md", "2", "second");
    let history = read(&repo);
    assert_eq!(
        told(&history),
        ["a: base", "a: second", "a: warmer", "b: only here"]
    );
    assert_eq!(
        heads(&history),
        [
            "branch-feature-warm-tone a: warmer",
            "branch-feature-warm-tone b: only here",
            "branch-main a: second"
        ]
    );
    let alone = reader::read(&Source {
        branches: false,
        ..source(repo.path())
    });
    let alone = alone.unwrap();
    assert_eq!(told(&alone), ["a: base", "a: second"]);
    assert_eq!(heads(&alone), ["branch-main a: second"]);
    // A branch that has everything of another one shares its versions.
    repo.git(&["branch", "copy"]);
    assert_eq!(told(&read(&repo)), told(&history));
    assert!(heads(&read(&repo)).contains(&"branch-copy a: second".to_owned()));
}

#[test]
fn a_branch_of_versioned_files_is_its_highest_semver() {
    let repo = Repo::new();
    repo.commit_file("p/a/1.10.0.toml", "prompt = \"ten\"", "ten");
    repo.commit_file("p/a/1.9.0.toml", "prompt = \"nine\"", "nine, later");
    assert_eq!(heads(&read(&repo)), ["branch-main a: ten"]);
}

#[test]
fn renames_are_new_names_and_deletions_are_nothing() {
    let repo = Repo::new();
    repo.commit_file("p/old.md", "same", "first");
    repo.write("p/deep/new.md", "same");
    fs::remove_file(repo.file("p/old.md")).unwrap();
    let moved = repo.commit("rename");
    let history = read(&repo);
    assert_eq!(told(&history), ["old: first", "deep/new: rename"]);
    assert_eq!(
        history.notices,
        [format!(
            "{}: p/old.md was renamed; `old` goes on as the new prompt `deep/new`",
            short(&moved)
        )]
    );
    assert_eq!(heads(&history), ["branch-main deep/new: rename"]);
    // Another ending is the same prompt, and the same content no new version.
    repo.git(&["mv", "p/deep/new.md", "p/deep/new.txt"]);
    repo.commit("other ending");
    assert_eq!(told(&read(&repo)), told(&history));
    assert_eq!(heads(&read(&repo)), heads(&history));
    fs::remove_file(repo.file("p/deep/new.txt")).unwrap();
    repo.commit("gone");
    let history = read(&repo);
    assert_eq!(told(&history), ["old: first", "deep/new: rename"]);
    assert_eq!(heads(&history), [""; 0]);
    // What comes back is a commit that changes a prompt.
    repo.commit_file("p/old.md", "same", "back");
    assert_eq!(told(&read(&repo))[2..], ["old: back"]);
}

#[test]
fn what_a_model_does_not_see_makes_no_version() {
    let repo = Repo::new();
    repo.commit_file("p/a/1.0.0.toml", "prompt = \"x\"\n", "first");
    repo.commit_file(
        "p/a/1.0.0.toml",
        "# why\nprompt = \"x\"\nlabels = [\"production\"]\n",
        "a comment, a label",
    );
    repo.git(&["update-index", "--chmod=+x", "p/a/1.0.0.toml"]);
    repo.git(&["commit", "-q", "-m", "executable"]);
    assert_eq!(told(&read(&repo)), ["a: first"]);
    repo.commit_file(
        "p/a/1.0.0.toml",
        "prompt = \"x\"\n[config]\nmodel = \"m\"\n",
        "another model",
    );
    assert_eq!(told(&read(&repo)), ["a: first", "a: another model"]);
}

#[test]
fn mistakes_have_commit_path_and_line_and_leave_the_rest_alone() {
    let repo = Repo::new();
    repo.commit_file("p/a.md", "good", "good");
    let bad = repo.commit_file("p/a.md", b"good\nb\xe4d", "latin-1");
    let toml = repo.commit_file("p/b/1.0.0.toml", "prompt = \"x\"\nconfig = ", "unfinished");
    let key = repo.commit_file("p/c.toml", "prompt = \"x\"\nlabel = []", "misspelt");
    let kind = repo.commit_file(
        "p/a.toml",
        "[[prompt]]\nrole = \"user\"\ncontent = \"x\"",
        "a chat",
    );
    std::os::unix::fs::symlink("a.md", repo.file("p/link.md")).unwrap();
    let link = repo.commit("a link");
    let large = repo.commit_file("p/large.txt", "x".repeat((1 << 20) + 1), "large");
    let history = read(&repo);
    assert_eq!(told(&history), ["a: good"]);
    let found = mistakes(&history);
    let expected = [
        (&bad, "p/a.md:2: not valid UTF-8"),
        (&toml, "p/b/1.0.0.toml:2: not valid TOML"),
        (&key, "p/c.toml:2: label: unknown key, did you mean `labels`?"),
        (&kind, "p/a.toml: type: is chat, but a prompt's type is fixed and"),
        (&link, "p/link.md: is a symbolic link"),
        (
            &large,
            "p/large.txt: may have at most 1048576 bytes, found 1048577",
        ),
    ];
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for (found, (commit, text)) in found.iter().zip(expected) {
        let expected = format!("{}:{text}", short(commit));
        assert!(
            found.starts_with(&expected),
            "{found} should begin with {expected}"
        );
    }
    assert_eq!(
        heads(&history),
        [""; 0],
        "nobody knows which version `a` is on main"
    );
    repo.commit_file("p/a.md", "mended", "mended");
    fs::remove_file(repo.file("p/a.toml")).unwrap();
    repo.commit("no chat");
    assert_eq!(heads(&read(&repo)), ["branch-main a: mended"]);
}

#[test]
fn refs_are_branches_tags_and_commits() {
    let repo = Repo::new();
    let first = repo.commit_file("p/a.md", "1", "one");
    repo.git(&["tag", "-a", "v1", "-m", "annotated"]);
    repo.commit_file("p/a.md", "2", "two");
    repo.git(&["pack-refs", "--all"]);
    repo.git(&["gc", "-q"]);
    for (reference, versions) in [
        ("main", 2),
        ("refs/heads/main", 2),
        ("HEAD", 2),
        ("v1", 1),
        (first.as_str(), 1),
        (&first[..10], 1),
    ] {
        let history = reader::read(&Source {
            reference: reference.to_owned(),
            branches: false,
            ..source(repo.path())
        });
        assert_eq!(history.unwrap().versions.len(), versions, "{reference}");
    }
    for unknown in ["master", "", "a..b", "main:p", "ffffffff", &"f".repeat(40)] {
        let refused = refused(&Source {
            reference: unknown.to_owned(),
            ..source(repo.path())
        });
        assert!(
            refused.ends_with("is no branch, tag or commit here; branches: main"),
            "{refused}"
        );
    }
}

#[test]
fn what_is_no_repository_with_prompts_is_told_with_what_to_do() {
    let nothing = tempfile::tempdir().unwrap();
    let plain = refused(&source(nothing.path()));
    assert!(
        plain.contains("is not a git repository: name the folder that holds `.git`"),
        "{plain}"
    );
    assert!(refused(&source(Path::new("/nonexistent"))).contains("is not a git repository"));
    let repo = Repo::new();
    assert!(matches!(reader::read(&source(repo.path())), Err(GitError::Empty)));
    repo.commit_file("q/a.md", "1", "elsewhere");
    repo.commit_file("p/notes.rst", "1", "no prompt");
    let at = |path: &str| Source {
        path: path.to_owned(),
        ..source(repo.path())
    };
    assert!(refused(&at("p")).contains("`p` of `main` never had a prompt: one is `<name>/<semver>.toml`"));
    assert!(refused(&at("x/y")).contains("`main` has no folder `x/y`"));
    assert!(refused(&at("q/a.md")).contains("`q/a.md` is not a folder in `main`"));
    assert!(refused(&at("../p")).contains("without `..`"));
    let all = reader::read(&at(".")).unwrap();
    assert_eq!((all.versions.len(), all.versions[0].path.as_str()), (1, "q/a.md"));
    assert_eq!(all.versions[0].name.as_str(), "q/a");
}

#[test]
fn clones_are_read_bare_and_whole_but_not_shallow() {
    let repo = Repo::new();
    repo.commit_file("p/a.md", "1", "one");
    repo.commit_file("p/a.md", "2", "two");
    let copies = tempfile::tempdir().unwrap();
    let copy = |kind: &[&str]| {
        let to = copies.path().join(kind.join(""));
        let from = format!("file://{}", repo.path().display());
        let to_text = to.display().to_string();
        repo.git(&[&["clone", "-q"], kind, &[&from, &to_text]].concat());
        to
    };
    assert_eq!(
        reader::read(&source(&copy(&["--bare"]))).unwrap().versions.len(),
        2
    );
    assert_eq!(
        reader::read(&source(&copy(&["--no-checkout"])))
            .unwrap()
            .versions
            .len(),
        2
    );
    let shallow = refused(&source(&copy(&["--depth=1"])));
    assert!(shallow.contains("git fetch --unshallow"), "{shallow}");
}

#[test]
fn a_history_that_grew_begins_as_it_was() {
    let repo = Repo::new();
    repo.commit_file("p/a.md", "1", "one");
    repo.branch("side");
    repo.commit_file("p/a.md", "side", "side");
    repo.branch("main");
    repo.commit_file("p/b.md", "2", "two");
    let alone = || {
        let history = reader::read(&Source {
            branches: false,
            ..source(repo.path())
        });
        history.unwrap().versions
    };
    let before = alone();
    repo.git(&["merge", "-q", "--no-ff", "-m", "merge", "side"]);
    repo.commit_file("p/a.md", "3", "three");
    let after = alone();
    assert_eq!(after[..before.len()], before);
    assert_eq!(after.len(), before.len() + 2);
}

#[test]
fn braces_are_converted_when_asked() {
    let repo = Repo::new();
    let text = r#"Answer {question} as {"answer": "…", "of": {user}}, {{kept}}"#;
    repo.commit_file("p/a.md", text, "one");
    let converted = reader::read(&Source {
        convert_braces: true,
        ..source(repo.path())
    });
    let expected = r#"Answer {{question}} as {"answer": "…", "of": {{user}}}, {{kept}}"#;
    let content = |history: History| history.versions[0].draft.prompt.clone();
    assert_eq!(
        content(converted.unwrap()),
        PromptContent::Text(expected.to_owned())
    );
    assert_eq!(content(read(&repo)), PromptContent::Text(text.to_owned()));
}

#[test]
fn work_grows_with_what_changed() {
    const COMMITS: usize = 1_000;
    const PROMPTS: usize = 50;
    let repo = Repo::new();
    // Every second commit changes one of the prompts, the others change what is elsewhere.
    repo.fast_import((0..COMMITS).map(|n| {
        let prompt = (n / 2) % PROMPTS;
        let path = if n % 2 == 0 {
            format!("p/team{}/prompt{prompt}.md", prompt % 5)
        } else {
            "src/main.py".to_owned()
        };
        (path, format!("text {n}"))
    }));
    let history = read(&repo);
    assert_eq!(history.versions.len(), COMMITS / 2);
    let work = history.work;
    assert_eq!(
        (work.commits, work.compared, work.files),
        (COMMITS, COMMITS / 2, COMMITS / 2)
    );
    let order: Vec<String> = history
        .versions
        .iter()
        .map(|version| version.draft.commit_message.clone().unwrap())
        .collect();
    let expected: Vec<String> = (0..COMMITS).step_by(2).map(|n| format!("commit {n}")).collect();
    assert_eq!(order, expected);
}
