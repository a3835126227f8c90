import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from benchmarks.comparison import (
    Bench,
    Comparison,
    Contestant,
    Figure,
    Measurement,
    MeasurementFailed,
    Role,
    Unavailable,
    rate_between,
)
from benchmarks.result import NotMeasured, Spread, Target, read

TWICE = Target("≥ 2 × the best peer", lambda result: (result.ratio_to_best_peer or 0) >= 2)


def raising(error: BaseException) -> Callable[[], float]:
    def measure() -> float:
        raise error

    return measure


def values(*given: float) -> Callable[[], float]:
    left = iter(given)
    return lambda: next(left)


def comparison(*contestants: Contestant) -> Comparison:
    return Comparison(name="speed", unit="km/h", target=TWICE, contestants=contestants)


@pytest.fixture
def output() -> list[str]:
    return []


@pytest.fixture
def bench(tmp_path: Path, output: list[str]) -> Bench:
    return Bench(rounds=3, scale=1.0, results=tmp_path, progress=output.append)


def test_the_median_is_compared_with_the_best_peer_and_the_limit(bench: Bench) -> None:
    bench.compare(
        comparison(
            Contestant("we", Role.OURS, values(10, 30, 20)),
            Contestant("slow", Role.PEER, values(1, 2, 3)),
            Contestant("fast", Role.PEER, values(10, 11, 9)),
            Contestant("light", Role.LIMIT, values(40, 40, 40)),
        )
    )

    assert json.loads((bench.results / "speed.json").read_text()) == {
        "name": "speed",
        "ours": {"median": 20, "min": 10, "max": 30, "unit": "km/h"},
        "peers": {
            "slow": {"median": 2, "min": 1, "max": 3, "unit": "km/h"},
            "fast": {"median": 10, "min": 9, "max": 11, "unit": "km/h"},
        },
        "limit": {"light": {"median": 40, "min": 40, "max": 40, "unit": "km/h"}},
        "ratio_to_best_peer": 2.0,
        "ratio_to_limit": 0.5,
        "figures": {},
        "target": "≥ 2 × the best peer",
        "met": True,
    }


def test_where_less_is_better_the_best_peer_is_the_smallest(bench: Bench) -> None:
    race = comparison(
        Contestant("we", Role.OURS, values(4, 4, 4)),
        Contestant("big", Role.PEER, values(8, 8, 8)),
        Contestant("small", Role.PEER, values(2, 2, 2)),
    )
    race.less_is_better = True

    result = bench.compare(race)

    assert result is not None
    assert result.ratio_to_best_peer == 2.0


def test_contestants_are_measured_round_by_round(bench: Bench) -> None:
    turns: list[str] = []

    def taking(name: str) -> float:
        turns.append(name)
        return 1.0

    bench.compare(
        comparison(
            Contestant("we", Role.OURS, partial(taking, "we")),
            Contestant("a", Role.PEER, partial(taking, "a")),
        )
    )

    assert turns == ["we", "a"] * 3


def test_an_unavailable_peer_has_the_reason_in_its_row(bench: Bench, output: list[str]) -> None:
    result = bench.compare(
        comparison(
            Contestant("we", Role.OURS, values(1, 1, 1)),
            Contestant("unavailable", Role.PEER, raising(Unavailable("not installed"))),
        )
    )

    assert result is not None
    assert result.peers == {"unavailable": NotMeasured("not installed")}
    assert not result.met
    assert sum("not installed" in each for each in output) == 1


def test_a_peer_with_wrong_effects_has_no_figure(bench: Bench) -> None:
    tries = iter([values(5), raising(MeasurementFailed("its effects are wrong"))])

    def measure() -> float:
        return next(tries)()

    result = bench.compare(
        comparison(
            Contestant("we", Role.OURS, values(1, 1, 1)),
            Contestant("wrong", Role.PEER, measure),
        )
    )

    assert result is not None
    assert result.peers == {"wrong": NotMeasured("its effects are wrong")}


def test_related_figures_are_stored_with_the_figure(bench: Bench) -> None:
    turns = iter([2.0, 4.0, 3.0])

    def measure() -> Measurement:
        value = next(turns)
        return Measurement(value, {"at most": Figure(10 * value, "m")})

    bench.compare(comparison(Contestant("half", Role.OURS, measure)))

    result = read(bench.results / "speed.json")
    assert result.ours == Spread(3, 2, 4, "km/h")
    assert result.figures == {"half": result.ours, "at most": Spread(30, 20, 40, "m")}


def test_further_contestants_of_ours_are_stored_with_the_first(bench: Bench) -> None:
    result = bench.compare(
        comparison(
            Contestant("uphill", Role.OURS, values(1, 1, 1)),
            Contestant("downhill", Role.OURS, values(9, 9, 9)),
        )
    )

    assert result is not None
    assert result.ours.median == 1
    assert {name: each.median for name, each in result.figures.items()} == {
        "uphill": 1,
        "downhill": 9,
    }


def test_slow_contestants_have_fewer_rounds(bench: Bench) -> None:
    long = comparison(Contestant("we", Role.OURS, values(7)))
    long.rounds = 1

    result = bench.compare(long)

    assert result is not None
    assert result.ours.median == 7


def test_a_result_without_figures_is_read(bench: Bench) -> None:
    bench.compare(comparison(Contestant("we", Role.OURS, values(1, 1, 1))))
    path = bench.results / "speed.json"
    stored = json.loads(path.read_text())
    del stored["figures"]
    path.write_text(json.dumps(stored))

    assert read(path).figures == {}


def test_a_failure_of_ours_is_an_error(bench: Bench) -> None:
    with pytest.raises(MeasurementFailed, match="lost one"):
        bench.compare(
            comparison(Contestant("we", Role.OURS, raising(MeasurementFailed("lost one"))))
        )

    assert not list(bench.results.iterdir())


def test_results_before_an_interruption_are_written(bench: Bench) -> None:
    with pytest.raises(KeyboardInterrupt):
        bench.compare(
            comparison(
                Contestant("we", Role.OURS, values(7)),
                Contestant("a", Role.PEER, raising(KeyboardInterrupt())),
                Contestant("b", Role.PEER, values(1)),
            )
        )

    result = read(bench.results / "speed.json")
    assert result.ours == Spread(7, 7, 7, "km/h")
    assert result.peers["b"] == NotMeasured("not measured: interrupted before its first run")
    assert bench.finished == [result]


def test_a_rate_ignores_the_first_tenth() -> None:
    late_start = [0.0, *(100.0 + each / 10 for each in range(99))]

    assert rate_between(late_start) == pytest.approx(10)


def test_events_at_the_same_time_have_no_rate() -> None:
    with pytest.raises(MeasurementFailed, match="too few"):
        rate_between([1.0, 1.0])
