"""A server in a process of its own, which nothing that blocks a test blocks: it accepts one client and answers pings.

``python lone_server.py`` prints its port; with ``speaks`` it also sends a message now and then.
"""

from __future__ import annotations

import base64
import hashlib
import select
import socket
import sys
import time

CLOSE = 0x8
DELAY = 0.05
"""Seconds before an answer, in which a client can begin to block."""
ANSWERS = {CLOSE: CLOSE, 0x9: 0xA}


def accept(connection: socket.socket) -> None:
    """Read the request and accept it."""
    request = b""
    while b"\r\n\r\n" not in request:
        request += connection.recv(65536)
    fields = dict(line.split(b": ", 1) for line in request.lower().split(b"\r\n") if b": " in line)
    name = b"Sec-WebSocket-Key: "
    key = request[request.index(name) + len(name) :].split(b"\r\n")[0]
    assert fields[b"upgrade"] == b"websocket"
    answer = base64.b64encode(hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())  # noqa: S324
    head = (b"HTTP/1.1 101 X", b"Upgrade: websocket", b"Connection: Upgrade", b"Sec-WebSocket-Accept: " + answer)
    connection.sendall(b"\r\n".join(head) + b"\r\n\r\n")


def serve(connection: socket.socket, *, speaks: bool) -> None:
    """Answer pings, until the client closes or has gone."""
    data = b""
    while True:
        if select.select([connection], [], [], 0.05)[0]:
            more = connection.recv(65536)
            if not more:
                return
            data += more
        elif speaks:
            connection.sendall(b"\x81\x01x")
        while len(data) >= 6 and len(data) >= 6 + (data[1] & 127):
            size, opcode, key = data[1] & 127, data[0] & 15, data[2:6]
            payload = bytes(byte ^ key[index % 4] for index, byte in enumerate(data[6 : 6 + size]))
            data = data[6 + size :]
            if opcode in ANSWERS:
                time.sleep(DELAY)
                connection.sendall(bytes((0x80 | ANSWERS[opcode], size)) + payload)
            if opcode == CLOSE:
                return


if __name__ == "__main__":
    with socket.create_server(("127.0.0.1", 0)) as listener:
        print(listener.getsockname()[1], flush=True)
        with listener.accept()[0] as client:
            accept(client)
            serve(client, speaks="speaks" in sys.argv)
