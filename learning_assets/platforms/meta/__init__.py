"""The Meta Marketing API, and any Graph server that keeps to it.

What belongs here: everything that knows this platform. What does not: the protocol of sources (`platforms.source`).

From outside to inside: `source` (the answers of the protocol, many accounts), `accounts` (one account's days), `catalog` (its ads), `reports`
(questions to Insights), `facts` and `money` (what the answers mean), `transport`, `limits` and `errors` (calls), `aside` (what a killed
run had fetched), `connection` (whether token and accounts are as they should be).
"""

from learning_assets.platforms.meta.source import MetaSource

__all__ = ["MetaSource"]
