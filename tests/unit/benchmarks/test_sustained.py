import pytest

from benchmarks.comparison import MeasurementFailed
from benchmarks.latency import percentile
from benchmarks.sustained import LoadResult
from benchmarks.whole_shop import OrderTrace


def trace(placed: float, *, took: float) -> OrderTrace:
    return OrderTrace(placed, handled_at=[placed + took] * 13)


def test_a_shop_that_keeps_up_sustains_the_rate() -> None:
    result_at_rate = LoadResult.of(
        [trace(each / 10, took=0.2) for each in range(1_000)], warm_up=10
    )

    assert result_at_rate.finished == pytest.approx(10, rel=0.01)
    assert result_at_rate.growth == 0
    assert result_at_rate.holds(10)


def test_a_shop_that_falls_behind_does_not_sustain_the_rate() -> None:
    slower = [trace(each / 10, took=0.02 * each) for each in range(1_000)]

    result_at_rate = LoadResult.of(slower, warm_up=10)

    assert result_at_rate.finished < 9.9
    assert result_at_rate.growth > 10
    assert not result_at_rate.holds(10)


def test_orders_that_are_not_finished_count_as_growth() -> None:
    traces = [trace(each / 10, took=0.2) for each in range(900)]
    traces += [OrderTrace(each / 10) for each in range(900, 1_000)]

    result_at_rate = LoadResult.of(traces, warm_up=10)

    assert result_at_rate.growth > 20
    assert not result_at_rate.holds(10)
    assert len(result_at_rate.took) == 800


def test_orders_placed_at_one_time_cannot_be_measured() -> None:
    with pytest.raises(MeasurementFailed, match="too few"):
        LoadResult.of([trace(1, took=1)], warm_up=1)


@pytest.mark.parametrize(("share", "found"), [(1, 1), (50, 50), (99, 99), (100, 100)], ids=str)
def test_a_percentile_is_the_value_that_this_share_does_not_exceed(share: int, found: int) -> None:
    assert percentile([float(each) for each in range(100, 0, -1)], share) == found
