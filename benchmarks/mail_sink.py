"""`python -m benchmarks.mail_sink PORT`: a mail server that accepts every mail and discards it.

It implements only the SMTP commands that a client needs, so that it costs little.
Source: https://www.rfc-editor.org/rfc/rfc5321#section-4.5.1
"""

import asyncio
import signal
import sys

_BYE = b"221 Bye\r\n"
_RESPONSES = {
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


class SmtpSession(asyncio.Protocol):
    """The SMTP session of one client."""

    def __init__(self) -> None:
        self._received = b""
        self._receives_mail = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the greeting."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - true for a server's protocols
        self._transport = transport
        transport.write(b"220 sink\r\n")

    def data_received(self, data: bytes) -> None:
        """Respond to each command, and to each mail once it is complete."""
        self._received += data
        while True:
            output, end, rest = self._received.partition(_END if self._receives_mail else b"\r\n")
            if not end:
                return
            self._received = rest
            response = self._response(output)
            self._transport.write(response)
            if response == _BYE:
                self._transport.close()

    def _response(self, output: bytes) -> bytes:
        if self._receives_mail:
            self._receives_mail = False
            return b"250 OK\r\n"
        command = output[:4].upper()
        self._receives_mail = command == b"DATA"
        return _RESPONSES.get(command, b"502 Not known here\r\n")


async def main(port: int) -> None:
    """Accept mails until SIGTERM or SIGINT."""
    loop = asyncio.get_running_loop()
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    server = await loop.create_server(SmtpSession, "127.0.0.1", port)
    async with server:
        await stopping.wait()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
