"""`python -m benchmarks.mail_sink PORT`: a mail server that takes every mail and keeps none.

It speaks as much SMTP as a client needs and no more, so that it is the shop that is measured.
Source: https://www.rfc-editor.org/rfc/rfc5321#section-4.5.1
"""

import asyncio
import signal
import sys

_BYE = b"221 Bye\r\n"
_ANSWERS = {
    b"EHLO": b"250 sink\r\n",
    b"HELO": b"250 sink\r\n",
    b"MAIL": b"250 OK\r\n",
    b"RCPT": b"250 OK\r\n",
    b"RSET": b"250 OK\r\n",
    b"NOOP": b"250 OK\r\n",
    b"DATA": b"354 Go on\r\n",
    b"QUIT": _BYE,
}
_END = b"\r\n.\r\n"


class Conversation(asyncio.Protocol):
    """With one client."""

    def __init__(self) -> None:
        self._heard = b""
        self._takes_mail = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Greet."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - what a server gets
        self._transport = transport
        transport.write(b"220 sink\r\n")

    def data_received(self, data: bytes) -> None:
        """Answer each command, and each mail once its end has come."""
        self._heard += data
        while True:
            said, end, rest = self._heard.partition(_END if self._takes_mail else b"\r\n")
            if not end:
                return
            self._heard = rest
            answer = self._answer(said)
            self._transport.write(answer)
            if answer == _BYE:
                self._transport.close()

    def _answer(self, said: bytes) -> bytes:
        if self._takes_mail:
            self._takes_mail = False
            return b"250 OK\r\n"
        command = said[:4].upper()
        self._takes_mail = command == b"DATA"
        return _ANSWERS.get(command, b"502 Not known here\r\n")


async def main(port: int) -> None:
    """Take mails until asked to end."""
    loop = asyncio.get_running_loop()
    asked = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, asked.set)
    server = await loop.create_server(Conversation, "127.0.0.1", port)
    async with server:
        await asked.wait()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
