//! store: see the module's parts.
