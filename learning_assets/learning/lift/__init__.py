"""Which creative choices go with better results: lifts of attribute values, and the life cycle of what was found.

From outside to inside: `estimates` (lifts of single attributes), `interactions` (two attributes together), `timing` (hours and weekdays),
`life_cycle` (testing, active, deprecated), `found` (what is said of a pattern, q-values, shrinkage), `clusters` (errors). What does not belong
here: where the sums come from, and what is recommended from a pattern.

**Estimate.** In stratum s (account x week; the experiment where arms were assigned at random) let n1, m1 be the
denominators and numerators of the ads with the value, n0, m0 those of the other ads whose attribute is known, N = n0 +
n1. With R = m1 n0 / N and S = m0 n1 / N, the log lift is log(ΣR / ΣS) (Mantel & Haenszel 1959; for rates Greenland &
Robins, Biometrics 41, 1985). It compares within strata only, so the level of an account and the week's season cancel.

**Error over several accounts.** Accounts are the clusters: u_c = R_c / ΣR - S_c / ΣS, and w_c the account's share of the
comparison (mean of R_c / ΣR and S_c / ΣS). se² = Σ u_c² / (1 - w_c), Student's t with 1/Σw² - 1 degrees of freedom. Where
k accounts weigh the same these are the textbook's k/(k-1) Σu² and k - 1; where one account dominates, the textbook's
would call half a dozen accounts sixty (simulated at twenty accounts whose sizes vary by a factor of e: p < 0.05 in 12 %
of comparisons without any effect, against 6 %).

**Error within an account.** Ads are the clusters. The derivative of the log lift by the weight of ad i is its share,

    u_i = Σ_s (n0/N) (m_i - n_i μ1) / ΣR     over the strata in which it has the value,     μ1 = (m1 + θ m0) / N,
        - Σ_s (n1/N) (m_i - n_i μ0) / ΣS     over those in which it has not,                μ0 = μ1 / θ,

θ being the lift; the shares of a stratum add up to R_s/ΣR - S_s/ΣS, so both clusterings linearise the same estimate.
Residuals are too small because μ and θ were fitted to the same ads, by half in an experiment of two arms: they are
divided by √(1 - n_i/N) in every stratum and by √(1 - g_i) per ad, g_i being its leverage on the lift, which makes the
variance unbiased where ads are alike (Bell & McCaffrey, Survey Methodology 28, 2002). Degrees of freedom are Welch's for
two sides, each with an effective number of ads (Σa)²/Σa², a being the weight of an ad's noise (Kish 1965), lowered by
the strata's fitted means. One ad against many therefore says nothing (its spread is unknown), and neither does a side
that one ad dominates: the error is NULL. Simulated coverage of 95 % intervals is 92 % or more
from 8 ads or 5 experiments up.
"""

from learning_assets.learning.lift.estimates import mine
from learning_assets.learning.lift.found import FOUND, KEY, METRICS, PAIR, STATE, Evidence, Scope
from learning_assets.learning.lift.interactions import mine as mine_pairs
from learning_assets.learning.lift.life_cycle import advance
from learning_assets.learning.lift.timing import TIMES, Compared
from learning_assets.learning.lift.timing import compare as compare_times
from learning_assets.learning.lift.timing import mine as mine_times

VERSION = "2"

__all__ = [
    "FOUND",
    "KEY",
    "METRICS",
    "PAIR",
    "STATE",
    "TIMES",
    "VERSION",
    "Compared",
    "Evidence",
    "Scope",
    "advance",
    "compare_times",
    "mine",
    "mine_pairs",
    "mine_times",
]
