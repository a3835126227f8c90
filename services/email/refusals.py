"""Why a mail could not be sent; no message holds an address, nor the mail server's words.

Those words may repeat the address, so an error of smtplib is not even chained to one of these.
"""

from shared.errors import PermanentFailure, TransientFailure


class CustomerUnknown(PermanentFailure):
    """Nobody has told who ordered it, for as long as it was tried."""


class MailRefusedForNow(TransientFailure):
    """The mail server does not take the mail now (4xx); it may later."""


class MailRefused(PermanentFailure):
    """The mail server will never take the mail (5xx)."""
