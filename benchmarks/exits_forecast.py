"""Forecasts of survival: as the last window, the mean of the last four, ARIMA(1, 1, 1).

    OPENBLAS_NUM_THREADS=1 python -m benchmarks.exits_forecast

Series are made up: windows in which 200 or 2,000 requests were counted, with a true survival that is
constant, waves over 40 windows, wanders (steps of 0.02), jumps after 20, or swings back to its
mean. What counts is the mean absolute error, one window ahead, beside the true survival.
"""

from __future__ import annotations

import argparse

import numpy as np

from planner.forecasting import LEAST_WINDOWS, Method, Window, forecast

LENGTH, SEEDS = 40, 6
METHODS: tuple[Method, ...] = ("last", "mean", "arima")


def series(kind: str, rng: np.random.Generator) -> np.ndarray:
    """The true survival of LENGTH windows."""
    time = np.arange(LENGTH)
    match kind:
        case "constant":
            found = np.full(LENGTH, 0.5)
        case "waves":
            found = 0.5 + 0.25 * np.sin(2 * np.pi * time / 40)
        case "wanders":
            found = 0.5 + np.cumsum(rng.normal(0, 0.02, LENGTH))
        case "jumps":
            found = np.where(time < 20, 0.35, 0.65)
        case _:  # swings
            found = np.full(LENGTH, 0.5)
            for now in range(1, LENGTH):
                found[now] = 0.5 + 0.8 * (found[now - 1] - 0.5) + rng.normal(0, 0.04)
    return np.clip(found, 0.02, 0.98)


def main() -> None:
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    print("| survival | answered a window | " + " | ".join(METHODS) + " |")
    totals = dict.fromkeys(METHODS, 0.0)
    for answered in (200, 2000):
        for kind in ("constant", "waves", "wanders", "jumps", "swings"):
            errors: dict[str, list[float]] = {method: [] for method in METHODS}
            for seed in range(SEEDS):
                rng = np.random.default_rng(seed)
                true = series(kind, rng)
                windows = [
                    Window(answered=answered, left={1: int(rng.binomial(answered, 1 - part))})
                    for part in true
                ]
                for now in range(LEAST_WINDOWS, LENGTH, 4):
                    for method in METHODS:
                        found = forecast(windows[:now], [1], method=method)
                        errors[method].append(abs((found or (1.0,))[0] - true[now]))
            means = {method: float(np.mean(errors[method])) for method in METHODS}
            for method in METHODS:
                totals[method] += means[method] / 10
            row = " | ".join(f"{means[method]:.4f}" for method in METHODS)
            print(f"| {kind} | {answered} | {row} |", flush=True)
    print("| mean | | " + " | ".join(f"{totals[method]:.4f}" for method in METHODS) + " |")


if __name__ == "__main__":
    main()
