"""The errors of sending an email.

No message holds an email address. A mail server's reply may repeat the address, so a message holds
only the code of the reply, and no smtplib error is the cause or context of one of these errors.
"""

from shared.errors import PermanentFailure, TransientFailure


class CustomerUnknown(PermanentFailure):
    """No OrderPlaced has arrived for this order, and this was the last attempt."""


class MailRefusedForNow(TransientFailure):
    """The mail server refused the email temporarily (4xx)."""


class MailRefused(PermanentFailure):
    """The mail server refused the email permanently (5xx)."""
