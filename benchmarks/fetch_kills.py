"""What a fetch leaves when its process is killed: `python -m benchmarks.fetch_kills [--kills 50] [--seed N] [--short]`.

What belongs here: processes that fetch into a store and are killed with SIGKILL at random moments, and the comparison of the lake with
that of a fetch that nobody disturbed. What does not: how a fetch survives, which is in `assets.fetching` and `platforms.meta.aside`.

A process fetches a range of days in bulk and the newest days as the hourly job does, from the simulated Graph server whose clock
stands. It is killed at a moment drawn evenly from the time that it takes, and the next process goes on in the same store; where one
came to its end before it was to be killed, the store is compared and a new one is begun.

The last line is one JSON object: `kills`, `stores` that were compared, `files_differing` (files of the lake that differ from the undisturbed
ones, or are on one side only) and `accounts_silent` (accounts and days without a row in the manifest), both 0 where nothing is lost.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.graph import EPOCH, NOW, ended_days, market
from benchmarks.stores import remove
from learning_assets.store.walls import PIPELINE

BEGIN = "begin"


def fetch(days: int) -> None:
    """Fetch in this process, whose environment says from where and into which store; says when it begins."""
    from dagster import DagsterInstance

    from learning_assets.assets.fetching import fetch_range
    from learning_assets.automation.replay import QUIET_CONSOLE
    from learning_assets.build import build_definitions, open_store
    from learning_assets.opening import open_identity, open_source
    from learning_assets.settings import Settings

    settings = Settings()
    store, source = open_store(settings), open_source(settings, open_identity(settings))
    store.tables.read("owners", PIPELINE)
    job = build_definitions(settings=settings, store=store, source=source).resolve_job_def("actuals_refresh")
    print(BEGIN, flush=True)
    wanted = ended_days(days)
    fetch_range(store, source, wanted)
    with DagsterInstance.ephemeral() as instance:
        for day in wanted[-2:]:
            job.execute_in_process(run_config=QUIET_CONSOLE, partition_key=day.isoformat(), instance=instance)


def child(home: Path, environment: dict[str, str], days: int) -> "subprocess.Popen[str]":
    """A process that fetches into the store of `home`, when it begins."""
    command = [sys.executable, "-m", "benchmarks.fetch_kills", "--fetch", str(days)]
    started = subprocess.Popen(
        command, env=environment | {"LEARNING_HOME": str(home)}, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert started.stdout is not None
    if started.stdout.readline().strip() != BEGIN:
        raise RuntimeError(f"the process ended before it began to fetch, with {started.wait()}")
    return started


def ended_well(process: "subprocess.Popen[str]") -> None:
    """Wait for a process that is not to be killed."""
    if (code := process.wait()) != 0:
        raise RuntimeError(f"a fetch that nobody killed ended with {code}")


def run(seed: int, kills: int = 50, accounts: int = 6, ads: int = 12, days: int = 14) -> dict[str, int]:
    """Run the benchmark; its figures by key."""
    from learning_assets.sandbox.process import start

    chance = random.Random(seed)
    with start(market(seed, accounts, ads), now=NOW) as control, tempfile.TemporaryDirectory(prefix="fetch-kills-") as room:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("LEARNING_")} | {
            "LEARNING_NOW": NOW.isoformat(),
            "LEARNING_START_DAY": EPOCH.replace(month=9).isoformat(),
            "LEARNING_SOURCE": "meta",
            "LEARNING_META_GRAPH_URL": control.url,
            "LEARNING_META_ACCESS_TOKEN": control.token,
            "LEARNING_META_POLL_SECONDS": "0.05",
            "LEARNING_MEDIA_FILES_PER_DAY": "0",
        }
        whole = Path(room) / "undisturbed"
        begun = child(whole, environment, days)
        at = time.perf_counter()
        ended_well(begun)
        seconds = time.perf_counter() - at
        truth = lake(whole)
        remove(whole)

        done = stores = differing = silent = 0
        while done < kills:
            home = Path(room) / f"killed-{stores}"
            while done < kills:
                process = child(home, environment, days)
                time.sleep(chance.uniform(0, seconds))
                if process.poll() is not None:
                    break
                process.kill()
                process.wait()
                done += 1
                print(f"{done} of {kills} killed", file=sys.stderr, flush=True)
            ended_well(child(home, environment, days))
            found = lake(home)
            differing += sum(found.get(name) != truth.get(name) for name in {*found, *truth})
            silent += days * accounts - told(home)
            stores += 1
            remove(home)
    return {"kills": done, "stores": stores, "files_differing": differing, "accounts_silent": silent}


def lake(home: Path) -> dict[str, str]:
    """The version of the content of every file in a store's lake."""
    import polars as pl

    files = sorted((home / "lake").rglob("*.parquet"))
    return {str(path.relative_to(home)): pl.read_parquet_metadata(path)["version"] for path in files if path.name[0] != "."}


def told(home: Path) -> int:
    """Accounts and days whose daily facts the manifest calls complete or without data."""
    import polars as pl

    from learning_assets.build import open_store
    from learning_assets.platforms.source import WHOLE
    from learning_assets.settings import Settings

    store = open_store(Settings(home=home, source="meta"))
    found = store.tables.read("fetch_manifest", PIPELINE, columns=["status"], fact="daily")
    store.tables.engine.dispose()
    return found.filter(pl.col("status").is_in(WHOLE)).height


def main() -> None:
    """Print the figures as one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=7, help="seed of the market and of the moments")
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--short", action="store_true", help="two kills of a small fetch")
    parser.add_argument("--fetch", type=int, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.fetch:
        fetch(asked.fetch)
    else:
        print(json.dumps(run(asked.seed, 2, 3, 6, 4) if asked.short else run(asked.seed, asked.kills)))


if __name__ == "__main__":
    main()
