"""What winners have that losers lack, and what follows for the next creative: `winning_formulas`."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import dagster as dg
import polars as pl

from learning_assets.assets.attributes import ATTRIBUTES, bins_of, measured, with_attributes
from learning_assets.assets.day import Day, day_of
from learning_assets.assets.report import markdown_table, report
from learning_assets.assets.retries import bounded_retries
from learning_assets.assets.words import choice, place, suggested
from learning_assets.learning import experiments, formula, score, suggestions
from learning_assets.partitions import DAILY
from learning_assets.platforms.source import Source
from learning_assets.settings import Settings
from learning_assets.store.store import Store
from learning_assets.store.walls import PIPELINE

if TYPE_CHECKING:
    import altair as alt

NUMBERS = (
    *("headline_words", "copy_words", "copy_sentences", "reading_ease", "sentiment", "power_words"),
    *("duration_seconds", "cuts_per_second", "first_scene_seconds"),
)
"""Numbers of a creative whose quartiles and lift curves are shown."""

VERSION = f"{formula.VERSION}+{score.VERSION}"

_KEY = ["account_id", "creative_id"]
_SHOWN = 40
"""Suggestions that a page has room for."""


@dg.asset(
    partitions_def=DAILY, deps=["actuals", "creative_dna", "patterns"], kinds={"polars", "postgres"}, code_version=VERSION
)
@bounded_retries
def winning_formulas(
    context: dg.AssetExecutionContext,
    store: dg.ResourceParam[Store],
    source: dg.ResourceParam[Source],
    settings: dg.ResourceParam[Settings],
) -> dg.MaterializeResult[None]:
    """What winners have that losers lack, by account, by niche and over all consenting accounts; the score of a new creative; what to try.

    A winner has a ROAS of 3 and more, or where revenue is unknown a CTR that is surely above its account's mean; a loser surely has not. Whether
    the score tells creatives apart is measured on ads that were launched after what it was learned from; if not, no score is given.
    """
    day = day_of(context, source, store.settings)
    found = pl.concat(learned(store, day, settings))
    owners = store.accounts(PIPELINE).select("account_id", "owner")
    rows = found.with_columns(as_of=pl.lit(day.date)).join(owners, on="account_id", how="left")
    written = store.replace_day("winning_formulas", day.date, rows, onward=day.replaying)
    shown = widest(found)
    best = (
        shown.filter(pl.col("q_value").is_not_null(), pl.col("kind") == "choice").sort("q_value", "attribute", "value").head(12)
    )
    return report(
        written,
        rows.schema,
        figures(found, shown, settings.formula.q_level),
        says=summary(shown),
        table=markdown_table(in_words(best), day.simulated, "What tells winners from losers, the surest first."),
        tables={
            "suggestions": markdown_table(
                to_try(store, day, found, settings), day.simulated, "What to try next. One at a time."
            )
        },
        plot=None if day.quiet or best.is_empty() else dots(best, day),
    )


def learned(store: Store, day: Day, settings: Settings) -> Iterator[pl.DataFrame]:
    """The formula and the score of every scope, with the columns of `winning_formulas` but `as_of` and `owner`."""
    rules, window = settings.formula, window_of(store, day, settings)
    judged = formula.judge(window, [*ATTRIBUTES, *NUMBERS], day.date, rules)
    past = score.history(window, ATTRIBUTES, rules)
    patterns = store.tables.read("learning_patterns", PIPELINE, until=day.date, latest=True)
    yield pl.DataFrame(schema={**formula.FORMULA, **score.KEPT, **suggestions.BETWEEN})
    for rows in formula.mine(judged, ATTRIBUTES, NUMBERS, rules, "account").partition_by("account_id", maintain_order=True):
        yield apart(score.kept(rows, *score.learn(past, rules, [rows["account_id"][0]])), {})
    for scope, pool in store.shared_scopes():
        mine = judged.filter(pl.col("account_id").is_in(pool.account_ids))
        niche, owners = pool.name if scope == "niche" else None, settings.patterns.min_owners
        rows = formula.mine(mine, ATTRIBUTES, NUMBERS, rules, scope, niche=niche, min_owners=owners)
        if rows.height:
            own = (pl.col("scope") == "account") & pl.col("account_id").is_in(pool.account_ids)
            common = (pl.col("scope") == scope) & pl.col("niche").eq_missing(pl.lit(niche, pl.String))
            between = suggestions.between_accounts(patterns.filter(own | common), scope, rules)
            yield apart(score.kept(rows, *score.learn(past, rules, pool.account_ids, min_owners=owners)), between)


def apart(rows: pl.DataFrame, between: dict[str, float | None]) -> pl.DataFrame:
    """The rows of a scope with how much its accounts differ in their lifts, on the scope's own row."""
    told = pl.when(pl.col("kind") == "scope")
    return rows.with_columns(
        told.then(pl.lit(between.get(name), kind)).alias(name) for name, kind in suggestions.BETWEEN.items()
    )


