"""The webhook receiver: a Git host tells of a push, and the reconciler asks Git at once."""
