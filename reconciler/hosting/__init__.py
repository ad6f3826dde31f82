"""Git hosting for sites without a Git server: bare repositories over smart HTTP and ssh."""
