"""Health probes: what is asked of an app to know whether it does its work, and what that says."""
