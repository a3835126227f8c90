"""The commands `shop doctor` and `shop outbox resend`."""

from typing import Annotated

import typer

from shared.operations.console import AsJson, database_of, service_named, services_of, show, visible


def doctor(context: typer.Context, *, as_json: AsJson = False) -> None:
    """Check that broker, databases and topology are there, and say what to do."""
    from shared.errors import OperationFailed
    from shared.operations.doctor import check
    from shared.runtime.settings import OPERATOR, settings_for

    everyone = services_of(context)
    seen = visible(everyone)
    if not seen:
        raise OperationFailed("nothing can be seen from here: SHOP_KEYS holds no service's secrets")
    try:
        operator = settings_for(OPERATOR)
    except OperationFailed:
        operator = None  # a service's own container
    findings = list(check(everyone, seen, operator))
    show(
        [
            {
                "what": each.what,
                "ok": each.is_well if as_json else "✓" if each.is_well else "✗",
                "says": each.says,
            }
            for each in findings
        ],
        as_json=as_json,
        columns={"ok": "", "what": "What", "says": "Says"},
    )
    raise typer.Exit(0 if all(each.is_well for each in findings) else 1)


def resend(
    context: typer.Context, service: Annotated[str, typer.Argument(help="The service.")]
) -> None:
    """Send after all what the broker would not take, once `shop doctor`'s cause is mended."""
    from shared.storage import outbox

    with (
        database_of(service_named(context, service)) as database,
        database.begin() as connection,
    ):
        number = outbox.resend(connection, database)
    typer.echo(f"{number} events will be sent by {service} again")
