import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from benchmarks.comparing import (
    Bench,
    Comparison,
    Contestant,
    Figure,
    HistoryEvent,
    NotThere,
    Role,
    WentWrong,
    rate_between,
)
from benchmarks.figures import Missing, Spread, Target, read

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
def said() -> list[str]:
    return []


@pytest.fixture
def bench(tmp_path: Path, said: list[str]) -> Bench:
    return Bench(rounds=3, scale=1.0, results=tmp_path, say=said.append)


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


def test_they_take_turns_so_that_all_meet_the_same_day(bench: Bench) -> None:
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


def test_a_peer_that_is_not_there_says_so_in_its_row(bench: Bench, said: list[str]) -> None:
    result = bench.compare(
        comparison(
            Contestant("we", Role.OURS, values(1, 1, 1)),
            Contestant("gone", Role.PEER, raising(NotThere("not installed"))),
        )
    )

    assert result is not None
    assert result.peers == {"gone": Missing("not installed")}
    assert not result.met
    assert sum("not installed" in each for each in said) == 1


def test_a_peer_whose_effects_are_wrong_has_no_figure(bench: Bench) -> None:
    tries = iter([values(5), raising(WentWrong("its effects are wrong"))])

    def measure() -> float:
        return next(tries)()

    result = bench.compare(
        comparison(
            Contestant("we", Role.OURS, values(1, 1, 1)),
            Contestant("wrong", Role.PEER, measure),
        )
    )

    assert result is not None
    assert result.peers == {"wrong": Missing("its effects are wrong")}


def test_what_belongs_to_a_figure_stands_beside_it(bench: Bench) -> None:
    turns = iter([2.0, 4.0, 3.0])

    def measure() -> HistoryEvent:
        value = next(turns)
        return HistoryEvent(value, {"at most": Figure(10 * value, "m")})

    bench.compare(comparison(Contestant("half", Role.OURS, measure)))

    result = read(bench.results / "speed.json")
    assert result.ours == Spread(3, 2, 4, "km/h")
    assert result.figures == {"half": result.ours, "at most": Spread(30, 20, 40, "m")}


def test_several_of_ours_stand_beside_the_first(bench: Bench) -> None:
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


def test_what_takes_long_has_fewer_turns(bench: Bench) -> None:
    long = comparison(Contestant("we", Role.OURS, values(7)))
    long.rounds = 1

    result = bench.compare(long)

    assert result is not None
    assert result.ours.median == 7


def test_a_result_of_before_there_were_figures_is_read(bench: Bench) -> None:
    bench.compare(comparison(Contestant("we", Role.OURS, values(1, 1, 1))))
    path = bench.results / "speed.json"
    kept = json.loads(path.read_text())
    del kept["figures"]
    path.write_text(json.dumps(kept))

    assert read(path).figures == {}


def test_ours_going_wrong_is_an_error(bench: Bench) -> None:
    with pytest.raises(WentWrong, match="lost one"):
        bench.compare(comparison(Contestant("we", Role.OURS, raising(WentWrong("lost one")))))

    assert not list(bench.results.iterdir())


def test_what_was_measured_until_an_interruption_is_kept(bench: Bench) -> None:
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
    assert result.peers["b"] == Missing("not measured: interrupted before its turn")
    assert bench.kept == [result]


def test_a_rate_leaves_the_first_tenth_out() -> None:
    late_start = [0.0, *(100.0 + each / 10 for each in range(99))]

    assert rate_between(late_start) == pytest.approx(10)


def test_all_at_one_moment_is_no_rate() -> None:
    with pytest.raises(WentWrong, match="too few"):
        rate_between([1.0, 1.0])
