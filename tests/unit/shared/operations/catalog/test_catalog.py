import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from shared.events import DomainEvent, OrderEvent, OrderPlaced, published
from shared.operations.catalog.catalog import CatalogEntry, catalog
from shared.operations.catalog.markdown import page
from shared.runtime.service import Service
from shared.storage.unit_of_work import Store, UnitOfWork
from shop import registry
from tests.support.commanding import Shop
from tests.support.counting import ThingCounted, counting

ROOT = Path(__file__).parents[5]
ENTRIES = {each.type: each for each in catalog(registry.all_services())}


@pytest.fixture
def shop(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Shop:
    return Shop(monkeypatch, capsys)


def test_the_catalog_has_every_published_event_and_none_of_the_tests() -> None:
    assert [*ENTRIES] == sorted(published.schemas())


def test_an_entry_has_the_publishers_and_what_each_subscriber_does() -> None:
    entry = ENTRIES["stock.ran_short.v1"]

    assert entry.publishers == ("inventory",)
    assert entry.reactions.keys() >= {"orders", "analytics"}
    assert "email" not in entry.reactions
    assert entry.reactions["orders"] == (
        "Cancel the order because stock ran short, and refund what was paid.",
    )


def test_an_entry_has_the_kind_limits_and_unit_of_each_field() -> None:
    fields = {each.name: each for each in ENTRIES["order.placed.v1"].fields}

    items = fields["items"]
    assert (items.kind, items.unit) == ("object of integer", "pieces")
    assert items.limits == "1 to 100 entries; each 1 to 10,000"
    assert fields["total_amount"].unit == "units of the currency"
    assert fields["customer_email"].limits == "at most 254 characters"
    assert all(each.is_required and each.description for each in fields.values())


def test_a_subscriber_of_a_base_class_subscribes_to_all_its_subclasses() -> None:
    def watch(event: DomainEvent, work: UnitOfWork[Store]) -> None:
        del event, work

    watching: Service[Store] = Service("watching", store=Store)
    watching.on(OrderEvent, watch)
    watching.on(OrderPlaced, watch)

    entries = {each.type: each for each in catalog([watching])}

    assert all(each.reactions.keys() == {"watching"} for each in entries.values())
    assert entries["order.placed.v1"].reactions["watching"] == ("Watch.", "Watch.")


def test_the_catalog_has_an_event_that_only_a_service_declares() -> None:
    (entry,) = (each for each in catalog([counting()]) if each.type == "thing.counted.v1")

    assert entry.publishers == ("counting",)
    assert entry.description == str(ThingCounted.__doc__)
    assert entry.examples == {}


def test_the_page_is_current() -> None:
    written = (ROOT / "docs" / "events.md").read_text(encoding="utf-8")

    assert written == page([*ENTRIES.values()]), "run make docs"


def test_the_page_marks_optional_fields_and_missing_publishers() -> None:
    (entry,) = (each for each in catalog([]) if each.type == "order.shipped.v1")
    optional: dict[str, Any] = {"carrier": None}
    fields = tuple(
        each if each.name not in optional else type(each)(**_of(each) | {"is_required": False})
        for each in entry.fields
    )

    text = page([CatalogEntry(**_of(entry) | {"fields": fields})])

    assert "| `carrier` (optional) | string |" in text
    assert "published by no service here." in text


def _of(record: Any) -> dict[str, Any]:
    return {name: getattr(record, name) for name in record.__dataclass_fields__}


def test_the_command_shows_a_table(shop: Shop) -> None:
    result = shop("events", "catalog")

    assert result.code == 0
    assert "order.placed.v1" in result.out
    assert "units of the currency" in result.out


def test_the_command_prints_records(shop: Shop) -> None:
    records = shop("events", "catalog", "--json").json

    assert {each["type"]: each["publishers"] for each in records}["order.shipped.v1"] == [
        "shipping"
    ]


def test_the_command_prints_the_schemas(shop: Shop) -> None:
    schemas = shop("events", "catalog", "--format", "json-schema").json

    assert schemas == published.schemas()
    for each in schemas.values():
        Draft202012Validator.check_schema(each)


def test_an_unknown_format_is_refused_in_a_sentence(shop: Shop) -> None:
    result = shop("events", "catalog", "--format", "xml")

    assert result.code == 2
    assert result.out == ""
    assert "'xml'" in result.err
    assert "asyncapi" in result.err


def test_the_example_of_a_new_version_in_the_docs_works() -> None:
    text = (ROOT / "docs" / "contracts.md").read_text(encoding="utf-8")
    program = (
        "from typing import Annotated, ClassVar, Self\n"
        "from pydantic import Field\n"
        "from shared.events import OrderEvent\n"
        "from shared.events.fields import Word\n"
        "from shared.events.versions import convert, rewritten\n"
        + text.partition("```python\n")[2].partition("```")[0]
        + "old = OrderShippedV1(order_id='ORD-1', tracking_number='T-1', carrier='C')\n"
        "new = convert(old, OrderShipped)\n"
        "assert new.parcels == ('T-1',) and new.event_id == old.event_id, new\n"
        "assert convert(new, OrderShippedV1) == old\n"
    )

    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr
