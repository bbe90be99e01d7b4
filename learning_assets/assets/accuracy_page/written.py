"""How the page on accuracy writes figures and names."""

from collections.abc import Mapping
from typing import Any

NAMES = {"ctr": "click-through rate (CTR)", "cvr": "conversion rate (CVR)", "roas": "return on ad spend (ROAS)"}


def named(metric: str) -> str:
    """What a metric is called, at the beginning of a sentence."""
    name = NAMES.get(metric, metric)
    return name[:1].upper() + name[1:]


def level(level: float) -> str:
    return f"{100 * level:g} %"


def percent(value: float | None) -> str | None:
    return None if value is None else f"{100 * value:.1f} %"


def signed(value: float | None, digits: int = 1) -> str | None:
    return None if value is None else f"{100 * value:+.{digits}f} %"


def bare(value: float) -> str:
    """A signed percentage without its sign of per cent, inside an interval."""
    return f"{100 * value:+.1f}"


def rate(value: float | None, metric: str) -> str | None:
    return None if value is None else f"{value:.3f}" if metric == "roas" else f"{100 * value:.3f} %"


def money(micros: int) -> str:
    return f"{micros / 1e6:,.0f}"


def around(row: Mapping[str, Any]) -> str:
    """The 95 % interval of a calibration ratio, from the standard error of its logarithm."""
    import math

    if row["calibration_se"] is None or not row["calibration_ratio"]:
        return ""
    low, high = (row["calibration_ratio"] * math.exp(sign * 1.96 * row["calibration_se"]) for sign in (-1, 1))
    return f" (95 % interval {low:.2f} to {high:.2f})"
