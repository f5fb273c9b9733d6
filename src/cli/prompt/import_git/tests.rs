//! Plans and what is sent, against a registry in memory that keeps the rules of the server's.

use super::*;
use crate::{
    definitions::git::{
        history::{Branch, ImportedVersion},
        plan::{Action, Origin, Registered},
    },
    domain::{
        id::PromptName,
        prompt::{PromptContent, PromptDraft},
    },
};
use anyhow::anyhow;
use serde_json::Value;

/// Versions are numbered, a semver names one content, labels are on one version each.
#[derive(Default)]
struct Shelf {
    prompts: Inventory,
    bodies: Vec<Value>,
    /// Refuses the call after so many.
    refuses_after: Option<usize>,
}

impl Shelf {
    fn register(&mut self, name: &PromptName, body: &Value) -> Result<Value> {
        if self.refuses_after == Some(self.bodies.len()) {
            return Err(anyhow!("the store is full"));
        }
        self.bodies.push(body.clone());
        let mut draft = body.clone();
        for key in ["name", "type", "labels", "source"] {
            draft.as_object_mut().unwrap().remove(key);
        }
        let draft: PromptDraft = serde_json::from_value(draft)?;
        let versions = self.prompts.entry(name.clone()).or_default();
        let labels: Vec<String> = serde_json::from_value(body["labels"].clone())?;
        for version in versions.iter_mut() {
            version.labels.retain(|label| !labels.contains(label));
        }
        let source: Origin = serde_json::from_value(body["source"].clone())?;
        let known = versions.iter_mut().find(|version| {
            version.source.as_ref() == Some(&source)
                || draft.semver.is_some() && version.semver == draft.semver
        });
        if let Some(known) = known {
            if known.digest != draft.digest() {
                return Err(anyhow!("versions are immutable"));
            }
            known.labels.extend(labels);
            return Ok(json!({"created": false, "version": known.version}));
        }
        let version = u32::try_from(versions.len())? + 1;
        versions.push(Registered {
            version,
            semver: draft.semver.clone(),
            digest: draft.digest(),
            labels,
            source: Some(source),
        });
        Ok(json!({"created": true, "version": version}))
    }

    fn labelled(&self, prompt: &str, label: &str) -> Vec<u32> {
        let versions = self.prompts[prompt].iter();
        let labelled = versions.filter(|version| version.labels.iter().any(|own| own == label));
        labelled.map(|version| version.version).collect()
    }
}

impl Registry for Shelf {
    async fn versions(&mut self, name: &PromptName) -> Result<Vec<Registered>> {
        Ok(self.prompts.get(name).cloned().unwrap_or_default())
    }

    async fn create(&mut self, body: &Value) -> Result<Value> {
        let name = PromptName::new(body["name"].as_str().unwrap())?;
        assert!(!self.prompts.contains_key(&name), "`{name}` is there");
        self.register(&name, body)
    }

    async fn add(&mut self, name: &PromptName, body: &Value) -> Result<Value> {
        assert!(self.prompts.contains_key(name), "`{name}` is not there");
        assert_eq!(body["name"], Value::Null);
        self.register(name, body)
    }

    async fn label(&mut self, name: &PromptName, label: &str, version: u32) -> Result<Value> {
        for known in self.prompts.get_mut(name).unwrap() {
            known.labels.retain(|own| own != label);
            if known.version == version {
                known.labels.push(label.to_owned());
            }
        }
        Ok(json!({"label": label, "version": version}))
    }
}

fn name(name: &str) -> PromptName {
    PromptName::new(name).unwrap()
}

/// A version whose commit is one digit; with a semver the path has it.
fn version(commit: char, prompt: &str, semver: &str, text: &str) -> ImportedVersion {
    let path = if semver.is_empty() {
        format!("p/{prompt}.md")
    } else {
        format!("p/{prompt}/{semver}.toml")
    };
    ImportedVersion {
        commit: commit.to_string().repeat(40),
        at: "2026-01-01T00:00:00Z".parse().unwrap(),
        path,
        name: name(prompt),
        draft: PromptDraft {
            semver: semver.parse().ok(),
            commit_message: Some(format!("commit {commit}")),
            author: Some("Dev <dev@example.org>".to_owned()),
            ..PromptDraft::of(PromptContent::Text(text.to_owned()))
        },
    }
}

