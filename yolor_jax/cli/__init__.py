"""The command line: the only place, with the two main files, that knows configs and arguments."""
