"""Exports as a source: a folder of CSV files from Ads Manager, or of Parquet files in our own schema.

What belongs here: answering as a source from files that lie there. `ads_manager` and `own_schema` read one file, `rows` is what they give,
`cells` reads numbers and days, `book` puts the files together. What does not: fetching anything.

A file says when it was made by its time of modification: days before that are complete, the day itself is not, and days older than 28 are
final.
"""

from learning_assets.platforms.export.answers import ExportSource, summary

__all__ = ["ExportSource", "summary"]
