"""The commands `shop doctor` and `shop outbox resend`."""

from typing import TYPE_CHECKING, Annotated, Any

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
from shared.operations.output import echo, is_expressible

if TYPE_CHECKING:
    from shared.operations.findings import Finding


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
    if as_json:
        print_json([_as_record(each) for each in findings])
    else:
        _print_findings(findings)
    raise typer.Exit(1 if any(each.is_wrong for each in findings) else 0)


def _as_record(finding: "Finding") -> dict[str, Any]:
    return {
        "what": finding.subject,
        "ok": not finding.is_wrong,
        "says": finding.sentence,
        "state": finding.state.value,
        "behind_seconds": None if finding.behind is None else round(finding.behind, 3),
    }


def _print_findings(findings: "list[Finding]") -> None:
    """Print a table, with what is wrong first and in red, and a summary."""
    from shared.operations.findings import FindingState, summary

    symbols = ("✗", "?", "✓") if is_expressible("✗✓") else ("no", "?", "ok")
    marks = dict(zip(FindingState, symbols, strict=True))
    styles = {FindingState.WRONG: "red", FindingState.UNKNOWN: "yellow", FindingState.WELL: None}
    ranks = {state: rank for rank, state in enumerate(FindingState)}
    ordered = sorted(findings, key=lambda finding: ranks[finding.state])
    rows = [
        {"ok": marks[each.state], "what": each.subject, "says": each.sentence} for each in ordered
    ]
    show(
        rows,
        as_json=False,
        columns={"ok": "", "what": "What", "says": "Finding"},
        styles=[styles[each.state] for each in ordered],
    )
    echo(summary(findings))


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
        echo(f"{service} will send {counted(count, 'event')} again")
