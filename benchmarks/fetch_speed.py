"""How fast the Marketing API source fetches, against a bare loop over the same pages with the SDK alone.

What belongs here: one timed fetch of daily facts from the simulated Graph server, and the SDK's loop over it. What does not: faults (see
`fetch_faults`).

    python -m benchmarks.fetch_speed --seed 7 [--short]

200 accounts of 100 ads, 7 days. The SDK alone asks for the same reports of level ad and reads their pages, one account after the other,
with its own cursor: no account level, no reconciliation, no retries, and rows that stay dictionaries of text.

- `rows_per_second`, `requests`, `seconds`: of the source's fetch, from asking for the accounts to a table of facts with its manifest. -
`peak_mb`: the most memory that the process held at the end of the fetch, beyond what it held before. - `sdk_rows_per_second`: of the bare
loop. - `ratio_to_sdk`: rows a second of the source over those of the bare loop; above 1 the source is faster.

What bounds it: processor time, on both sides. For an account's 700 rows (half a megabyte of JSON) the server takes about 50 ms to write its
pages; here JSON is parsed twice, for the SDK parses each body to see whether it failed and again when asked for it (20 ms), and
dictionaries of text become columns of integers that are reconciled (40 ms). The interpreter's lock lets one thread do that at a time, so more
threads or requests under way help only to hide the waits for reports. On two cores the server's and the fetch's work overlap, which the
bare loop's do not. On the platform itself the bounds are its reports, which take seconds to minutes, and its rate limits.
"""

import argparse
import json
import resource
import tempfile
from datetime import date
from pathlib import Path
from time import perf_counter, sleep
from typing import Any

from benchmarks.graph import NOW, ended_days, market
from learning_assets.platforms.meta import MetaSource
from learning_assets.sandbox.control import Control
from learning_assets.sandbox.process import start
from learning_assets.settings import Meta


def with_sdk(control: Control, settings: Meta, first: date, last: date) -> int:
    """The bare loop; the number of rows it saw."""
    from facebook_business.adobjects.adreportrun import AdReportRun
    from facebook_business.adobjects.user import User
    from facebook_business.api import FacebookAdsApi
    from facebook_business.session import FacebookSession

    from learning_assets.platforms.meta.reports import DAILY_FIELDS, Question

    session = FacebookSession(access_token=control.token, timeout=(5, 60))
    session.GRAPH = control.url  # pyright: ignore[reportAttributeAccessIssue]
    session.requests.trust_env = False
    api = FacebookAdsApi(session, api_version=settings.api_version)
    rows = 0
    accounts: Any = User("me", api=api).get_ad_accounts(fields=["account_id"], params={"limit": settings.page_size})
    for account in accounts:
        question = Question(account["account_id"], first, last, DAILY_FIELDS)
        params = {name: value for name, value in question.params().items() if name != "fields"}
        run: Any = account.get_insights(fields=list(question.names), params=params, is_async=True)
        while True:
            state = run.api_get()
            if state["async_status"] == "Job Completed" and state["async_percent_completion"] == 100:
                break
            sleep(settings.poll_seconds)
        found: Any = AdReportRun(run["id"], api=api).get_insights(params={"limit": settings.page_size})
        rows += sum(1 for _ in found)
    return rows


def run(seed: int, accounts: int = 200, ads: int = 100, days: int = 7) -> dict[str, object]:
    """Run the benchmark; its figures by key."""
    wanted = ended_days(days)
    first, last = wanted[0], wanted[-1]
    with start(market(seed, accounts, ads), now=NOW) as control, tempfile.TemporaryDirectory() as room:
        settings = Meta.model_validate({"access_token": control.token, "graph_url": control.url, "poll_seconds": 0.05})
        source = MetaSource(settings, kind="sandbox", aside=Path(room), now=lambda: NOW)
        # The server computes a market's days once and then has them at hand; both fetches find them so.
        with_sdk(control, settings, first, last)
        control.clear_requests()
        before = _peak()
        begun = perf_counter()
        fetched = source.actuals(first, last, last)
        seconds = perf_counter() - begun
        peak = _peak() - before
        requests = len(control.requests())
        begun = perf_counter()
        rows = with_sdk(control, settings, first, last)
        sdk_seconds = perf_counter() - begun
    if rows != fetched.rows.height:
        raise RuntimeError(f"the SDK alone saw {rows:,} rows, the source gave {fetched.rows.height:,}")
    ours, theirs = fetched.rows.height / seconds, rows / sdk_seconds
    return {
        "rows": fetched.rows.height,
        "rows_per_second": round(ours),
        "requests": requests,
        "seconds": round(seconds, 2),
        "peak_mb": round(peak, 1),
        "sdk_rows_per_second": round(theirs),
        "ratio_to_sdk": round(ours / theirs, 2),
    }


def _peak() -> float:
    """The most memory that this process has held, megabytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Print the figures as one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=7, help="seed of the market")
    parser.add_argument("--short", action="store_true", help="6 accounts of 10 ads and 3 days")
    arguments = parser.parse_args()
    print(json.dumps(run(arguments.seed, **({"accounts": 6, "ads": 10, "days": 3} if arguments.short else {}))))


if __name__ == "__main__":
    main()
