"""Fetching leads out of this network or nowhere."""

import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from mobile_videogpt.serving import fetch as fetch_module
from mobile_videogpt.serving.errors import ApiError
from mobile_videogpt.serving.fetch import fetch, public_address

PRIVATE = [
    "127.0.0.1", "127.1.2.3", "10.0.0.1", "172.16.0.9", "192.168.0.1", "169.254.169.254",
    "0.0.0.0", "100.64.0.1", "224.0.0.1", "255.255.255.255", "::1", "::", "fe80::1", "fc00::1",
    "fd12::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::",
    "ff02::1", "192.0.2.1", "198.18.0.1",
]  # fmt: skip


def resolves_to(monkeypatch, *addresses):
    def resolve(host, port, **_):
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (a, port)) for a in addresses]

    monkeypatch.setattr(fetch_module.socket, "getaddrinfo", resolve)


@pytest.mark.parametrize("address", PRIVATE)
def test_private_addresses_are_never_fetched(monkeypatch, address):
    resolves_to(monkeypatch, address)
    with pytest.raises(ApiError, match="not public"):
        public_address("innocent.example", 80)
    resolves_to(monkeypatch, "93.184.216.34", address)  # one good address does not help
    with pytest.raises(ApiError, match="not public"):
        public_address("innocent.example", 80)


@pytest.mark.parametrize("address", ["93.184.216.34", "2606:2800:220:1::1", "8.8.8.8"])
def test_public_addresses_are(monkeypatch, address):
    resolves_to(monkeypatch, address)
    assert public_address("example.org", 443) == address


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/", "http://localhost:8000/", "http://[::1]/", "http://0x7f000001/",
        "http://2130706433/", "http://127.1/", "http://[::ffff:127.0.0.1]/",
    ],
)  # fmt: skip
def test_other_ways_to_write_this_machine(url):
    with pytest.raises(ApiError, match=r"not public|not known"):
        fetch(url, 1000)


@pytest.mark.parametrize(
    "url",
    [
        "ftp://example.org/a", "file:///etc/passwd", "http://", "http:///a", "gopher://x/",
        "http://user:pass@example.org/", "http://example.org:99999/", "http://[::1", "http://\0/",
        "https://" + "a" * 300 + ".example/",
    ],
)  # fmt: skip
def test_addresses_that_are_none(url):
    with pytest.raises(ApiError):
        fetch(url, 1000)


@pytest.fixture
def site(monkeypatch):
    """A web server that counts as public; its pages by path."""
    pages = {}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            status, headers, body = pages.get(self.path, (404, {}, b""))
            seen.append((self.path, self.headers["Host"]))
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    seen = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    real = fetch_module._is_public

    def is_public(address):
        return address == "127.0.0.1" or real(address)

    monkeypatch.setattr(fetch_module, "_is_public", is_public)
    pages["seen"], pages["url"] = seen, f"http://localhost:{server.server_port}"
    yield pages
    server.shutdown()
    server.server_close()


def only_ipv4(monkeypatch):
    real = socket.getaddrinfo

    def resolve(host, port, *_, **__):
        return real(host, port, family=socket.AF_INET, type=socket.SOCK_STREAM)

    monkeypatch.setattr(fetch_module.socket, "getaddrinfo", resolve)


def test_a_public_file_is_fetched_with_its_name(site, monkeypatch):
    only_ipv4(monkeypatch)
    site["/a%20b?x=1"] = (200, {}, b"film")
    assert fetch(f"{site['url']}/a b?x=1", 1000) == b"film"
    assert site["seen"][0][1].startswith("localhost")


def test_redirects_obey_the_same_rules(site, monkeypatch):
    only_ipv4(monkeypatch)
    site["/good"] = (302, {"Location": "/film"}, b"")
    site["/film"] = (200, {}, b"film")
    assert fetch(f"{site['url']}/good", 1000) == b"film"
    site["/bad"] = (302, {"Location": "http://10.0.0.1/"}, b"")
    with pytest.raises(ApiError, match="not public"):
        fetch(f"{site['url']}/bad", 1000)
    site["/file"] = (302, {"Location": "file:///etc/passwd"}, b"")
    with pytest.raises(ApiError, match="must be http"):
        fetch(f"{site['url']}/file", 1000)
    site["/round"] = (302, {"Location": "/round"}, b"")
    with pytest.raises(ApiError, match="too often"):
        fetch(f"{site['url']}/round", 1000)


def test_size_and_status_are_checked(site, monkeypatch):
    only_ipv4(monkeypatch)
    site["/large"] = (200, {"Content-Length": "2000"}, b"x" * 2000)
    site["/silent"] = (200, {}, b"x" * 2000)
    for page in ("/large", "/silent"):
        with pytest.raises(ApiError, match="larger than the 1000"):
            fetch(f"{site['url']}{page}", 1000)
    with pytest.raises(ApiError, match="answered 404"):
        fetch(f"{site['url']}/missing", 1000)


def test_proxies_of_the_environment_are_not_used(site, monkeypatch):
    only_ipv4(monkeypatch)
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    site["/film"] = (200, {}, b"film")
    assert fetch(f"{site['url']}/film", 1000) == b"film"
