"""The page on how good the predictions are: what it reads, and what it says.

What belongs here: the sections of the accuracy report. What does not: the shell that they stand in (`page`), the estimates (`learning.calibration`,
`learning.following`, `learning.accuracy`), and when it is written (`accuracy_report`).

Metrics, models, horizons and segments are whatever the store holds; none is named here but to be called by its usual name. A page is read behind a wall:
that of the pipeline is for whoever runs this, that of an owner shows the owner's accounts, and what was fitted over several owners.

From outside to inside: `sections` (what is said), `plots`, `written` (how figures are written), `told` (what is read).
"""

from learning_assets.assets.accuracy_page.sections import Said, said
from learning_assets.assets.accuracy_page.told import Told, judged, read

__all__ = ["Said", "Told", "judged", "read", "said"]
