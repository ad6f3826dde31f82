"""The reconciler: makes one machine match the specs in a Git repository."""
