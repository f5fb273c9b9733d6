//! Replacing tags, within bounds that no set of prompts can get around.

use super::{Composed, Inclusion, LabelChoice, Node, Reference, ResolvedVersion, Target, tags};
use crate::domain::{
    id::{PromptName, VersionNumber},
    prompt::{PromptContent, PromptVersion, content_digest},
};
use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

/// How many prompts may lie inside one another below the one that is resolved.
pub const DEEPEST: usize = 5;
/// The most versions that one resolution may take in, each counted once.
pub const MOST_INCLUDED: usize = 256;
/// The largest resolved content, in bytes: prompts that include another one twice double with each level.
pub const LARGEST_RESOLVED: usize = 1_048_576;

/// Why a version cannot be resolved.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CompositionError {
    /// What is included does not exist.
    #[error("prompt `{by}` includes {reference}, which does not exist; register or label it first")]
    Missing {
        /// Where the tag is.
        by: PromptName,
        /// What it asks for.
        reference: Reference,
    },
    /// Messages cannot stand inside a text.
    #[error("prompt `{by}` includes {reference}, which is a chat prompt; only text prompts can be included")]
    NotText {
        /// Where the tag is.
        by: PromptName,
        /// What it asks for.
        reference: Reference,
    },
    /// A prompt that includes itself, directly or not, in whatever version.
    #[error("a prompt cannot include itself: {}", chain(.path))]
    Cycle {
        /// From the first mention to the second.
        path: Vec<PromptName>,
    },
    /// Too many levels.
    #[error("prompts may include each other {DEEPEST} deep: {}", chain(.path))]
    TooDeep {
        /// From the outermost prompt on.
        path: Vec<PromptName>,
    },
    /// The bound of the text.
    #[error("prompt `{prompt}` has more than {LARGEST_RESOLVED} bytes with what it includes")]
    TooLarge {
        /// Where the bound was met.
        prompt: PromptName,
    },
    /// The bound of the graph.
    #[error("prompt `{prompt}` includes more than {MOST_INCLUDED} versions")]
    TooMany {
        /// The outermost prompt.
        prompt: PromptName,
    },
}

fn chain(path: &[PromptName]) -> String {
    let names: Vec<&str> = path.iter().map(PromptName::as_str).collect();
    names.join(" → ")
}

/// Replaces every tag of a version, and of what it includes. `find` gives the version that a reference means; it must
/// give the same one for the same reference.
///
/// # Errors
/// [`CompositionError`]: nothing is served with half of its tags replaced.
pub fn resolve(
    name: &PromptName,
    version: &Arc<PromptVersion>,
    find: &dyn Fn(&Reference) -> Option<Arc<PromptVersion>>,
) -> Result<ResolvedVersion, CompositionError> {
    if version.includes.is_empty() {
        return Ok(ResolvedVersion::verbatim(Arc::clone(version)));
    }
    let mut resolver = Resolver {
        find,
        done: HashMap::new(),
        path: vec![name.clone()],
        graph: BTreeSet::new(),
        chosen: BTreeSet::new(),
    };
    let root = Node {
        prompt: name.clone(),
        version: version.number,
    };
    let mut bytes = 0;
    let content = version.draft.prompt.try_map_texts(|text| {
        let (text, _) = resolver.text(&root, text, bytes)?;
        bytes += text.len();
        Ok(text)
    })?;
    let composed = Composed {
        digest: content_digest(&content, &version.draft.config),
        content,
        graph: resolver.graph.into_iter().collect(),
        chosen: resolver.chosen.into_iter().collect(),
    };
    Ok(ResolvedVersion {
        version: Arc::clone(version),
        composed: Some(Arc::new(composed)),
    })
}

/// A text without tags.
#[derive(Clone)]
struct Included {
    text: Arc<str>,
    below: Below,
}

/// What lies below a text.
#[derive(Clone, Default)]
struct Below {
    /// How many levels.
    levels: usize,
    /// The prompts there.
    prompts: BTreeSet<PromptName>,
}

struct Resolver<'a> {
    find: &'a dyn Fn(&Reference) -> Option<Arc<PromptVersion>>,
    /// A version that is included twice is resolved once.
    done: HashMap<(PromptName, VersionNumber), Included>,
    /// The prompts between the outermost one and the text at hand, both included.
    path: Vec<PromptName>,
    graph: BTreeSet<Inclusion>,
    chosen: BTreeSet<LabelChoice>,
}

impl Resolver<'_> {
    /// A text without tags. `before` bytes of the whole are there already.
    fn text(&mut self, owner: &Node, text: &str, before: usize) -> Result<(String, Below), CompositionError> {
        // Well-formed when it was registered, and versions never change.
        let tags = tags(text).unwrap_or_default();
        let mut resolved = String::with_capacity(text.len());
        let mut below = Below::default();
        let mut from = 0;
        let fits = |bytes: usize| {
            let prompt = owner.prompt.clone();
            (before + bytes <= LARGEST_RESOLVED)
                .then_some(())
                .ok_or(CompositionError::TooLarge { prompt })
        };
        for tag in tags {
            resolved.push_str(&text[from..tag.place.start]);
            from = tag.place.end;
            let included = self.included(owner, &tag.reference)?;
            fits(resolved.len() + included.text.len())?;
            resolved.push_str(&included.text);
            below.levels = below.levels.max(included.below.levels + 1);
            below.prompts.extend(included.below.prompts);
            below.prompts.insert(tag.reference.prompt);
        }
        resolved.push_str(&text[from..]);
        fits(resolved.len())?;
        Ok((resolved, below))
    }

    fn included(&mut self, owner: &Node, reference: &Reference) -> Result<Included, CompositionError> {
        if self.path.contains(&reference.prompt) {
            return Err(CompositionError::Cycle {
                path: self.path_to(&reference.prompt),
            });
        }
        if self.path.len() > DEEPEST {
            return Err(CompositionError::TooDeep {
                path: self.path_to(&reference.prompt),
            });
        }
        let (by, asked) = (|| owner.prompt.clone(), || reference.clone());
        let Some(version) = (self.find)(reference) else {
            return Err(CompositionError::Missing {
                by: by(),
                reference: asked(),
            });
        };
        let PromptContent::Text(text) = &version.draft.prompt else {
            return Err(CompositionError::NotText {
                by: by(),
                reference: asked(),
            });
        };
        let child = Node {
            prompt: reference.prompt.clone(),
            version: version.number,
        };
        self.graph.insert(Inclusion {
            parent: owner.clone(),
            child: child.clone(),
        });
        if let Target::Label(label) = &reference.target {
            self.chosen.insert(LabelChoice {
                prompt: reference.prompt.clone(),
                label: label.clone(),
                version: version.number,
            });
        }
        let key = (child.prompt.clone(), child.version);
        let included = match self.done.get(&key) {
            Some(included) => included.clone(),
            None if self.done.len() == MOST_INCLUDED => {
                return Err(CompositionError::TooMany {
                    prompt: self.path[0].clone(),
                });
            }
            None => {
                let included = self.resolved(&child, &version, text)?;
                self.done.insert(key, included.clone());
                included
            }
        };
        // Met first on another way down, it may lie deeper here, or below what it includes itself.
        if self.path.len() + included.below.levels > DEEPEST {
            return Err(CompositionError::TooDeep {
                path: self.path_to(&reference.prompt),
            });
        }
        if let Some(again) = self
            .path
            .iter()
            .find(|above| included.below.prompts.contains(*above))
        {
            let mut path = self.path_to(&reference.prompt);
            path.push(again.clone());
            return Err(CompositionError::Cycle { path });
        }
        Ok(included)
    }

    fn resolved(
        &mut self,
        child: &Node,
        version: &PromptVersion,
        text: &str,
    ) -> Result<Included, CompositionError> {
        if version.includes.is_empty() {
            return Ok(Included {
                text: text.into(),
                below: Below::default(),
            });
        }
        self.path.push(child.prompt.clone());
        let (text, below) = self.text(child, text, 0)?;
        self.path.pop();
        Ok(Included {
            text: text.into(),
            below,
        })
    }

    fn path_to(&self, prompt: &PromptName) -> Vec<PromptName> {
        let mut path = self.path.clone();
        path.push(prompt.clone());
        path
    }
}
