"""RFC 6455 without I/O: bytes in, messages and controls out; intents in, bytes out."""
