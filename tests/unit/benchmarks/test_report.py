from pathlib import Path
from xml.etree import ElementTree as ET

from benchmarks import report
from benchmarks.result import NotMeasured, Result, Spread

FAST = Result(
    name="react",
    ours=Spread(3_000, 2_900, 3_100, "orders/s"),
    peers={"A & B": Spread(1_000, 900, 1_100, "orders/s"), "gone": NotMeasured("not installed")},
    limit={"by hand": Spread(4_000, 4_000, 4_000, "orders/s")},
    ratio_to_best_peer=3.0,
    ratio_to_limit=0.75,
    target="≥ 3 ×",
    met=True,
)
ALONE = Result(name="memory", ours=Spread(85, 85, 85, "MB"), target="≤ 80 MB")


def test_the_table_shows_each_figure_beside_its_target() -> None:
    assert report.table([FAST, ALONE]).splitlines()[2:] == [
        (
            "| react | **3,000 orders/s** (2,900 – 3,100) | A & B 1,000 (900 – 1,100)<br>"
            "gone (not installed) | by hand 4,000 (4,000 – 4,000) | 3 | 0.75 | ≥ 3 × | yes |"
        ),
        "| memory | **85 MB** | – | – | – | – | ≤ 80 MB | **no** |",
    ]


def test_related_figures_are_shown_below_the_figure() -> None:
    late = Result(
        name="latency",
        ours=Spread(20, 20, 20, "ms"),
        figures={"p50": Spread(20, 20, 20, "ms"), "p99": Spread(90, 80, 100, "ms")},
    )

    assert "| latency | **20 ms**<br>p50 20 ms<br>p99 90 ms |" in report.table([late])


def test_the_chart_has_a_bar_for_each_measured_figure() -> None:
    drawn = ET.fromstring(report.picture([FAST, ALONE]))  # noqa: S314 - our own

    bars = [each for each in drawn.iter() if each.get("height") == "14"]
    assert [float(each.get("width", 0)) for each in bars] == [285.0, 95.0, 380.0, 380.0]


def test_the_page_gets_the_figures_and_keeps_its_text(tmp_path: Path) -> None:
    page, results = tmp_path / "docs" / "performance.md", tmp_path / "results"
    page.parent.mkdir()
    page.write_text("Before\n<!-- figures -->\nold\n<!-- /figures -->\nAfter\n")
    for each in (ALONE, FAST):
        each.write_to(results)

    report.write(results, {"machine": "2 cores"}, page)

    text = page.read_text()
    assert text.startswith("Before\n<!-- figures -->\n| figure |")
    assert text.endswith("machine 2 cores.\n<!-- /figures -->\nAfter\n")
    assert text.index("| react |") < text.index("| memory |")
    assert "old" not in text


def test_results_outside_the_project_do_not_change_the_page(tmp_path: Path) -> None:
    page = tmp_path / "project" / "docs" / "performance.md"
    page.parent.mkdir(parents=True)
    page.write_text("<!-- figures -->\nold\n<!-- /figures -->\n")
    ALONE.write_to(tmp_path / "elsewhere")

    report.write(tmp_path / "elsewhere", {}, page)

    assert "old" in page.read_text()
