"""Random numbers without a sequence: each is a hash of (seed, stream, entity).

What belongs here: keys, and uniform, normal, Poisson and geometric numbers drawn from them. What does not: what is drawn with them
(`market`, `delivery`).
"""

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Keys = npt.NDArray[np.uint64]

_GOLDEN = 0x9E3779B97F4A7C15


def _mix(x: Keys) -> Keys:
    """SplitMix64's finalizer: a bijection of 64 bits in which every input bit moves every output bit (Steele, Lea & Flood,
    OOPSLA 2014)."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def stream_start(seed: int, name: str) -> np.uint64:
    """Start of a named stream; a name, not a number, so that adding a stream moves no other."""
    state = seed * _GOLDEN % 2**64
    for byte in name.encode():
        state = (state ^ byte) * 0x100000001B3 % 2**64
    return _mix(np.array([state], dtype=np.uint64))[0]


def entity_key(account: Ints, slot: Ints, generation: Ints) -> Keys:
    """Key of a generation of a slot."""
    return _mix(((account << 48) | (slot << 32) | (generation + 2**20)).astype(np.uint64))


def part_key(key: Keys, day: Ints) -> Keys:
    """Key of an entity's day (or of the n-th part of it)."""
    return _mix(key + (day + 2**20).astype(np.uint64) * np.uint64(_GOLDEN))


def uniform(seed: int, stream: str, key: Keys) -> Floats:
    """Uniform in (0, 1), shape of `key`."""
    return (
        (_mix(_mix(key ^ stream_start(seed, stream)) + np.uint64(_GOLDEN)) >> np.uint64(11)).astype(np.float64) + 0.5
    ) * 2.0**-53


def normal(seed: int, stream: str, key: Keys) -> Floats:
    """Standard normal, shape of `key` (Box & Muller, Ann. Math. Stat. 1958)."""
    radius = np.sqrt(-2 * np.log(uniform(seed, stream, key)))
    return radius * np.cos(2 * np.pi * uniform(seed, stream + "/turn", key))


def poisson(seed: int, stream: str, key: Keys, mean: Floats) -> Ints:
    """Poisson counts with the given means, same shape.

    Below 10 by inversion of the distribution function, above by the normal asymptotic expansion of its inverse, whose first two
    moments are exact to 0.1 % there (Giles, ACM TOMS 2016, algorithm 955).
    """
    z = normal(seed, stream, key)
    root = np.sqrt(np.maximum(mean, 1.0))
    count = np.floor(mean + root * z + 1 / 3 + z**2 / 6 - (z / 36 + z**3 / 72) / root)
    count = np.maximum(count, 0).astype(np.int64)
    few = np.flatnonzero(mean < 10)
    count[few] = 0
    left, rate = uniform(seed, stream + "/few", key[few]), mean[few]
    term = np.exp(-rate)
    k = 0
    # Whoever's uniform lies above the cumulated probability goes on to the next count; 60 is beyond the reach of 53 bits.
    while len(few) and k < 60:
        above = np.flatnonzero(left >= term)
        few, left, rate, term = few[above], (left - term)[above], rate[above], term[above]
        k += 1
        count[few] = k
        term = term * rate / k
    return count
