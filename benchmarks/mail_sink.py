"""`python -m benchmarks.mail_sink PORT`: a mail server that takes every mail and keeps none."""

import signal
import sys

from aiosmtpd.controller import Controller
from aiosmtpd.handlers import Sink


def main(port: int) -> None:
    """Take mails until asked to end."""
    controller = Controller(Sink, hostname="127.0.0.1", port=port)
    controller.start()
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    controller.stop()


if __name__ == "__main__":
    main(int(sys.argv[1]))
