"""The commands `shop doctor` and `shop outbox resend`."""

from typing import Annotated

import typer

from shared.operations.console import (
    AsJson,
    counted,
    database_of,
    print_json,
    service_named,
    services_of,
    show,
    visible,
)


def doctor(context: typer.Context, *, as_json: AsJson = False) -> None:
    """Check broker, databases and topology; each problem comes with its remedy."""
    from shared.errors import OperationFailed
    from shared.operations.doctor import check
    from shared.runtime.settings import OPERATOR, settings_for

    services = services_of(context)
    readable = visible(services)
    if not readable:
        raise OperationFailed("SHOP_KEYS holds no service's credentials, so nothing can be checked")
    try:
        operator = settings_for(OPERATOR)
    except OperationFailed:
        operator = None  # a service's own container has only that service's credentials
    findings = list(check(services, readable, operator))
    rows = [
        {
            "what": finding.subject,
            "ok": finding.is_well if as_json else "✓" if finding.is_well else "✗",
            "says": finding.message,
        }
        for finding in findings
    ]
    show(rows, as_json=as_json, columns={"ok": "", "what": "What", "says": "Finding"})
    raise typer.Exit(0 if all(finding.is_well for finding in findings) else 1)


def resend(
    context: typer.Context,
    service: Annotated[str, typer.Argument(metavar="SERVICE", help="The service.")],
    *,
    as_json: AsJson = False,
) -> None:
    """Send rejected events again, after you removed the cause that `shop doctor` names."""
    from shared.storage import outbox

    declared = service_named(context, service)
    with database_of(declared, looks=True) as database, database.begin() as connection:
        count = outbox.resend(connection, database)
    if as_json:
        print_json({"service": service, "events": count})
    else:
        typer.echo(f"{service} will send {counted(count, 'event')} again")
