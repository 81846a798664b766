"""Bytes on a wire: TCP or what `dial` reaches, TLS, and the opening handshake."""
