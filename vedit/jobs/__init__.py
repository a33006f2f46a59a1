"""One function per job: what the command line does, callable from Python."""
