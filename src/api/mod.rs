//! api: see the module's parts.
