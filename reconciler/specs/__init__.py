"""What the files of a repository may say, and the desired state that they describe."""
