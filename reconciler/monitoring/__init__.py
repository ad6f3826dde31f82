"""Monitoring: metrics, and whether the reconciler lives and is ready, for who asks over HTTP."""
