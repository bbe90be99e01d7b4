"""What a niche knows, without anybody being known: what leaves an owner, what is made of it, and when it is told.

From outside to inside: `release` (from day to day: who enters, what is told, what goes dark), `aggregate` (figures of a group and of a cell),
`insights` (what leaves an owner). What does not belong here: how lifts are estimated (`lift`), who consents, and what is recommended.

A **cell** is a niche (or all niches) x attribute = value x metric. Owners enter a cell in **groups** of `network.min_owners`, each owner
once and in one group only; a group's mean is taken, rounded and kept at that moment, and every figure is made of whole groups. Whoever sees all
figures ever told, and subtracts them as he likes, can therefore learn no more than the rounded means of groups that have no owner in common: of
an owner of a group of n, whose insight varies like the others', a share 1/n of the variance, and 1/(n - 1) with the data of one other owner.
The plain rule (freeze a cell until five memberships have changed, then tell the mean of whoever is there) does not give that: the figures before
and after one owner left and four came share four owners, and together give away a third of the leaver's variance at five owners.

When an owner leaves, the cells that it was in go dark at once and its group is dissolved for good. The others of the group do not enter that cell
again, since a second sum with them in it would give away who left. This is the price; they are still told what the cell says.
"""

from learning_assets.learning.wisdom.aggregate import WISDOM, band, grain
from learning_assets.learning.wisdom.insights import BENCHMARK, INSIGHTS, benchmarks, lifts
from learning_assets.learning.wisdom.release import CELLS, GROUPS, MEMBERS, State, advance, of_niche, published

VERSION = "1"

__all__ = [
    "BENCHMARK",
    "CELLS",
    "GROUPS",
    "INSIGHTS",
    "MEMBERS",
    "VERSION",
    "WISDOM",
    "State",
    "advance",
    "band",
    "benchmarks",
    "grain",
    "lifts",
    "of_niche",
    "published",
]
