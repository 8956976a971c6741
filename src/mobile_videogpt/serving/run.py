"""Running the application with uvicorn: it says when it is ready, and ends cleanly."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import logging
import signal
import socket
from collections.abc import Callable
from types import FrameType
from typing import TYPE_CHECKING, Any

from mobile_videogpt.serving.service import Service
from mobile_videogpt.serving.settings import ServerSettings

if TYPE_CHECKING:
    import uvicorn

    from mobile_videogpt.chat import VideoChat

logger = logging.getLogger(__name__)

_BACKLOG = 1024
_MOST_CONNECTIONS = 2000
_OTHER_FILES = 256
# For clients to read what they were told before their connections are closed.
_LAST_WORDS_S = 2.0


def serve(
    chat: VideoChat,
    settings: ServerSettings,
    name: str,
    on_ready: Callable[[str], None] = lambda url: None,
) -> None:
    """Serve a model until the process is told to stop (SIGINT or SIGTERM).

    Args:
        chat: the model.
        settings: how.
        name: what clients call the model.
        on_ready: called with the server's address once it takes requests.

    Raises:
        ValueError: the extra `serve` is not installed, or the address is taken.
    """
    server = build_server(chat, settings, name, on_ready)
    listener = listen(settings)
    allow_files(_MOST_CONNECTIONS)
    # uvicorn raises the signal again when it has ended; being told to stop is no failure.
    before = signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        with contextlib.suppress(KeyboardInterrupt):
            server.run(sockets=[listener])
    finally:
        signal.signal(signal.SIGTERM, before)


def require_packages() -> None:
    """Find out whether the extra `serve` is installed.

    Raises:
        ValueError: it is not.
    """
    for package in ("fastapi", "uvicorn", "prometheus_client", "python_multipart"):
        if importlib.util.find_spec(package) is None:
            raise ValueError(
                f"serving needs the package {package}: "
                "pip install -c constraints.txt mobile-videogpt[serve]"
            )


def listen(settings: ServerSettings) -> socket.socket:
    """A socket on the address that the settings name.

    Raises:
        ValueError: it cannot be had.
    """
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.host, settings.port))
    except OSError as error:
        listener.close()
        raise ValueError(
            f"{settings.host}:{settings.port} cannot be used ({error.strerror}); choose another "
            "--port, or --host"
        ) from error
    listener.listen(_BACKLOG)
    return listener


def allow_files(connections: int) -> None:
    """Let this process have as many files open as there may be connections, if the system does."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + _OTHER_FILES
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):  # what it says is not all that counts
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def build_server(
    chat: VideoChat,
    settings: ServerSettings,
    name: str,
    on_ready: Callable[[str], None] = lambda url: None,
) -> uvicorn.Server:
    """A server that is not running yet; see `serve`.

    Raises:
        ValueError: the extra `serve` is not installed.
    """
    require_packages()
    import uvicorn

    from mobile_videogpt.serving.api.app import create_app
    from mobile_videogpt.serving.api.connections import ImpatientProtocol

    class Server(uvicorn.Server):
        """Drains the service before connections are closed."""

        service = Service(chat, settings, name)

        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets=sockets)
            if self.started and sockets:
                on_ready(_address(sockets[0]))

        def handle_exit(self, sig: int, frame: FrameType | None) -> None:
            # Before uvicorn looks: nothing new is taken from now on.
            self.service.is_draining = True
            super().handle_exit(sig, frame)

        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            draining = asyncio.create_task(self.service.drain(settings.shutdown_s))
            await super().shutdown(sockets=sockets)
            await draining

    config = uvicorn.Config(
        create_app(Server.service),
        log_config=None,
        access_log=False,
        server_header=False,
        http=ImpatientProtocol,
        ws="none",
        limit_concurrency=_MOST_CONNECTIONS,
        backlog=_BACKLOG,
        timeout_graceful_shutdown=int(settings.shutdown_s + _LAST_WORDS_S) + 1,
        h11_max_incomplete_event_size=1 << 16,
    )
    return Server(config)


def _address(listener: socket.socket) -> str:
    host, port, *_ = listener.getsockname()
    shown: Any = f"[{host}]" if ":" in host else host
    return f"http://{shown}:{port}"
