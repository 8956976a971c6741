"""A port that answers whatever it is told to."""

import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest


@pytest.fixture
def answering_port():
    """A port, and the function that sets the status of its answers."""
    status = [200]

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(status[0])
            self.end_headers()

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server.server_port, lambda code: status.__setitem__(0, code)
    server.shutdown()
    server.server_close()
    thread.join(10)