fn branch(branch: &str, prompt: &str, head: usize) -> Branch {
    Branch {
        name: branch.to_owned(),
        label: format!("branch-{branch}"),
        heads: [(name(prompt), head)].into(),
    }
}

fn history(versions: &[ImportedVersion], branches: &[Branch]) -> History {
    History {
        versions: versions.to_vec(),
        branches: branches.to_vec(),
        ..History::default()
    }
}

/// Plans and sends; gives the actions and the notices.
fn import(history: &History, shelf: &mut Shelf) -> (Vec<Action>, Vec<String>, Sent) {
    client::run(async {
        let plan = plan::plan(history, &inventory(history, shelf).await?);
        let sent = registry::send(&plan, shelf).await;
        let actions = plan.steps.iter().map(|step| step.action).collect();
        Ok((actions, plan.notices, sent))
    })
    .unwrap()
}

#[test]
fn a_second_import_does_nothing_and_a_later_one_brings_what_is_new() {
    let mut versions = vec![
        version('1', "a", "", "one"),
        version('2', "a", "", "two"),
        version('3', "b", "", "b"),
    ];
    let mut shelf = Shelf::default();
    let first = history(&versions, &[branch("main", "a", 1)]);
    let (actions, notices, sent) = import(&first, &mut shelf);
    assert_eq!(actions, [Action::First, Action::Next, Action::First]);
    assert!(notices.is_empty() && sent.stopped.is_none() && sent.answers.len() == 3);
    assert_eq!(
        shelf.bodies[1],
        json!({
            "type": "text", "prompt": "two", "config": {}, "author": "Dev <dev@example.org>", "commit_message": "commit 2",
            "labels": ["branch-main"],
            "source": {"git_commit": "2".repeat(40), "path": "p/a.md", "at": "2026-01-01T00:00:00Z"}})
    );
    assert_eq!(
        (&shelf.bodies[2]["name"], shelf.labelled("a", "branch-main")),
        (&json!("b"), vec![2])
    );

    assert_eq!(import(&first, &mut shelf).0, []);
    assert_eq!(shelf.bodies.len(), 3);

    // The branch went on, and another one begins where it was.
    versions.push(version('4', "a", "", "three"));
    let later = history(
        &versions,
        &[
            branch("main", "a", 3),
            branch("old", "a", 1),
            branch("older", "a", 1),
        ],
    );
    assert_eq!(import(&later, &mut shelf).0, [Action::Next, Action::Label(2)]);
    assert_eq!(shelf.labelled("a", "branch-main"), [3]);
    assert_eq!(
        (
            shelf.labelled("a", "branch-old"),
            shelf.labelled("a", "branch-older")
        ),
        (vec![2], vec![2])
    );
    assert_eq!(import(&later, &mut shelf).0, []);
}

#[test]
fn what_a_server_read_from_the_same_files_is_known_by_its_semver() {
    let own = version('1', "a", "1.0.0", "one");
    let mut shelf = Shelf::default();
    let registered = Registered {
        version: 1,
        semver: own.draft.semver.clone(),
        digest: own.draft.digest(),
        ..Registered::default()
    };
    shelf.prompts.insert(name("a"), vec![registered]);
    let history = history(
        &[own, version('2', "a", "1.1.0", "two")],
        &[branch("main", "a", 0)],
    );
    assert_eq!(import(&history, &mut shelf).0, [Action::Next, Action::Label(1)]);
    assert_eq!(shelf.labelled("a", "branch-main"), [1]);
}

