//! guardrails: see the module's parts.
