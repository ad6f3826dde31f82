"""Where the desired state comes from: Git repositories, fetched and read without trust."""
