"""What was measured, as it is kept: one file for each figure, in one shape for all."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True, slots=True)
class Spread:
    """Several rounds of one thing."""

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
class Missing:
    """What could not be measured, and why, in a sentence."""

    missing: str


Measured = Spread | Missing


@dataclass(frozen=True, slots=True)
class Target:
    """What is to be reached: the words, and how to tell."""

    words: str
    is_met: Callable[["Result"], bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One figure: ours, beside what others do and what could be done at most.

    Attributes:
        ratio_to_best_peer: ours divided by theirs; None where there is none.
        ratio_to_limit: ours divided by it; likewise.
        figures: what belongs to ours and stands beside it, by name.
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

    def keep(self, folder: Path) -> Path:
        """Write it down; answers where."""
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{self.name}.json"
        path.write_text(json.dumps(asdict(self), indent=2, ensure_ascii=False) + "\n")
        return path


def read(path: Path) -> Result:
    """A result that was kept."""
    kept: dict[str, Any] = json.loads(path.read_text())
    for role in ("peers", "limit"):
        kept[role] = {name: _measured(each) for name, each in kept[role].items()}
    kept["figures"] = {name: Spread(**each) for name, each in kept.get("figures", {}).items()}
    return Result(**(kept | {"ours": Spread(**kept["ours"])}))


def _measured(kept: Mapping[str, Any]) -> Measured:
    return Missing(**kept) if "missing" in kept else Spread(**kept)


def best(others: Mapping[str, Measured], *, less_is_better: bool) -> Spread | None:
    """The best of those that were measured."""
    measured = [each for each in others.values() if isinstance(each, Spread)]
    choose = min if less_is_better else max
    return choose(measured, key=lambda each: each.median) if measured else None


def ratio(ours: Spread, other: Spread | None) -> float | None:
    """How many times the other's figure ours is."""
    return None if other is None or not other.median else round(ours.median / other.median, 2)


def rounded(value: float) -> float:
    """As exact as it is worth: four digits."""
    return float(f"{value:.4g}")
