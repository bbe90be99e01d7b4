"""The vote of three models: what an ad's rate will be on its next day, by its own history, by XGBoost and by the DNA score together.

What belongs here: putting the three members together, the parameters that this takes and how they are learned from past days, published
weights, intervals, and whether intervals hold what they promise. What does not: the members (`baselines`, `ctr_model`, `score`), how good
predictions were (`accuracy`), and where predictions are kept.

**The vote** is Gamma–Poisson with XGBoost as the prior of the ad's own history (Clayton & Kaldor, Biometrics 1987):

    p = q (k + events) / (k + expected)

q is what the prior says of the next day; `events` are the ad's own (clicks, for CTR) and `expected` what the prior had said of them before each
of those days, both decayed by age; k is the strength of the prior in events. An ad without a past has p = q; with thousands of events the
ratio of what came to what was expected decides. q is XGBoost's prediction times a rolling calibration (He et al., ADKDD 2014, on freshness),
pooled log-linearly with the DNA score's, equally calibrated, at a weight that past days choose and that may be 0 (Genest & Zidek, Statistical
Science 1986). A member that says nothing of an ad is left out. Without XGBoost the DNA score is the prior, with a strength of its own; without
either the ad's own history (`baselines.history`, a Thompson posterior mean) stands alone.

**Leak-free.** Only predictions that were stored before their day enter `expected`. Past days without one count as the *present* prediction says
of them, which knows nothing of the day it is made for; they are never scored.

**Money.** The numerator of ROAS is no count: its variance is its mean times far more than 1. Revenue and spend of an account are divided by a
`unit`, the variance over the mean of its ad-days' revenue, in micros, learned from the days of each ad around its own total (Pearson's
chi-square over its degrees of freedom; McCullagh & Nelder 1989, §4.5). What is left are *equivalent events*, which vary as counts do, have no
currency, and may be added over accounts; a rate stays what it was. An account whose unit is not known has no own history in the vote.
"""

from learning_assets.learning.ensemble.fitting import learn
from learning_assets.learning.ensemble.parameters import Calibration, Parameters
from learning_assets.learning.ensemble.rows import MEMBERS
from learning_assets.learning.ensemble.spread import count_intervals, intervals, pit
from learning_assets.learning.ensemble.voting import VOTE, mean_weights, vote

__all__ = [
    "MEMBERS",
    "VERSION",
    "VOTE",
    "Calibration",
    "Parameters",
    "count_intervals",
    "intervals",
    "learn",
    "mean_weights",
    "pit",
    "vote",
]

VERSION = "1"
"""Changes when the same predictions and facts would give another vote."""
