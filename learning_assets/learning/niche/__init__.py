"""What an ad and an account are about: the niches (`names`), the local classifier of texts (`classifier`), and an account's niche (`accounts`).

Beside the code stand two tables that can be extended without it: `ads.csv`, ads written by hand that the classifier is fitted on, and
`keywords.csv`, words by niche and sub-niche. What does not belong here: asking anybody else (`platforms`) and what is stored (`store`).
"""

from learning_assets.learning.niche.accounts import ACCOUNTS, of_accounts
from learning_assets.learning.niche.classifier import VERSION, label, probabilities, sub_niche, training_ads
from learning_assets.learning.niche.names import DEFINITIONS, LABELS, NICHES, UNKNOWN

__all__ = [
    "ACCOUNTS",
    "DEFINITIONS",
    "LABELS",
    "NICHES",
    "UNKNOWN",
    "VERSION",
    "label",
    "of_accounts",
    "probabilities",
    "sub_niche",
    "training_ads",
]