def window_of(store: Store, day: Day, settings: Settings) -> pl.DataFrame:
    """The window's sums by ad and week with owner, fingerprint, attributes and numbers of the creatives."""
    days = day.pick(settings.formula.window_days, settings.formula.archive_window_days)
    sums = experiments.sound(store.sums(day.date, days), settings.checks.sample_ratio_p)
    of_creative = store.creatives([*_KEY, "fingerprint", *NUMBERS])
    owners = store.accounts(PIPELINE).select("account_id", "owner")
    window = with_attributes(sums, measured(store, sums), bins_of(store, day.date))
    return window.join(of_creative, on=_KEY, how="left").join(owners, on="account_id", how="left")


def widest(found: pl.DataFrame) -> pl.DataFrame:
    """The rows of the scope to show: all accounts where they are pooled, else the account with most winners and losers."""
    own = found.filter(pl.col("kind") == "scope").with_columns(told=pl.min_horizontal("winners", "losers"))
    first = own.sort(
        pl.col("scope") != "all", pl.col("scope") != "account", "told", "account_id", descending=[False, False, True, False]
    )
    return found.join(
        first.head(1).select("scope", "account_id", "niche"), on=["scope", "account_id", "niche"], nulls_equal=True
    )


def figures(found: pl.DataFrame, shown: pl.DataFrame, q_level: float) -> dict[str, float | None]:
    """What the UI plots from day to day; winners, losers and the score are those of the scope that is shown."""
    own = found.filter(pl.col("kind") == "scope")
    first = shown.filter(pl.col("kind") == "scope").to_dicts() or [dict.fromkeys(found.columns)]
    return {
        "scopes": own.height,
        "scopes_with_formula": own.filter(pl.col("status") == "learned").height,
        "scopes_with_score": own.filter(~pl.col("says_nothing")).height,
        "values_that_tell": found.filter(pl.col("q_value") <= q_level).height,
        **{name: first[0][name] for name in ("winners", "losers")},
        **{
            f"score_{name}": first[0][name]
            for name in ("spearman", "slope", "slope_low", "slope_high", "brier", "says_nothing", "later_ads")
        },
    }


def summary(shown: pl.DataFrame) -> str | None:
    """What is known of the scope that is shown."""
    own = shown.filter(pl.col("kind") == "scope").to_dicts()
    return f"{place(own[0])}: {own[0]['reason']} {own[0]['score_reason']}" if own else None


def named(found: pl.DataFrame) -> pl.Series:
    """The choices as they are spoken of."""
    return pl.Series([choice(*row) for row in found.select("attribute", "value").iter_rows()], dtype=pl.String)


