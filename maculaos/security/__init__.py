"""Who may be in a realm: the realm's authority, the certificates it signs, and their checks."""
