"""Keep-alive connections to upstreams, one pool per (host, port, TLS) or unix socket."""

import asyncio
import ssl
from urllib.parse import urlsplit

from tokenhub.kernel.errors import Unavailable, UpstreamError, UpstreamTimeout
from tokenhub.maas.gateway.loopback import no_pacing
from tokenhub.maas.gateway.timers import Timers
from tokenhub.maas.gateway.turn import Turn
from tokenhub.maas.gateway.upstream import UpstreamConnection

IDLE_MAX = 256
"""Idle connections kept per origin."""
IDLE_S = 55.0
"""How long an idle connection is kept: less than the usual 60 s and more of servers."""


class Origin:
    """One place to connect to."""

    __slots__ = ("_idle", "_open", "host", "host_header", "path", "pool", "port", "tls", "unix")

    def __init__(self, pool: "UpstreamPool", url: str) -> None:
        self.pool = pool
        parts = urlsplit(url)
        self.unix = parts.path if parts.scheme == "unix" else ""
        self.tls = parts.scheme == "https"
        self.host = parts.hostname or ""
        self.port = parts.port or (443 if self.tls else 80)
        self.path = b"" if self.unix else parts.path.rstrip("/").encode()
        self.host_header = parts.netloc.rpartition("@")[2].encode() or b"localhost"
        self._idle: list[UpstreamConnection] = []
        self._open: set[UpstreamConnection] = set()

    def idle(self) -> UpstreamConnection | None:
        """A kept connection that still looks alive, the one used last."""
        while self._idle:
            connection = self._idle.pop()
            if (
                not connection.closed
                and connection.transport is not None
                and not connection.transport.is_closing()
            ):
                connection.deadline = 0.0
                return connection
        return None

    async def connect(self, timeout_s: float) -> UpstreamConnection:
        """A new connection. Raises: Unavailable (refused), UpstreamTimeout, UpstreamError (TLS)."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(timeout_s):
                if self.unix:
                    _, connection = await loop.create_unix_connection(self._new, self.unix)
                else:
                    context = self.pool.ssl_context() if self.tls else None
                    transport, connection = await loop.create_connection(
                        self._new, self.host, self.port, ssl=context
                    )
                    no_pacing(transport.get_extra_info("socket"))
        except TimeoutError:
            raise UpstreamTimeout(f"No connection to the upstream within {timeout_s:g} s.") from None
        except ssl.SSLError as error:
            raise UpstreamError(f"TLS with the upstream failed: {error.reason or error}.") from None
        except OSError as error:
            raise Unavailable(
                f"The upstream cannot be reached: {error.strerror or error}.", code="upstream_unreachable"
            ) from None
        self._open.add(connection)
        return connection

    def release(self, connection: UpstreamConnection) -> None:
        """Keep `connection` for the next request."""
        if len(self._idle) >= IDLE_MAX or self.pool.closed:
            connection.abort()
            return
        connection.deadline = self.pool.timers.now + IDLE_S
        self._idle.append(connection)

    def drop_idle(self) -> None:
        """One kept connection was stale, so all are suspect: the next request opens a new one."""
        kept, self._idle = self._idle, []
        for connection in kept:
            connection.abort()

    def forget(self, connection: UpstreamConnection) -> None:
        """`connection` is closed."""
        self._open.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)

    def close(self) -> None:
        """Close every connection."""
        for connection in list(self._open):
            connection.abort()
        self._idle.clear()

    def _new(self) -> UpstreamConnection:
        return UpstreamConnection(self)


class UpstreamPool:
    """All origins of a process."""

    def __init__(self, timers: Timers, turn: Turn) -> None:
        self.timers = timers
        self.turn = turn
        self.closed = False
        self._origins: dict[str, Origin] = {}
        self._ssl: ssl.SSLContext | None = None

    def origin(self, url: str) -> Origin:
        """The origin of `url` (`http://`, `https://`, `unix:///path`)."""
        origin = self._origins.get(url)
        if origin is None:
            origin = self._origins[url] = Origin(self, url)
        return origin

    def ssl_context(self) -> ssl.SSLContext:
        """Verifying, with the system's authorities; made at the first use."""
        if self._ssl is None:
            self._ssl = ssl.create_default_context()
            self._ssl.set_alpn_protocols(["http/1.1"])
        return self._ssl

    def close(self) -> None:
        """Close every connection; none is kept from now on."""
        self.closed = True
        for origin in self._origins.values():
            origin.close()
