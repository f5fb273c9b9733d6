//! collector: see the module's parts.
