"""Fetching what a client names, without becoming its way into this network.

Every address is resolved once, all of what it resolves to must be public, and the connection goes
to what was checked: a name that changes its mind in between gains nothing. Redirects are followed
by the same rules; proxies and credentials of the environment are never used.
"""

from __future__ import annotations

import http.client
import ipaddress
import socket
import ssl
import time
import urllib.parse
from typing import Any

from mobile_videogpt.serving.errors import ApiError, bad_request

_MOST_REDIRECTS = 3
_CONNECT_S = 5.0
_TOTAL_S = 30.0
_PIECE = 1 << 16
_PORTS = {"http": 80, "https": 443}


def fetch(address: str, max_bytes: int) -> bytes:
    """What an http(s) address serves.

    Args:
        address: as the client wrote it.
        max_bytes: more is refused.

    Raises:
        ApiError: the address is not public, or cannot be fetched.
    """
    deadline = time.monotonic() + _TOTAL_S
    for _ in range(_MOST_REDIRECTS + 1):
        connection, target = _connect(address)
        try:
            reply = _get(connection, target)
            location = reply.getheader("Location")
            if reply.status in (301, 302, 303, 307, 308) and location:
                address = urllib.parse.urljoin(address, location)
                continue
            if reply.status != 200:
                raise bad_request(f"the video's server answered {reply.status}: check the address")
            return _body(reply, max_bytes, deadline)
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise bad_request("the video's server could not be read: try again later") from error
        finally:
            connection.close()
    raise bad_request("the video's address is redirected too often: give the final one")


def _connect(address: str) -> tuple[http.client.HTTPConnection, str]:
    """A connection to a checked address, and what to ask for there."""
    try:
        parts = urllib.parse.urlsplit(address)
        port = parts.port or _PORTS.get(parts.scheme, 0)
        host = (parts.hostname or "").encode("idna").decode("ascii")
    except (ValueError, UnicodeError):
        raise bad_request("the video's address is not valid: check it") from None
    if parts.scheme not in _PORTS or not host or parts.username or parts.password:
        raise bad_request("a video's address must be http(s)://host/path, without a password")
    checked = public_address(host, port)
    kind = _PinnedHttps if parts.scheme == "https" else _PinnedHttp
    target = urllib.parse.quote(parts.path or "/", safe="/%:@!$&'()*+,;=~-._")
    query = urllib.parse.quote(parts.query, safe="/%:@!$&'()*+,;=~-._?")
    return kind(host, port, checked), f"{target}?{query}" if query else target


def public_address(host: str, port: int) -> str:
    """An address of `host`, once all of them are known to be public.

    Raises:
        ApiError: one is not, or there is none.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise bad_request("the video's host is not known: check the address") from None
    addresses = [str(entry[4][0]) for entry in found]
    if not addresses or not all(_is_public(address) for address in addresses):
        raise ApiError(403, "the video's address is not public: send the video itself", "private")
    return addresses[0]


def _is_public(address: str) -> bool:
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        # A private IPv4 address in the clothes of an IPv6 one is still private.
        inner = ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)
        if inner is not None and not _is_public(str(inner)):
            return False
        if ip in ipaddress.ip_network("64:ff9b::/96"):
            return _is_public(str(ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)))
    return ip.is_global and not ip.is_multicast


class _PinnedHttp(http.client.HTTPConnection):
    """Asks for `host`, but connects to the address that was checked."""

    def __init__(self, host: str, port: int, address: str) -> None:
        super().__init__(host, port, timeout=_CONNECT_S)
        self._address = address

    def connect(self) -> None:
        """Open the socket."""
        self.sock = socket.create_connection((self._address, self.port), self.timeout)


class _PinnedHttps(_PinnedHttp):
    """The same over TLS, with the certificate checked for the name."""

    default_port = 443

    def connect(self) -> None:
        """Open the socket."""
        super().connect()
        context = ssl.create_default_context()
        self.sock = context.wrap_socket(self.sock, server_hostname=self.host)


def _get(connection: http.client.HTTPConnection, target: str) -> http.client.HTTPResponse:
    headers = {"User-Agent": "mobile-videogpt", "Accept": "*/*", "Accept-Encoding": "identity"}
    connection.request("GET", target, headers=headers)
    return connection.getresponse()


def _body(reply: http.client.HTTPResponse, max_bytes: int, deadline: float) -> bytes:
    too_large = bad_request(f"the video is larger than the {max_bytes} bytes that are allowed")
    if reply.length is not None and reply.length > max_bytes:
        raise too_large
    pieces: list[bytes] = []
    size = 0
    read: Any = reply.read1  # what has come, so that a server that trickles meets the deadline
    while piece := read(_PIECE):
        pieces.append(piece)
        size += len(piece)
        if size > max_bytes:
            raise too_large
        if time.monotonic() > deadline:
            raise bad_request("the video's server is too slow: upload the video instead")
    return b"".join(pieces)
