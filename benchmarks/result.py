"""Result files: one for each figure, all in the same format."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True, slots=True)
class Spread:
    """Median, minimum and maximum of several rounds."""

    median: float
    min: float
    max: float
    unit: str

    @classmethod
    def of(cls, values: Sequence[float], unit: str) -> "Spread":
        """The spread of at least one value."""
        middle = median(values)
        return cls(rounded(middle), rounded(min(values)), rounded(max(values)), unit)


@dataclass(frozen=True, slots=True)
class NotMeasured:
    """A figure that was not measured; `missing` says why."""

    missing: str


Measured = Spread | NotMeasured


@dataclass(frozen=True, slots=True)
class Target:
    """A target in words, and whether a result meets it."""

    words: str
    is_met: Callable[["Result"], bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One figure: ours, the peers', and the limit of what is possible.

    Attributes:
        ratio_to_best_peer: ours divided by measure_peer; None where there is none.
        ratio_to_limit: ours divided by the limit; None without one.
        figures: related figures of ours, by name.
        target: in words.
    """

    name: str
    ours: Spread
    peers: Mapping[str, Measured] = field(default_factory=dict)
    limit: Mapping[str, Measured] = field(default_factory=dict)
    ratio_to_best_peer: float | None = None
    ratio_to_limit: float | None = None
    figures: Mapping[str, Spread] = field(default_factory=dict)
    target: str = ""
    met: bool = False

    def write_to(self, folder: Path) -> Path:
        """Write the result file; return its path."""
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{self.name}.json"
        path.write_text(json.dumps(asdict(self), indent=2, ensure_ascii=False) + "\n")
        return path


def read(path: Path) -> Result:
    """Read a result file."""
    kept: dict[str, Any] = json.loads(path.read_text())
    for role in ("peers", "limit"):
        kept[role] = {name: _measured(each) for name, each in kept[role].items()}
    kept["figures"] = {name: Spread(**each) for name, each in kept.get("figures", {}).items()}
    return Result(**(kept | {"ours": Spread(**kept["ours"])}))


def _measured(kept: Mapping[str, Any]) -> Measured:
    return NotMeasured(**kept) if "missing" in kept else Spread(**kept)


def best(others: Mapping[str, Measured], *, less_is_better: bool) -> Spread | None:
    """The best of the measured figures; None without one."""
    measured = [each for each in others.values() if isinstance(each, Spread)]
    choose = min if less_is_better else max
    return choose(measured, key=lambda each: each.median) if measured else None


def ratio(ours: Spread, other: Spread | None) -> float | None:
    """Our figure divided by the other's; None without the other."""
    return None if other is None or not other.median else round(ours.median / other.median, 2)


def rounded(value: float) -> float:
    """Round to four significant digits."""
    return float(f"{value:.4g}")
