# SPDX-License-Identifier: MIT
"""The arithmetic of the suite, on plain lists. A missing sample is None and drops its pair, never the others."""
import math
import random
import statistics

REPLICATES = 2000
CONFIDENCE = 0.95
# Of equal things, normally distributed, the interval from 5 samples each leaves 1 out in 3 cases of 100; from 3, in 10.
SAMPLES_MIN = 5


def present(values):
    return [value for value in values if value is not None]


def median(values):
    """None when nothing was measured."""
    values = present(values)
    return statistics.median(values) if values else None


def spread(values):
    """least, lower quartile, median, upper quartile, greatest; None when nothing was measured."""
    values = sorted(present(values))
    if not values:
        return None
    if len(values) == 1:
        return values * 5
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return [values[0], low, middle, high, values[-1]]


def geometric_mean(values):
    values = present(values)
    if not values or min(values) <= 0:
        return None
    return math.exp(statistics.fmean(math.log(value) for value in values))


def paired_ratios(own, other):
    """own / other, round by round, where both were measured."""
    return [a / b for a, b in zip(own, other) if a is not None and b]


def successive_differences(values):
    """How far each sample is from the one before it, as a share: the same thing measured twice."""
    return [abs(after / before - 1) for before, after in zip(values, values[1:]) if before and after is not None]


def interval(draws):
    """The middle CONFIDENCE of the draws."""
    draws = sorted(draws)
    tail = (1 - CONFIDENCE) / 2
    return draws[round(tail * (len(draws) - 1))], draws[round((1 - tail) * (len(draws) - 1))]


def resampled_ratio(source, old, new):
    """new / old, medians of one resample of each."""
    return statistics.median(source.choices(new, k=len(new))) / statistics.median(source.choices(old, k=len(old)))


def bootstrap_ratio(pairs, seed=1):
    """The geometric mean over (old, new) of the ratio of medians new / old: estimate, low and high end.

    Every list is resampled on its own. The ends are None when a list is too short to show its spread."""
    pairs = [(present(old), present(new)) for old, new in pairs]
    estimate = geometric_mean([statistics.median(new) / statistics.median(old) for old, new in pairs])
    if min(len(values) for pair in pairs for values in pair) < SAMPLES_MIN:
        return estimate, None, None
    source = random.Random(seed)
    draws = [geometric_mean([resampled_ratio(source, old, new) for old, new in pairs]) for _ in range(REPLICATES)]
    return estimate, *interval(draws)


def verdict(low, high, less="faster", more="slower"):
    """What an interval of new / old allows to say."""
    if low is None or low <= 1 <= high:
        return "no difference seen"
    return less if high < 1 else more
