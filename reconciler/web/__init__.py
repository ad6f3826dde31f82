"""A small HTTP/1.1 server, for what other machines may ask of a reconciler."""
