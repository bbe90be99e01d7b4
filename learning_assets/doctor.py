"""What is set, what is reachable and what to do about what is not; examines without changing anything but starting what is embedded."""

import os
from collections.abc import Iterator

from pydantic import ValidationError

from learning_assets.finding import Finding
from learning_assets.platforms.source import PlatformDown
from learning_assets.settings import Settings
from learning_assets.store.address import AddressError
from learning_assets.store.embedded import EmbeddedPostgresError
from learning_assets.store.identity import IdentityError
from learning_assets.store.migrations import MigrationError
from learning_assets.store.tables import TableError

FAILURES = (AddressError, EmbeddedPostgresError, IdentityError, MigrationError, TableError, PlatformDown, OSError)


def examine() -> Iterator[Finding]:
    """Settings, home, database, store, source and what was learned, in the order in which they rest on each other."""
    try:
        settings = Settings()
    except ValidationError as error:
        for one in error.errors():
            name = "LEARNING_" + "_".join(str(part) for part in one["loc"]).upper()
            yield Finding(False, "settings", f"{name}: {one['msg']}", "Correct or unset it.")
        return
    given = sorted(name for name in os.environ if name.startswith("LEARNING_"))
    yield Finding(True, "settings", ", ".join(given) if given else "all defaults")
    home = settings.home.resolve()
    writable = os.access(home if home.exists() else home.parent, os.W_OK)
    yield Finding(writable, "home", str(home), "" if writable else "Set LEARNING_HOME to a folder that can be written.")
    if not writable:
        return
    yield from _database(settings)
    if settings.source == "meta":
        from learning_assets import clock
        from learning_assets.platforms.meta.connection import examine as examine_connection

        yield from examine_connection(settings.meta, clock.now(settings))
    yield from _store(settings)
    slack = settings.automation.slack_token is not None
    yield Finding(
        True,
        "alerts",
        f"Slack, {settings.automation.slack_channel}" if slack else "the log",
        "" if slack else "For Slack: LEARNING_AUTOMATION_SLACK_TOKEN",
    )


def _database(settings: Settings) -> Iterator[Finding]:
    from learning_assets.store import address

    try:
        found = address.resolve(settings)
        found.verify()
        yield Finding(True, "database", str(found))
        if found.embedded is not None:
            status = found.embedded.status()
            yield Finding(status.running, "embedded Postgres", f"{status.version}, data in {status.data}, log {status.log}")
    except FAILURES as error:
        yield Finding(False, "database", str(error), "See what is found.")


def _store(settings: Settings) -> Iterator[Finding]:
    from learning_assets import clock
    from learning_assets.automation.calendar import days_to_learn, last_learned
    from learning_assets.build import open_store
    from learning_assets.opening import open_identity, open_source
    from learning_assets.platforms.source import SourceError
    from learning_assets.store.store import TEXT_TO_CLAUDE
    from learning_assets.store.walls import PIPELINE

    try:
        identity = open_identity(settings)
        yield Finding(True, "store", f"of kind '{identity.kind}', partitions from {identity.start_day}")
        source = open_source(settings, identity)
        today = clock.today(settings)
        yield Finding(
            True, "source", f"{settings.source}: {source.accounts().height} accounts, newest ended day {source.last_day(today)}"
        )
        store = open_store(settings)
        yield Finding(True, "accounts", f"{store.accounts(PIPELINE).height} known, {len(store.pools())} pools of learning")
        search = store.memory.how()
        yield Finding(True, "search for winners", search.says, search.remedy)
        yield _claude(settings, len(store.consenting(TEXT_TO_CLAUDE)))
        done, missing = last_learned(store), days_to_learn(store, source, today)
        if done is None:
            yield Finding(True, "learned", "nothing yet", "learning-assets replay")
        else:
            remedy = (
                f"{len(missing)} days are to be learned: the schedules do it, or learning-assets replay --from {missing[0]}"
                if missing
                else ""
            )
            yield Finding(True, "learned", f"up to {done}", remedy)
    except (*FAILURES, SourceError) as error:
        yield Finding(False, "store", str(error), "See what is found.")


def _claude(settings: Settings, allowed: int) -> Finding:
    """Whether hook types are asked of Claude; no request is made."""
    from importlib.util import find_spec

    missing = [
        *(["set LEARNING_LLM_API_KEY"] if settings.llm_key is None else []),
        *(["install learning_assets[llm]"] if find_spec("anthropic") is None else []),
        *([] if allowed else ["learning-assets consent ACCOUNT --purpose text-to-claude --give --by NAME"]),
    ]
    says = f"{settings.llm.model}, allowed by {allowed} accounts" if not missing else "not asked: hook types are said by rules"
    return Finding(True, "Claude", says, "; ".join(missing))
