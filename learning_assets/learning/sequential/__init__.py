"""Which arm of an experiment is better, by evidence that may be looked at every hour.

What belongs here: the test that promotions rest on, its dispersion, its intervals, and the rule. What does not: which ads are arms
(`experiments`), how far a budget moves (`stages`), and who may move it.

**The test.** Within an hour, clicks of two arms given their sum are binomial: B gets its part of them in proportion to its exposure times exp(r), with r the
log rate ratio. So the hour's rate cancels, however it wanders, and so does the split of traffic, as long as it was fixed before the hour began. The
likelihood ratios against r = 0, weighted by a prior over r > 0, are an e-process: under r <= 0 the chance that it *ever* reaches 1 / a is at most a
(Ville 1939; Lindon & Malek, NeurIPS 2022, arXiv 2011.03567). K arms are compared two by two in both directions, and an arm wins at K / a against
every other one.

**Dispersion.** Clicks of an ad vary more than counts do; log likelihoods are divided by the dispersion phi (`dispersion`), which is known before the hour
that it judges.

**Conversions** come late: an arm's exposure is then its clicks weighted by how many conversions of their age are known (`lagged`).
**ROAS** has no counts; `roas` gives an asymptotic confidence sequence.
"""

from learning_assets.learning.sequential.decisions import ARM_TOTALS, DECISIONS, FLAGS, decide
from learning_assets.learning.sequential.dispersion import DISPERSION, dispersion, log_rate_variance
from learning_assets.learning.sequential.evidence import EVIDENCE, evidence
from learning_assets.learning.sequential.grid import GRID
from learning_assets.learning.sequential.improvement import IMPROVEMENT, cumulative
from learning_assets.learning.sequential.increments import HOURS, PAIR_DAYS, increments, lagged
from learning_assets.learning.sequential.roas import ROAS, ratio_of_roas

__all__ = [
    "ARM_TOTALS",
    "DECISIONS",
    "DISPERSION",
    "EVIDENCE",
    "FLAGS",
    "GRID",
    "HOURS",
    "IMPROVEMENT",
    "PAIR_DAYS",
    "ROAS",
    "cumulative",
    "decide",
    "dispersion",
    "evidence",
    "increments",
    "lagged",
    "log_rate_variance",
    "ratio_of_roas",
]

VERSION = "1"
"""Changes when the same facts would give other evidence or another decision."""
