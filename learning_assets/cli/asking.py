"""Commands that ask what was learned: `score`, `search`, `why`, `fatigue`, `graph`."""

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from learning_assets.cli.terminal import app, console, opened, plain_errors, say, settings_now, simulated


@app.command()
def score(
    what: Annotated[str, typer.Argument(metavar="FILE|TEXT", help="CSV, JSON or text file of creatives, or the text of one.")],
    account: Annotated[
        str | None, typer.Option(help="Account that they are for; by default what was learned over all consenting accounts.")
    ] = None,
) -> None:
    """How likely new creatives beat their account's median ad, what they are made of, and what to change in them, as of the newest learned day."""
    from learning_assets.assets.words import suggested
    from learning_assets.scoring import read, scored

    with plain_errors():
        creatives = read(what)
        store, _ = opened(settings_now())
        day, told = scored(store, creatives, account)
        say(f"As of {day}{simulated(store)}, for {f'account {account}' if account else 'any account'}.")
        for one in told:
            say("")
            say(f"{one.name}: {one.says}. {one.reason}")
            say(f"Found in it: {one.made_of}.")
            for suggestion in one.suggestions.iter_rows(named=True):
                say(f"  - {suggested(suggestion)}")
            if one.suggestions.is_empty():
                say("  No change is carried by the evidence so far.")
        if any(one.suggestions.height > 1 for one in told):
            say("Make one change at a time: what is expected of several does not add up.")


@app.command()
def search(
    text: Annotated[str | None, typer.Argument(help="The idea: the text of an ad.")] = None,
    creative: Annotated[str | None, typer.Option(help="Id of a creative that is the idea, in place of a text.")] = None,
    account: Annotated[str | None, typer.Option(help="Whose winners: those of the account's owner.")] = None,
    owner: Annotated[str | None, typer.Option(help="Whose winners, by the owner's name.")] = None,
    min_ctr: Annotated[float, typer.Option(min=0, max=1, help="Least CTR of a winner, a fraction.")] = 0.0,
    min_similarity: Annotated[
        float | None, typer.Option(min=-1, max=1, help="Least cosine similarity; by default LEARNING_MEMORY_MIN_SIMILARITY.")
    ] = None,
    k: Annotated[int | None, typer.Option(min=1, help="How many at most; by default LEARNING_MEMORY_RESULTS.")] = None,
) -> None:
    """Past winners that resemble an idea, nearest first, within one owner: what they achieved, with intervals, and since when they are known."""
    from learning_assets.searching import search as find

    with plain_errors():
        store, _ = opened(settings_now())
        limits = {"count": k, "min_similarity": min_similarity, "min_ctr": min_ctr}
        found = find(store, text, creative_id=creative, account_id=account, owner=owner, **limits)
        say(f"As of {found.as_of}{simulated(store)}: {found.says}")
        if found.winners.is_empty():
            return
        table = Table(*found.winners.columns)
        for row in found.winners.iter_rows():
            table.add_row(
                *(escape(f"{one:.2f}" if isinstance(one, float) else "-" if one is None else str(one)) for one in row)
            )
        console.print(table)


@app.command()
def fatigue(
    account: Annotated[str | None, typer.Argument(help="Account id; by default every account.")] = None,
    watched: Annotated[bool, typer.Option(help="Also ads that fell, where something is missing or may explain it.")] = False,
) -> None:
    """Which ads tire, as of the newest learned day: how far their CTR fell, what was ruled out, and a suggestion, which is never taken."""
    from learning_assets.assets.fatigue import in_short, worst
    from learning_assets.store.walls import PIPELINE

    with plain_errors():
        store, _ = opened(settings_now())
        known = store.accounts(PIPELINE)["account_id"].to_list()
        if account is not None and account not in known:
            raise ValueError(f"There is no account {account}. learning-assets accounts lists them.")
        day = store.newest_day("ad_fatigue")
        if day is None:
            raise ValueError("Nothing was learned yet: learning-assets replay")
        found = store.tables.read("ad_fatigue", PIPELINE, as_of=day, account_id=known if account is None else [account])
        say(f"As of {day}{simulated(store)}: {in_short(found)}")
        for row in worst(found, found.height).iter_rows(named=True):
            if row["state"] == "watch" and not watched:
                continue
            say("")
            say(f"Ad {row['ad_id']} of account {row['account_id']}: {row['state']}. {row['reason']}")
            say(f"  - {row['remedy']}")


@app.command()
def why(
    ad: Annotated[str, typer.Argument(help="Ad id.")],
    account: Annotated[str | None, typer.Option(help="Account of the ad, where its id stands in several.")] = None,
    as_of: Annotated[
        datetime | None, typer.Option("--as-of", formats=["%Y-%m-%d"], help="As it was known on a day; by default now.")
    ] = None,
) -> None:
    """Why an ad did well or badly against its account: its numbers, and the reasons in the knowledge graph, strongest first, with evidence."""
    from learning_assets.assets.words import in_a_sentence, place, sureness
    from learning_assets.explaining import explain, in_plain_words

    with plain_errors():
        store, _ = opened(settings_now())
        found = explain(store, ad, account, as_of.date() if as_of else None)
        say(f"Ad {found.ad_id} of account {found.account_id}, as of {found.as_of}{simulated(store)}")
        for line in in_plain_words(found):
            say(line)
        if found.reasons.is_empty():
            return
        heads = ("", "reason", "where", "as", "sure of the direction", "since", "last confirmed")
        table = Table(*heads, title="Reasons, strongest first", caption="What correlates is no proof of a cause.")
        for number, row in enumerate(found.reasons.iter_rows(named=True), start=1):
            dates = (str(row["valid_from"]), str(row["confirmed_on"]))
            cells = (in_a_sentence(row), place(row), row["kind"], sureness(row["confidence"]), *dates)
            table.add_row(str(number), *(escape(cell) for cell in cells))
        console.print(table)


@app.command()
def graph(
    as_of: Annotated[
        datetime | None, typer.Option("--as-of", formats=["%Y-%m-%d"], help="As it was on a day; by default the newest one.")
    ] = None,
    account: Annotated[
        str | None, typer.Option(help="Whose graph: that of the account's owner. By default what belongs to nobody.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="File to write; by default it is printed.")] = None,
) -> None:
    """The knowledge graph of a day as node-link JSON, for d3, networkx and others. Another owner's part is never in it."""
    import json

    from learning_assets.explaining import learned_day, wall_of
    from learning_assets.learning.graph import to_node_link
    from learning_assets.store.walls import SHARED

    with plain_errors():
        store, _ = opened(settings_now())
        wall, day = wall_of(store, account), learned_day(store, as_of.date() if as_of else None)
        found = store.graph(day, wall)
        text = json.dumps(to_node_link(found, day), indent=1, ensure_ascii=False)
        if out is None:
            say(text)
            return
        out.write_text(text + "\n")
        whose = "of nobody's part" if wall.owner == SHARED else f"of {wall.owner}'s and nobody's part"
        counts = f"{found.nodes.height} nodes, {found.relationships.height} relationships"
        say(f"{out}: {counts} {whose}, as of {day}{simulated(store)}.")
