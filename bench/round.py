"""Interleaved rounds and what is made of them: A B A B ..., so that a busy machine slows both sides alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any


@dataclass(frozen=True, slots=True)
class Spread:
    """One side's figures over all rounds."""

    values: tuple[float, ...]

    @property
    def median(self) -> float:
        return median(self.values)

    def scaled(self, factor: float) -> Spread:
        """The same figures in another unit."""
        return Spread(tuple(value * factor for value in self.values))

    def __str__(self) -> str:
        return f"{self.median:.4g} ({min(self.values):.4g}-{max(self.values):.4g})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One line of the report. `at_least` turns the target round: then more is better."""

    name: str
    ratio: float
    target: float | None
    """None: informative, nothing is promised."""
    at_least: bool = False
    ratios: Sequence[float] = ()
    """The ratio of every round."""
    ours: str = ""
    peer: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)

    @property
    def met(self) -> bool | None:
        if self.target is None:
            return None
        return self.ratio >= self.target if self.at_least else self.ratio <= self.target

    def as_json(self) -> dict[str, Any]:
        """The line of `build/bench.json`."""
        return {
            "name": self.name,
            "ratio": round(self.ratio, 4),
            "target": self.target,
            "met": self.met,
            "bound": "at-least" if self.at_least else "at-most",
            "ratio_min": round(min(self.ratios, default=self.ratio), 4),
            "ratio_max": round(max(self.ratios, default=self.ratio), 4),
            "ours": self.ours,
            "peer": self.peer,
            "details": dict(self.details),
        }


Side = Callable[[], float]


def interleave(rounds: int, sides: Mapping[str, Side], said: Callable[[str], None]) -> dict[str, Spread]:
    """Run every side once a round, in turn, beginning with another one each round; the figures by side."""
    names = list(sides)
    values: dict[str, list[float]] = {name: [] for name in names}
    for number in range(rounds):
        turned = names[number % len(names) :] + names[: number % len(names)]
        for name in turned:
            values[name].append(sides[name]())
        said(f"round {number + 1}/{rounds}: " + ", ".join(f"{n} {values[n][-1]:.4g}" for n in names))
    return {name: Spread(tuple(found)) for name, found in values.items()}


def shares(before: Mapping[str, float], after: Mapping[str, float], count: int) -> dict[str, float]:
    """Microseconds of CPU a thread spent on each of `count` things, the busiest thread first; idle ones left out."""
    spent = {name: (after[name] - before.get(name, 0.0)) / count * 1e6 for name in after}
    return {name: round(us, 1) for name, us in sorted(spent.items(), key=lambda item: -item[1]) if us >= 1.0}


def ratios(ours: Spread, peer: Spread) -> tuple[float, ...]:
    """Ours over the peer's, round by round; the median of these is what is reported."""
    return tuple(a / b for a, b in zip(ours.values, peer.values, strict=True))
