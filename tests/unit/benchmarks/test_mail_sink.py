import smtplib
import sys
from contextlib import closing
from email.message import EmailMessage

from benchmarks.processes import clean_environment, running_process, wait_for
from benchmarks.whole_shop import free_port


def test_mails_are_accepted_over_one_connection() -> None:
    port = free_port()
    mail = EmailMessage()
    mail["From"], mail["To"] = "a@example.com", "b@example.com"
    mail.set_content(".\nA line that is a dot must not end it.\n.\n")

    def is_listening() -> bool:
        try:
            smtplib.SMTP("127.0.0.1", port, timeout=5).close()
        except OSError:
            return False
        return True

    command = [sys.executable, "-m", "benchmarks.mail_sink", str(port)]
    with running_process(command, clean_environment()) as (_, check):
        wait_for(is_listening, seconds=20, what="the mail sink listens", check=check)
        with closing(smtplib.SMTP("127.0.0.1", port, timeout=5)) as server:
            for _ in range(3):
                assert server.send_message(mail) == {}
            assert server.docmd("VRFY", "b")[0] == 502
            assert server.noop()[0] == 250
            assert server.quit()[0] == 221
