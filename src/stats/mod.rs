//! stats: see the module's parts.
