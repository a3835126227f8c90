"""A way between a process and a server that can be cut while both ends believe in it.

Bytes that cannot pass are kept and go on later, as TCP would send them again.
"""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any, Literal

Way = Literal["up", "down"]
"""To the server, or from it."""

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Gate:
    """A port of this machine that leads to a server.

    Attributes:
        port: where the process connects.
    """

    def __init__(self, upstream: tuple[str, int]) -> None:
        self._upstream = upstream
        self._pass: dict[Way, asyncio.Event] = {"up": asyncio.Event(), "down": asyncio.Event()}
        for each in self._pass.values():
            each.set()
        self._servers: set[asyncio.StreamWriter] = set()
        self._forgotten: set[asyncio.StreamWriter] = set()
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
        for each in self._pass.values():
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
            self._forgotten.discard(server[1])
            for _, writer in (client, server):
                writer.close()

    async def _pump(self, way: Way, reader: asyncio.StreamReader, to: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65_536):
                await self._pass[way].wait()
                if to not in self._forgotten:
                    to.write(data)
                    await to.drain()
        except OSError:
            pass  # one end has gone, and the other is told so
        await self._pass[way].wait()
        if way == "up" or not self._forgotten:
            to.close()

    def shut(self, *ways: Way) -> None:
        for way in ways:
            self._pass[way].clear()

    def reopen(self) -> None:
        for each in self._pass.values():
            each.set()
        self._forgotten.clear()

    def forget(self) -> None:
        """Hang up on the server; the clients do not hear of it."""
        self._forgotten |= self._servers
        for each in self._servers:
            each.transport.abort()


class Gates:
    """All gates, and the thread that they live in."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._gates: list[Gate] = []
        self._thread = threading.Thread(target=self._loop.run_forever, name="gates", daemon=True)
        self._thread.start()

    def add(self, upstream: tuple[str, int]) -> Gate:
        gate = Gate(upstream)
        self._wait(gate.open())
        self._gates.append(gate)
        return gate

    def cut(self, gate: Gate, *ways: Way) -> None:
        """Let nothing pass that way."""
        self._soon(lambda: gate.shut(*ways))

    def half_open(self, gate: Gate) -> None:
        """The server loses the connections, and the process believes in them."""
        self._soon(gate.forget)

    def heal(self, gate: Gate) -> None:
        """Let all pass again."""
        self._soon(gate.reopen)

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
