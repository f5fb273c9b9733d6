//! control_plane: see the module's parts.
