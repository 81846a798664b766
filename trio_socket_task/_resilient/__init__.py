"""The resilient socket: stays connected, loses nothing silently, never storms the server."""
