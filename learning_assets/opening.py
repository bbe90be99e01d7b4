"""Opening a home: its identity, its source of actuals and its store, put together from the settings."""

from datetime import date, timedelta
from typing import TYPE_CHECKING

from learning_assets import clock
from learning_assets.platforms.source import Source
from learning_assets.settings import Settings
from learning_assets.store import identity as identities
from learning_assets.store.identity import Identity, IdentityError

if TYPE_CHECKING:
    from learning_assets.platforms.meta import MetaSource


def open_identity(settings: Settings) -> Identity:
    """What the store in the settings' home was created as; created now where there is none.

    Raises
    ------
    IdentityError : the store belongs to another kind of source or to another market than the settings ask for.
    """
    home = settings.home.resolve()
    found = identities.read(home)
    if found is None:
        today = clock.today(settings)
        market = _market(settings, today)
        first = settings.start_day or _first_day(settings, market) or today - timedelta(days=settings.start_days)
        found = identities.create(home, settings.source_kind, first, clock.now(settings), market)
    identities.require(found, home, settings.source_kind)
    for name in settings.sandbox.model_fields_set if found.kind == "sandbox" else ():
        asked = getattr(settings.sandbox, name)
        if asked != found.market[name]:
            raise IdentityError(
                f"The simulated market in {home} was made with {name}={found.market[name]}, but LEARNING_SANDBOX_{name.upper()}={asked}. "
                "Unset it, or set another LEARNING_HOME."
            )
    return found


def open_source(settings: Settings, identity: Identity) -> Source:
    """The source of actuals that the settings name."""
    return _source(settings, dict(identity.market))


def _market(settings: Settings, today: date) -> dict[str, int | str]:
    if settings.source != "sandbox":
        return {}
    return {"epoch": today.isoformat(), **settings.sandbox.model_dump()}


def _first_day(settings: Settings, market: dict[str, int | str]) -> date | None:
    """An archive begins where its facts do; a live source begins `start_days` before the store."""
    return _source(settings, market).first_day() if settings.source == "archive" else None


def _source(settings: Settings, market: dict[str, int | str]) -> Source:
    if settings.source == "archive":
        from learning_assets.platforms.archive import ArchiveSource

        return ArchiveSource(settings.archive)
    if settings.source == "export":
        from learning_assets.platforms.export import ExportSource

        return ExportSource(settings.export)
    if settings.source == "warehouse":
        from learning_assets.platforms.warehouse import WarehouseSource

        return WarehouseSource(settings.warehouse)
    if settings.source == "meta":
        return open_meta(settings)
    from learning_assets.platforms.sandbox import SimulatedPlatform

    return SimulatedPlatform(
        settings.meta,
        home=settings.home.resolve(),
        market=market,
        now=lambda: clock.now(settings),
        clock_set=settings.clock is not None,
        tolerance=settings.checks.spend_tolerance,
    )


def open_meta(settings: Settings) -> "MetaSource":
    """The ad accounts of the settings, whatever source the store is of."""
    from learning_assets.platforms.meta import MetaSource

    return MetaSource(
        settings.meta,
        aside=settings.home.resolve() / "aside",
        now=lambda: clock.now(settings),
        tolerance=settings.checks.spend_tolerance,
    )
