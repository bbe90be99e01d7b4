"""Tables of the widely used connector schema as a source, read only.

What belongs here: reading `basic_ad`, its actions and the histories of ads, ad sets, campaigns, creatives and accounts through SQLAlchemy, one
statement per table, and answering as a source. What does not: filling those tables.

From outside to inside: `source` (the answers of the protocol, and the manifest that goes with them), `catalog` (the ads of a day), `facts`
(what the ads achieved), `accounts` (whose they are, and up to which day they are known), `histories` (what a table of versions said at the
end of a day), `tables` (which tables and columns there are, and reading them), `connection` (the address, the read-only transaction, and errors
without the password). What counts as a conversion and how many minor units a currency has is said in `platforms.meta`.
"""

from learning_assets.platforms.warehouse.source import WarehouseSource

__all__ = ["WarehouseSource"]
