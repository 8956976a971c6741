"""Ports of this machine that tests may use."""

import socket


def free_port() -> int:
    """A port that nobody listens on, for a program that must be told one."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]
