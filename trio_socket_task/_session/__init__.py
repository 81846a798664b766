"""One socket's tasks: they open, serve and end its connection."""
