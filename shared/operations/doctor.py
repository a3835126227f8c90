"""Checks the broker, the databases and the topology: `shop doctor`.

Each finding that is not well says what to do. The checks change nothing, except that they write and
replace a row to see that the disk is not full. They use each service's own credentials, and
continue when a broker or a database cannot be reached.
"""

from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from functools import partial
from pathlib import Path

from shared.clocks import TOLERANCE
from shared.messaging.ports.broker import Broker
from shared.operations import service_checks
from shared.operations.findings import Finding, run_checks, unknown, well, wrong
from shared.operations.service_checks import opened
from shared.runtime.service import AnyService
from shared.runtime.service_settings import topology
from shared.runtime.settings import OPERATOR, Settings, settings_for
from shared.storage.database import DATABASE_ERRORS, Database


def check(
    services: Sequence[AnyService], visible: Sequence[AnyService], operator: Settings | None
) -> Iterator[Finding]:
    """Check the broker, the topology, and each visible service.

    Args:
        services: all services, whose topology the broker should have.
        visible: the services whose credentials this process may read; at least one.
        operator: settings of the user who may see the topology; None to skip that check, where
            this process may not read them.
    """
    name = visible[0].name if operator is None else OPERATOR
    settings = operator or settings_for(name)
    file = settings.broker_file_of(name)
    is_missing = file is not None and not file.exists()
    with opened(settings, name) as broker:
        missing_file = file if is_missing else None
        [broker_finding] = run_checks(
            "broker",
            partial(_broker, broker, missing_file),
            remedy="" if settings.is_embedded else "see whether it runs, and SHOP_BROKER_URL",
        )
        yield broker_finding
        if not broker_finding.is_wrong and operator is not None:
            yield from run_checks("topology", partial(_topology, services, operator, broker))
            yield from run_checks("broker's resources", partial(_resources, operator, broker))
            yield from run_checks("clocks", partial(_clocks, visible, broker))
    if not broker_finding.is_wrong:
        yield from run_checks("publishers", partial(_publishers, visible))
    for service in visible:
        yield from service_checks.check_service(
            service, has_broker=not broker_finding.is_wrong, is_set_up=not is_missing
        )


def _broker(broker: Broker, missing_file: Path | None, subject: str) -> Iterator[Finding]:
    if missing_file is not None:
        yield wrong(subject, f"its file {missing_file} does not exist: run shop setup")
    else:
        yield well(subject, broker.probe())


def _topology(
    services: Sequence[AnyService], operator: Settings, broker: Broker, subject: str
) -> Iterator[Finding]:
    problems = broker.check(topology(services, operator))
    for problem in problems:
        remedy = "" if "shop setup" in problem else ": run shop setup"
        yield wrong(subject, f"{problem}{remedy}")
    if problems:
        return
    if operator.is_embedded or operator.broker_admin_url:
        yield well(subject, "as the services need it")
    else:
        yield unknown(
            subject,
            "exchanges and queues are as the services need them; bindings and policies are not "
            "checked without SHOP_BROKER_ADMIN_URL",
        )


def _publishers(visible: Sequence[AnyService], subject: str) -> Iterator[Finding]:
    """Which services cannot tell who published a message."""
    settings = {each.name: settings_for(each.name) for each in visible}
    if all(each.is_embedded for each in settings.values()):
        return  # whoever may write the file may write anything
    without_user, lenient = [], []
    for name, each in settings.items():
        with opened(each, name) as broker:
            if broker.user != name:
                without_user.append(name)
            elif not each.require_broker_user:
                lenient.append(name)
    if without_user:
        yield unknown(
            subject,
            f"{', '.join(without_user)} have no broker user of their own: routing keys and sources "
            "of messages are checked, but not who published them",
        )
    elif lenient:
        yield wrong(
            subject,
            f"{', '.join(lenient)} accept messages that name no publisher: when all services run "
            "this version, unset SHOP_REQUIRE_BROKER_USER",
        )
    else:
        yield well(subject, "checked by routing key, source and broker user")


def _resources(operator: Settings, broker: Broker, subject: str) -> Iterator[Finding]:
    if not operator.is_embedded and not operator.broker_admin_url:
        yield unknown(subject, "alarms are not checked without SHOP_BROKER_ADMIN_URL")
        return
    shortages = broker.shortages()
    for shortage in shortages:
        yield wrong(subject, shortage)
    if not shortages:
        yield well(subject, "enough memory and disk, no connection is blocked")


def _clocks(visible: Sequence[AnyService], broker: Broker, subject: str) -> Iterator[Finding]:
    """Whether the servers' clocks are this machine's; nothing where there is no other machine."""
    differences = {"the broker": broker.clock_difference()} | _database_clocks(visible)
    compared = {name: each for name, each in differences.items() if each is not None}
    apart = {name: each for name, each in compared.items() if abs(each) > TOLERANCE}
    for name, seconds in apart.items():
        side = "ahead of" if seconds > 0 else "behind"
        yield wrong(
            subject,
            f"the clock of {name} is at least {abs(seconds):.1f} s {side} this machine's: "
            "synchronise all clocks (NTP), or times of events and reactions cannot be compared",
        )
    if compared and not apart:
        yield well(subject, f"as this machine's, within {TOLERANCE:.0f} s: {', '.join(compared)}")


def _database_clocks(visible: Sequence[AnyService]) -> dict[str, float | None]:
    """The difference of each database server's clock; a server that does not answer is left out."""
    differences: dict[str, float | None] = {}
    for service in visible:
        url = settings_for(service.name).database_url_of(service.name)
        with closing(Database(url)) as database:
            server = f"the database server {database.address.host}"
            if server not in differences and not database.is_sqlite:
                with suppress(*DATABASE_ERRORS):  # reported as "database of …"
                    differences[server] = database.clock_difference()
    return differences
