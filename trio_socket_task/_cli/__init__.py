"""The command line: what each command does is in the module of its name."""
