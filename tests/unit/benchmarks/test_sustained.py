import pytest

from benchmarks.comparing import WentWrong
from benchmarks.latency import percentile
from benchmarks.sustained import Course
from benchmarks.whole import Story


def story(placed: float, *, took: float) -> Story:
    return Story(placed, handled=[placed + took] * 13)


def test_a_shop_that_keeps_up_holds() -> None:
    course = Course.of([story(each / 10, took=0.2) for each in range(1_000)], left_out=10)

    assert course.finished == pytest.approx(10, rel=0.01)
    assert course.growth == 0
    assert course.holds(10)


def test_a_shop_that_falls_behind_does_not_hold() -> None:
    slower = [story(each / 10, took=0.02 * each) for each in range(1_000)]

    course = Course.of(slower, left_out=10)

    assert course.finished < 9.9
    assert course.growth > 10
    assert not course.holds(10)


def test_what_is_not_finished_is_under_way() -> None:
    stories = [story(each / 10, took=0.2) for each in range(900)]
    stories += [Story(each / 10) for each in range(900, 1_000)]

    course = Course.of(stories, left_out=10)

    assert course.growth > 20
    assert not course.holds(10)
    assert len(course.took) == 800


def test_one_moment_is_no_course() -> None:
    with pytest.raises(WentWrong, match="too few"):
        Course.of([story(1, took=1)], left_out=1)


@pytest.mark.parametrize(("share", "found"), [(1, 1), (50, 50), (99, 99), (100, 100)], ids=str)
def test_a_percentile_is_what_so_many_do_not_exceed(share: int, found: int) -> None:
    assert percentile([float(each) for each in range(100, 0, -1)], share) == found
