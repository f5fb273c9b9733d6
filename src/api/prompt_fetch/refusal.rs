//! Why nothing is answered, in the words and the shape that Langfuse's clients know.

use crate::{
    api::access::Refused,
    domain::{prompt::composition::CompositionError, token::TokenError},
};
use hyper::StatusCode;

/// The most of a name from an address that is repeated in an answer.
const LONGEST_ECHO: usize = 80;

/// An error of this API: `{"message", "error"}`, where `error` is a name that clients match on.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    /// The query or the name makes no sense.
    #[error("{0}")]
    BadRequest(String),
    /// No prompt, or no such version or label of it.
    #[error("Prompt not found: {0}")]
    NotFound(String),
    /// An address that is not one of these.
    #[error("only prompts can be read here: GET /api/public/v2/prompts; traces go to another host")]
    NothingHere,
    /// A change.
    #[error("prompts are only read here; they are registered at the control plane: POST /api/v1/prompts")]
    ReadOnly,
    /// Who asks is not known.
    #[error(
        "{0}; send Basic credentials with the name of a token as public key and the token as secret key, or \
         `Authorization: Bearer …`"
    )]
    NotAdmitted(String),
    /// Who asks may not read.
    #[error("{0}")]
    Forbidden(String),
    /// What is included is gone, or has grown beyond the bounds.
    #[error("{0}")]
    Conflict(#[from] CompositionError),
    /// A bug.
    #[error("an internal error, which has been logged")]
    Failed,
}

impl Refusal {
    /// There is no such prompt, version or label; `asked` says which, as ` with label 'production'`.
    pub(super) fn not_found(name: &str, asked: &str) -> Self {
        Self::NotFound(format!("'{}'{asked}", shortened(name)))
    }

    /// The name of the error.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::BadRequest(_) => "InvalidRequestError",
            Self::NotFound(_) | Self::NothingHere => "LangfuseNotFoundError",
            Self::ReadOnly => "MethodNotAllowedError",
            Self::NotAdmitted(_) => "UnauthorizedError",
            Self::Forbidden(_) => "ForbiddenError",
            Self::Conflict(_) => "LangfuseConflictError",
            Self::Failed => "InternalServerError",
        }
    }

    /// The status of the answer. What is missing is never a 429 or one from 500 on: clients repeat those many times.
    pub(super) fn status(&self) -> StatusCode {
        match self {
            Self::BadRequest(_) => StatusCode::BAD_REQUEST,
            Self::NotFound(_) | Self::NothingHere => StatusCode::NOT_FOUND,
            Self::ReadOnly => StatusCode::METHOD_NOT_ALLOWED,
            Self::NotAdmitted(_) => StatusCode::UNAUTHORIZED,
            Self::Forbidden(_) => StatusCode::FORBIDDEN,
            Self::Conflict(_) => StatusCode::CONFLICT,
            Self::Failed => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

impl From<Refused> for Refusal {
    fn from(refused: Refused) -> Self {
        let detail = match refused {
            Refused::Missing => "this needs a token".to_owned(),
            Refused::Unreadable => "the `Authorization` header cannot be read".to_owned(),
            Refused::Unknown => TokenError::Unknown.to_string(),
            Refused::Expired(at) => TokenError::Expired(at).to_string(),
            Refused::TooLow { name, role, needed } => {
                let detail =
                    format!("this needs the role {needed}, and the token `{name}` has the role {role}");
                return Self::Forbidden(detail);
            }
        };
        Self::NotAdmitted(detail)
    }
}

/// The beginning of what a caller sent.
pub(super) fn shortened(text: &str) -> String {
    text.chars().take(LONGEST_ECHO).collect()
}
