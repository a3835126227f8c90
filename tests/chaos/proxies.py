"""TCP proxies between processes and servers, to cut a connection without closing it.

Blocked bytes are kept and forwarded later, as TCP would retransmit them.
"""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any, Literal

Direction = Literal["up", "down"]
"""To the server, or from it."""

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class TcpProxy:
    """Forwards a local port to a server.

    Attributes:
        port: the local port.
    """

    def __init__(self, upstream: tuple[str, int]) -> None:
        self._upstream = upstream
        self._open: dict[Direction, asyncio.Event] = {
            "up": asyncio.Event(),
            "down": asyncio.Event(),
        }
        for each in self._open.values():
            each.set()
        self._servers: set[asyncio.StreamWriter] = set()
        self._dropped: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._listening: asyncio.Server | None = None
        self.port = 0

    async def open(self) -> None:
        self._listening = await asyncio.start_server(self._begin, "127.0.0.1", 0)
        self.port = self._listening.sockets[0].getsockname()[1]

    async def close(self) -> None:
        if self._listening is not None:
            self._listening.close()
        for each in self._tasks:
            each.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _begin(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(self._connected((reader, writer)))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _connected(self, client: Streams) -> None:
        for each in self._open.values():
            await each.wait()
        try:
            server = await asyncio.open_connection(*self._upstream)
        except OSError:
            client[1].close()
            return
        self._servers.add(server[1])
        try:
            await asyncio.gather(
                self._pump("up", client[0], server[1]), self._pump("down", server[0], client[1])
            )
        finally:
            self._servers.discard(server[1])
            self._dropped.discard(server[1])
            for _, writer in (client, server):
                writer.close()

    async def _pump(
        self, way: Direction, reader: asyncio.StreamReader, to: asyncio.StreamWriter
    ) -> None:
        try:
            while data := await reader.read(65_536):
                await self._open[way].wait()
                if to not in self._dropped:
                    to.write(data)
                    await to.drain()
        except OSError:
            pass  # one end is closed, and the other is closed below
        await self._open[way].wait()
        if way == "up" or not self._dropped:
            to.close()

    def block(self, *proxy_of: Direction) -> None:
        for way in proxy_of:
            self._open[way].clear()

    def unblock(self) -> None:
        for each in self._open.values():
            each.set()
        self._dropped.clear()

    def drop_server_connections(self) -> None:
        """Close the connections to the server, and leave those of the clients open."""
        self._dropped |= self._servers
        for each in self._servers:
            each.transport.abort()


class Proxies:
    """All proxies, in a thread of their own."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._gates: list[TcpProxy] = []
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxies", daemon=True)
        self._thread.start()

    def add(self, upstream: tuple[str, int]) -> TcpProxy:
        proxy = TcpProxy(upstream)
        self._wait(proxy.open())
        self._gates.append(proxy)
        return proxy

    def cut(self, proxy: TcpProxy, *proxy_of: Direction) -> None:
        """Forward nothing in these directions."""
        self._soon(lambda: proxy.block(*proxy_of))

    def half_open(self, proxy: TcpProxy) -> None:
        """Close the server's side of the connections only."""
        self._soon(proxy.drop_server_connections)

    def restore(self, proxy: TcpProxy) -> None:
        """Forward everything again."""
        self._soon(proxy.unblock)

    def close(self) -> None:
        for each in self._gates:
            self._wait(each.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()

    def _soon(self, work: Callable[[], None]) -> None:
        async def done() -> None:
            work()

        self._wait(done())

    def _wait(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(10)
