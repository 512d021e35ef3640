"""Events: when a recording differs from normal ones, what changes, and by how much."""