def in_words(found: pl.DataFrame) -> pl.DataFrame:
    """Values of a formula as a media buyer reads them."""
    share = {side: 100 * pl.col(f"{side}_with") / pl.col(side) for side in ("winners", "losers")}
    return found.select(
        choice=named(found),
        **{
            f"of {side}": pl.format("{} of {} ({} %)", f"{side}_with", side, share[side].round(0).cast(pl.Int64))
            for side in share
        },
        **{
            "odds of winners over losers": pl.format("× {}", pl.col("log_odds").exp().round(2)),
            "95 %": pl.format("{} to {}", pl.col("low").exp().round(2), pl.col("high").exp().round(2)),
        },
        q=pl.col("q_value"),
        accounts=pl.col("accounts"),
    )


def to_try(store: Store, day: Day, found: pl.DataFrame, settings: Settings) -> pl.DataFrame:
    """The first suggestions of each account for its next creative, in words."""
    patterns = store.tables.read("learning_patterns", PIPELINE, until=day.date, latest=True)
    rows: list[tuple[str, str]] = []
    for account, niche in store.accounts(PIPELINE).select("account_id", "niche").iter_rows():
        known = [known_to(one, account, niche) for one in (found, patterns)]
        told = suggestions.suggest({}, known[0], known[1], ATTRIBUTES, settings.formula)
        rows += [(account, suggested(one)) for one in told.head(2).iter_rows(named=True)]
        if len(rows) >= _SHOWN:
            break
    return pl.DataFrame(rows, schema={"account": pl.String, "suggestion": pl.String}, orient="row")


def known_to(rows: pl.DataFrame, account_id: str | None, niche: str | None) -> pl.DataFrame:
    """Rows that speak about an account: its own, those of its niche, and those over all."""
    own = (pl.col("scope") == "account") & (pl.col("account_id") == pl.lit(account_id, pl.String)).fill_null(value=False)
    of_niche = (pl.col("scope") == "niche") & (pl.col("niche") == pl.lit(niche, pl.String)).fill_null(value=False)
    return rows.filter(own | of_niche | (pl.col("scope") == "all"))


def dots(best: pl.DataFrame, day: Day) -> "alt.TopLevelMixin":
    """For each value, its share among winners and among losers, and the odds between them with their interval."""
    import altair as alt

    said = best.with_columns(choice=named(best))
    order = said["choice"].to_list()
    sides = {"winners": "#2a7f3f", "losers": "#b5482f"}
    shares = pl.concat(
        said.select("choice", side=pl.lit(side), share=100 * pl.col(f"{side}_with") / pl.col(side)) for side in sides
    )
    y = alt.Y("choice:N", sort=order, title=None, axis=alt.Axis(labelLimit=320))
    colour = alt.Color("side:N", scale=alt.Scale(domain=list(sides), range=list(sides.values())), title=None)
    span = shares.group_by("choice").agg(low=pl.col("share").min(), high=pl.col("share").max())
    left = alt.layer(
        alt.Chart(span).mark_rule(color="#999999").encode(y=y, x="low:Q", x2="high:Q"),
        alt.Chart(shares)
        .mark_point(filled=True, size=80)
        .encode(
            y=y, x=alt.X("share:Q", title="have it, % of winners and of losers", scale=alt.Scale(zero=False)), color=colour
        ),
    ).properties(width=300)
    odds = said.select("choice", odds=pl.col("log_odds").exp(), low=pl.col("low").exp(), high=pl.col("high").exp())
    bare = alt.Y("choice:N", sort=order, title=None, axis=alt.Axis(labels=False, ticks=False))
    scale = alt.Scale(type="log")
    right = alt.layer(
        alt.Chart(pl.DataFrame({"x": [1.0]})).mark_rule(strokeDash=[4, 4]).encode(x="x:Q"),
        alt.Chart(odds)
        .mark_rule()
        .encode(y=bare, x=alt.X("low:Q", scale=scale, title="odds, with 95 % interval"), x2="high:Q"),
        alt.Chart(odds).mark_point(filled=True, size=60, color="black").encode(y=bare, x=alt.X("odds:Q", scale=scale)),
    ).properties(width=240)
    title = f"{place(best.row(0, named=True))}: what winners have, as of {day.date}" + (" (simulated)" if day.simulated else "")
    return alt.hconcat(left, right).properties(title=title)
