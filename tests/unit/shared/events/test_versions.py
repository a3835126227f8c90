from decimal import Decimal
from pathlib import Path
from typing import ClassVar, Self

import pytest

from shared.errors import UnsupportedVersion
from shared.events import DomainEvent, UnknownEvent, wire_type
from shared.events.versions import readings, rewritten
from shared.messaging.codec import decode, encode
from shared.messaging.ports.consumer import Outcome
from shared.runtime.service import Service
from shared.storage.unit_of_work import Store, UnitOfWork
from shared.testing import Stage


class ParcelEvent(DomainEvent):
    """The base of all events about parcels."""

    publishers = frozenset({"parcels"})


class ParcelWeighedV1(ParcelEvent):
    """A parcel was weighed, in pounds."""

    topic: ClassVar[str] = "parcel.weighed"

    parcel: str
    pounds: Decimal


class ParcelWeighedV2(ParcelEvent):
    """A parcel was weighed, in grams."""

    topic: ClassVar[str] = "parcel.weighed"
    version: ClassVar[int] = 2
    previous = ParcelWeighedV1

    parcel: str
    grams: int

    @classmethod
    def upcast(cls, older: ParcelWeighedV1) -> Self:
        return rewritten(older, cls, grams=round(older.pounds * 454))

    def downcast(self) -> ParcelWeighedV1:
        if self.grams > 50_000:
            raise ValueError("secret@canary.example weighs too much")
        return rewritten(self, ParcelWeighedV1, pounds=Decimal(self.grams) / 454)


class ParcelWeighed(ParcelEvent):
    """A parcel was weighed, in grams, on a scale; it cannot be converted to an older version."""

    topic: ClassVar[str] = "parcel.weighed"
    version: ClassVar[int] = 3
    previous = ParcelWeighedV2

    parcel: str
    grams: int
    scale: str

    @classmethod
    def upcast(cls, older: ParcelWeighedV2) -> Self:
        return rewritten(older, cls, scale="unknown")


class ParcelLost(ParcelEvent):
    """A parcel was lost."""

    topic: ClassVar[str] = "parcel.lost"


class ParcelLostV9(ParcelEvent):
    """A parcel was lost, in a version without converters."""

    topic: ClassVar[str] = "parcel.lost"
    version: ClassVar[int] = 9


V1 = ParcelWeighedV1(parcel="P-1", pounds=Decimal(2))
V2 = ParcelWeighedV2(parcel="P-2", grams=908)
V3 = ParcelWeighed(parcel="P-3", grams=1, scale="left")


def read(event: DomainEvent, *subscribed: type[DomainEvent]) -> DomainEvent:
    return decode(encode(event, source="parcels"), readings(subscribed))


def test_an_older_event_is_converted_for_a_reader_of_the_newer_version() -> None:
    event = read(V1, ParcelWeighedV2)

    assert isinstance(event, ParcelWeighedV2)
    assert (event.parcel, event.grams) == ("P-1", 908)
    assert (event.event_id, event.occurred_at) == (V1.event_id, V1.occurred_at)


def test_an_event_is_converted_over_several_versions() -> None:
    event = read(V1, ParcelWeighed)

    assert isinstance(event, ParcelWeighed)
    assert (event.grams, event.scale) == (908, "unknown")


def test_a_newer_event_is_converted_for_a_reader_of_the_older_version() -> None:
    event = read(V2, ParcelWeighedV1)

    assert isinstance(event, ParcelWeighedV1)
    assert event.pounds == 2


def test_a_version_without_a_converter_is_unknown() -> None:
    assert isinstance(read(V3, ParcelWeighedV1), UnknownEvent)
    assert isinstance(read(V3, ParcelWeighedV2), UnknownEvent)
    assert isinstance(read(ParcelLostV9(), ParcelLost), UnknownEvent)
    assert isinstance(read(ParcelLost(), ParcelLostV9), UnknownEvent)


def test_a_reader_of_both_versions_gets_each_unconverted() -> None:
    both = (ParcelWeighedV1, ParcelWeighedV2)

    assert read(V1, *both) == V1
    assert read(V2, *both) == V2


def test_a_reader_of_the_base_class_gets_the_newest_version() -> None:
    assert isinstance(read(V1, ParcelEvent), ParcelWeighed)
    assert isinstance(read(V2, DomainEvent), ParcelWeighed)
    assert read(ParcelLost(), ParcelEvent).version == 1


def test_an_event_that_cannot_be_converted_is_refused_without_its_values() -> None:
    heavy = ParcelWeighedV2(parcel="P-2", grams=60_000)

    with pytest.raises(UnsupportedVersion) as refused:
        read(heavy, ParcelWeighedV1)

    assert str(refused.value) == (f"parcel.weighed.v2 {heavy.event_id} cannot be converted to v1")
    assert refused.value.__suppress_context__


def test_a_missing_converter_is_named() -> None:
    with pytest.raises(NotImplementedError, match="ParcelLost has a previous version but no"):
        ParcelLost.upcast(V1)
    with pytest.raises(NotImplementedError, match="ParcelLost has no downcast"):
        ParcelLost().downcast()


@pytest.mark.parametrize(
    ("subscribed", "outcomes"),
    [
        pytest.param(ParcelWeighed, [Outcome.DONE, Outcome.DONE, Outcome.DONE], id="newest"),
        pytest.param(ParcelWeighedV1, [Outcome.DONE, Outcome.DONE, Outcome.RETRY], id="oldest"),
    ],
)
def test_a_service_handles_every_version_that_can_be_converted_and_retries_the_rest(
    tmp_path: Path, subscribed: type[DomainEvent], outcomes: list[Outcome]
) -> None:
    got: list[DomainEvent] = []

    def weigh(event: DomainEvent, work: UnitOfWork[Store]) -> None:
        del work
        got.append(event)

    scales: Service[Store] = Service("scales", store=Store)
    scales.on(subscribed, weigh)
    stage = Stage(tmp_path, [scales])
    stage.publish(V1, V2, V3)

    reacted = stage.play(errors="collect")
    stage.close()

    by_id = {each.delivery.event_id: each for each in reacted}
    assert [by_id[str(event.event_id)].outcome for event in (V1, V2, V3)] == outcomes
    assert {type(event) for event in got} == {subscribed}
    retried = [str(each.error) for each in reacted if each.outcome is Outcome.RETRY]
    assert retried == ["scales cannot read parcel.weighed.v3"] * outcomes.count(Outcome.RETRY)


def test_only_types_with_a_converter_can_be_read() -> None:
    assert readings([ParcelWeighedV1]).keys() == {"parcel.weighed.v1", "parcel.weighed.v2"}
    assert readings([ParcelWeighedV2]).keys() == {"parcel.weighed.v1", "parcel.weighed.v2"}
    assert {wire_type(ParcelWeighed), "parcel.lost.v9"} <= readings([DomainEvent]).keys()
