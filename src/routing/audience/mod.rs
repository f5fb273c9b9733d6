//! Compiled audiences: which units an experiment may enrol, as a predicate over the attributes of a request.
//!
//! This module owns the language of audiences, the Common Expression Language as crate `cel` has it, from source
//! text to answer: every mistake that can be seen without a request is refused here with its place, and the usual
//! forms become a matcher that costs nanoseconds and no heap. It never sees experiments, reads no clock, logs
//! nothing and counts nothing: the caller counts evaluations that failed. Definitions compile an audience to check
//! it, the compiler of the routing table compiles it to use it, and the walk of a decision asks
//! [`CompiledAudience::matches`].
//!
//! What is ours on top of the language:
//! - A name is always an attribute. A missing attribute is null; a missing field of an attribute that is an object is
//!   an error, as the language has it. `a.b` also finds an attribute whose name is written `a.b`, and prefers it.
//! - `has(plan)` and `has(user.plan)` mean: present and not null. They never fail.
//! - One loop (`all`, `exists`, `exists_one`, `filter`, `map`) may not run inside another, so an answer costs at
//!   most the square of the request.
//! - There are no optional values, messages, type values, times or regular expressions.

mod check;
mod direct;
mod error;
mod interpret;
mod scan;

pub use error::{AudienceError, AudienceEvaluationError, Place};
pub use scan::{MOST_BYTES, MOST_NESTING};

use crate::domain::audience::Attributes;
use direct::Matcher;
use std::{fmt, sync::Arc};

/// An audience, checked and ready to answer. A clone is one reference count.
///
/// ```
/// use serin::{domain::audience::Attributes, routing::audience::CompiledAudience};
///
/// let audience = CompiledAudience::compile(r#"country in ["DE", "FR"] && plan != "enterprise""#)?;
/// let attributes: Attributes<'_> = serde_json::from_str(r#"{"country":"DE"}"#)?;
/// assert_eq!(audience.matches(&attributes), Ok(true));
/// assert_eq!(audience.attributes(), ["country".into(), "plan".into()]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct CompiledAudience(Arc<Compiled>);

struct Compiled {
    matcher: Matcher,
    source: Box<str>,
    attributes: Box<[Box<str>]>,
}

impl CompiledAudience {
    /// Compiles an expression that is true or false.
    ///
    /// # Errors
    ///
    /// [`AudienceError`] with the place of the first mistake: the source is empty, longer than [`MOST_BYTES`],
    /// nested deeper than [`MOST_NESTING`], not an expression, calls what does not exist, or could never be true or
    /// false.
    pub fn compile(source: &str) -> Result<Self, AudienceError> {
        Self::compile_with(source, Matcher::lower)
    }

    /// As [`compile`](Self::compile), but every request is answered by the interpreter: the reference the direct
    /// matcher is tested against.
    ///
    /// # Errors
    ///
    /// As [`compile`](Self::compile).
    #[doc(hidden)]
    pub fn compile_interpreted(source: &str) -> Result<Self, AudienceError> {
        Self::compile_with(source, Matcher::interpret)
    }

    fn compile_with(
        source: &str,
        lower: impl FnOnce(&cel::IdedExpr) -> Matcher,
    ) -> Result<Self, AudienceError> {
        let tokens = scan::scan(source)?;
        let (expression, places) = interpret::parse(source, &tokens)?;
        let attributes = check::check(source, &places, &expression)?;
        Ok(Self(Arc::new(Compiled {
            matcher: lower(&expression),
            source: source.into(),
            attributes,
        })))
    }

    /// Whether the attributes are in the audience. A missing attribute is null.
    ///
    /// # Errors
    ///
    /// [`AudienceEvaluationError`] when the expression does not fit the attributes, such as `age > 30` with a text;
    /// the caller treats that as not in the audience. `false && error` is false and `true || error` is true, in
    /// either order.
    #[inline]
    pub fn matches(&self, attributes: &Attributes<'_>) -> Result<bool, AudienceEvaluationError> {
        self.0.matcher.matches(attributes)
    }

    /// Whether every part became direct comparisons, so that [`matches`](Self::matches) takes nothing from the heap.
    #[must_use]
    pub fn is_direct(&self) -> bool {
        self.0.matcher.is_direct()
    }

    /// The expression as it was written.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.0.source
    }

    /// The attributes the expression looks at, each once, in alphabetical order; of `user.plan` that is `user`.
    #[must_use]
    pub fn attributes(&self) -> &[Box<str>] {
        &self.0.attributes
    }
}

impl fmt::Debug for CompiledAudience {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CompiledAudience")
            .field("source", &self.source())
            .field("is_direct", &self.is_direct())
            .finish_non_exhaustive()
    }
}
