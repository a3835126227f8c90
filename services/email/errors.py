"""Why an email could not be sent.

No message holds an email address. A mail server's reply may repeat the address, so messages hold
only its code, and no smtplib error is the cause or context of one of these errors.
"""

from shared.errors import PermanentFailure, TransientFailure


class CustomerUnknown(PermanentFailure):
    """No OrderPlaced has arrived for this order, and this was the last attempt."""


class MailRefusedForNow(TransientFailure):
    """The mail server refused the email temporarily (4xx)."""


class MailRefused(PermanentFailure):
    """The mail server refused the email permanently (5xx)."""
