//! `serin prompt examples`: tagged outcomes as the server writes them, one JSON object a line.

use crate::cli::{
    Global,
    client::{self, segment},
    experiment::{Address, control_plane},
    output,
};
use anyhow::Result;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Examples {
    /// The prompt's name
    name: String,
    /// Only outcomes with this tag
    #[arg(long, value_name = "TAG")]
    tag: Option<String>,
    /// Only outcomes of this version, by semver or number
    #[arg(long, value_name = "VERSION")]
    version: Option<String>,
    /// The most lines, 1 to 10000; the newest come first [default: 1000]
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    #[command(flatten)]
    at: Address,
}

/// Prints the lines as they come, whether or not JSON was asked for.
///
/// # Errors
/// The server's reason to refuse, or that there is none.
pub(super) fn run(asked: &Examples, global: &Global) -> Result<()> {
    let server = control_plane(global, &asked.at)?;
    let lines = client::run(async { Ok(server.connect().await?.get_text(&asked.path()).await?) })?;
    output::print(&lines)
}

impl Examples {
    fn path(&self) -> String {
        let limit = self.limit.map(|limit| limit.to_string());
        let parameters = [
            ("tag", self.tag.as_deref()),
            ("version", self.version.as_deref()),
            ("limit", limit.as_deref()),
        ];
        let given = parameters
            .iter()
            .filter_map(|(name, value)| Some(format!("{name}={}", segment((*value)?))));
        let query: Vec<String> = given.collect();
        format!(
            "/api/v1/prompts/{}/examples?{}",
            segment(&self.name),
            query.join("&")
        )
    }
}