#[test]
fn a_taken_semver_is_told_and_left_out() {
    let edited = [
        version('1', "a", "1.0.0", "one"),
        version('2', "a", "1.0.0", "edited"),
        // The same content under the same semver, as a cherry-pick brings it, is the same version.
        version('3', "a", "1.0.0", "one"),
    ];
    let mut shelf = Shelf::default();
    let (actions, notices, sent) = import(&history(&edited, &[branch("pick", "a", 2)]), &mut shelf);
    assert_eq!(actions, [Action::First, Action::Next]);
    assert!(sent.stopped.is_none(), "{sent:?}");
    assert_eq!(
        notices,
        [
            "222222222222:p/a/1.0.0.toml gets no semver: 1.0.0 is taken by commit 111111111111 with other content, and \
          versions are immutable"
        ]
    );
    assert_eq!(
        (&shelf.bodies[0]["semver"], &shelf.bodies[1]["semver"]),
        (&json!("1.0.0"), &Value::Null)
    );
    assert_eq!(shelf.labelled("a", "branch-pick"), [1]);
    assert_eq!(import(&history(&edited, &[]), &mut shelf).0, []);

    // Somebody else's version on the server keeps its semver too.
    let mut shelf = Shelf::default();
    let other = Registered {
        version: 1,
        semver: edited[0].draft.semver.clone(),
        digest: "another".to_owned(),
        ..Registered::default()
    };
    shelf.prompts.insert(name("a"), vec![other]);
    let (actions, notices, _) = import(&history(&edited[..1], &[]), &mut shelf);
    assert_eq!(actions, [Action::Next]);
    assert!(
        notices[0].contains("is taken by version 1 on the server"),
        "{notices:?}"
    );
}

#[test]
fn a_refusal_ends_the_import_and_the_next_one_goes_on() {
    let versions: Vec<_> = ('1'..='4')
        .map(|commit| version(commit, "a", "", &commit.to_string()))
        .collect();
    let history = history(&versions, &[]);
    let mut shelf = Shelf {
        refuses_after: Some(2),
        ..Shelf::default()
    };
    let (_, _, sent) = import(&history, &mut shelf);
    assert_eq!(sent.answers.len(), 2);
    assert_eq!(sent.stopped.unwrap().to_string(), "the store is full");
    shelf.refuses_after = None;
    let (actions, _, sent) = import(&history, &mut shelf);
    assert_eq!((actions.len(), sent.stopped.is_none()), (2, true));
    let commits: Vec<_> = shelf.prompts["a"]
        .iter()
        .map(|known| known.source.as_ref().unwrap().git_commit.clone())
        .collect();
    assert_eq!(
        commits,
        ["1".repeat(40), "2".repeat(40), "3".repeat(40), "4".repeat(40)]
    );
}

#[test]
fn a_plan_in_words() {
    use clap::Parser as _;
    #[derive(clap::Parser)]
    struct Arguments {
        #[command(flatten)]
        import: ImportGit,
    }
    let asked = Arguments::parse_from(["import-git", "repo", "--dry-run"]).import;
    let mut history = history(
        &[version('1', "a", "1.0.0", "one"), version('2', "b", "", "two")],
        &[branch("main", "b", 1)],
    );
    history.tip = "2".repeat(40);
    history.work.commits = 7;
    history.notices.push("a\u{1b}b".to_owned());
    let mut import = Import {
        asked: &asked,
        server: "http://127.0.0.1:8788".to_owned(),
        plan: plan::plan(&history, &Inventory::new()),
        history: &history,
        sent: None,
    };
    assert_eq!(
        shown::text(&import),
        "config/prompts of main (222222222222), 7 commits; server http://127.0.0.1:8788\n\
         \n   prompt  version  commit        date        author                 message   labels\n\
         +  a       1.0.0    111111111111  2026-01-01  Dev <dev@example.org>  commit 1\n\
         +  b       next     222222222222  2026-01-01  Dev <dev@example.org>  commit 2  branch-main\n\
         \n\
         notice: a b\n\
         \n\
         2 versions to register, 0 registered earlier to label; nothing was changed: a dry run\n"
    );
    import.sent = Some(Sent {
        answers: vec![json!({"version": 1})],
        stopped: Some(anyhow!("no")),
    });
    let document = shown::json(&import);
    assert_eq!(document["done"], 1);
    assert_eq!(document["steps"][0]["answer"]["version"], 1);
    assert_eq!(
        document["stopped"],
        "error: 222222222222:p/b.md was not taken: no\n1 of 2 steps are done and stay; run the same command again to go on"
    );
}
