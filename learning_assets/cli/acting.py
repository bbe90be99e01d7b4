"""Commands about moving budgets: `promote`, `changes`, `undo`, `reconcile`. Only here can an account be armed."""

from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from learning_assets.cli.terminal import app, console, opened, plain_errors, say, settings_now, simulated

SHOWN = 50
"""Newest entries of a log that are printed."""

if TYPE_CHECKING:
    from learning_assets.platforms.budgets import Budgets
    from learning_assets.platforms.source import Source
    from learning_assets.store.store import Store


@app.command()
def promote(
    arm: Annotated[
        str | None, typer.Option(help="Let budgets of this account be moved, within the caps.", show_default=False)
    ] = None,
    cap_entity: Annotated[str | None, typer.Option(help="Largest daily budget of one ad set or campaign, such as 200.")] = None,
    cap_account: Annotated[str | None, typer.Option(help="Largest daily budget of all together that were moved.")] = None,
    cap_month: Annotated[str | None, typer.Option(help="What raises of a calendar month may add to its spend.")] = None,
    bandit: Annotated[bool, typer.Option("--bandit", help="Let shares of traffic move budgets too, once a day.")] = False,
    disarm: Annotated[
        str | None, typer.Option(help="Let nothing of this account be moved any more.", show_default=False)
    ] = None,
    approve: Annotated[
        str | None, typer.Option(help="Let a raise go ahead that waits for a person: the decision's id.")
    ] = None,
    protect: Annotated[str | None, typer.Option(help="Never move the budget of this ad set or campaign.")] = None,
    unprotect: Annotated[str | None, typer.Option(help="Take a protection back.")] = None,
    kill: Annotated[bool, typer.Option("--kill", help="Stop everything at once, for all accounts.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Take the kill switch back.")] = False,
    by: Annotated[str, typer.Option(help="Name of who decides; it is stored with the moment.")] = "",
    why: Annotated[str, typer.Option(help="The reason; it is stored too.")] = "",
) -> None:
    """Who may move budgets: arm an account with caps, disarm it, approve, protect, or stop everything. Without options: what is in force.

    Until an account is armed, every run is a dry run that says what it would have done.
    """
    asked = [arm, disarm, approve, protect, unprotect, kill or None, resume or None]
    with plain_errors():
        if sum(one is not None for one in asked) > 1:
            raise ValueError("Ask for one thing at a time.")
        store, source = opened(settings_now())
        ledger, now = store.ledger, store.now
        if arm is not None:
            _arm(store, source, arm, (cap_entity, cap_account, cap_month), bandit=bandit, by=by)
        elif disarm is not None:
            done = ledger.disarm(disarm, _owner(store, disarm), by=by, why=why or "by hand", at=now)
            say(f"{disarm} is disarmed." if done else f"{disarm} was not armed.")
        elif approve is not None:
            _approve(store, approve, by)
        elif protect is not None or unprotect is not None:
            _protect(store, protect or unprotect or "", protected=protect is not None, by=by)
        elif kill or resume:
            ledger.switch(killed=kill, by=by, why=why or "by hand", at=now)
            say(
                "Nothing is moved any more, in any account. To take it back: learning-assets promote --resume"
                if kill
                else "Budgets may be moved again."
            )
        else:
            _in_force(store)


def _in_force(store: "Store") -> None:
    """Print which accounts are armed, and the kill switch."""
    from learning_assets.learning.guards import money

    setting = "by the setting LEARNING_ACTING_KILL" if store.settings.acting.kill else ""
    killed = setting or store.ledger.killed()
    if killed:
        say(f"THE KILL SWITCH IS SET {killed}. Nothing is moved.")
    rows = store.ledger.arming()
    heads = ("account", "armed", "bandit", "cap per entity", "cap of the account", "cap of a month", "by", "since", "why")
    table = Table(
        *heads,
        title="Accounts whose budgets may be moved" + simulated(store),
        caption="None was ever armed: every run is a dry run. learning-assets promote --arm ACCOUNT --cap-entity ..."
        if rows.is_empty()
        else None,
    )
    for row in rows.iter_rows(named=True):
        caps = [row[f"cap_{name}_micros"] for name in ("entity", "account", "month")]
        amounts = ["-" if cap is None else money(cap, row["currency"]) for cap in caps]
        flags = ["yes" if row[name] else "no" for name in ("armed", "bandit")]
        table.add_row(
            row["account_id"], *flags, *amounts, escape(row["said_by"]), f"{row['at']:%Y-%m-%d %H:%M}", escape(row["why"])
        )
    console.print(table)


def _arm(
    store: "Store", source: "Source", account: str, caps: tuple[str | None, str | None, str | None], *, bandit: bool, by: str
) -> None:
    from learning_assets.learning.guards import Caps, money

    owner = _owner(store, account)
    if None in caps:
        raise ValueError("Arming needs --cap-entity, --cap-account and --cap-month, amounts in the account's currency.")
    budgets = _budgets(source)
    facts = budgets.account(account)
    entity, whole, month = (_amount(text or "", name) for text, name in zip(caps, ("entity", "account", "month"), strict=True))
    store.ledger.arm(account, owner, Caps(facts.currency, entity, whole, month, bandit), by=by, at=store.now)
    what = "promotions and shares of traffic" if bandit else "promotions"
    say(
        f"{account} is armed for {what}{simulated(store)}: at most {money(entity, facts.currency)} a day for one entity, "
        f"{money(whole, facts.currency)} a day for all that were moved, {money(month, facts.currency)} added a month."
    )
    say(f"To take it back: learning-assets promote --disarm {account}. To stop everything: learning-assets promote --kill")


def _approve(store: "Store", decision_id: str, by: str) -> None:
    from learning_assets.learning.guards import money
    from learning_assets.store.ledger import wishes

    found = wishes(store.promotions.wishes(decision_id=decision_id))
    if not found:
        raise ValueError(f"No decision {decision_id} asks for a budget. See: learning-assets changes")
    for wish in found:
        store.ledger.approve(wish, by=by, at=store.now)
        say(
            f"Approved for {store.settings.acting.approval_hours:g} hours: {wish.entity_id} up to {money(wish.wanted_micros, wish.currency)} a day."
        )


def _protect(store: "Store", entity: str, *, protected: bool, by: str) -> None:
    import polars as pl

    days = store.lake.days("ad_catalog")
    listed = store.lake.read("ad_catalog", days[-1]) if days else pl.DataFrame(schema={"account_id": pl.String})
    mine = listed.filter((pl.col("ad_set_id") == entity) | (pl.col("campaign_id") == entity)) if days else listed
    if mine.is_empty():
        raise ValueError(
            f"There is no ad set or campaign {entity} in the newest catalog. Give the id as the platform writes it."
        )
    account = mine["account_id"][0]
    store.ledger.protect(entity, account, _owner(store, account), protected=protected, by=by, at=store.now)
    say(f"The budget of {entity} is {'never moved' if protected else 'no longer protected'}.")


@app.command()
def changes(
    account: Annotated[str | None, typer.Argument(help="Of one account; by default of all.", show_default=False)] = None,
    outcomes: Annotated[
        bool, typer.Option("--outcomes", help="What became of every budget that was asked for, refusals included.")
    ] = False,
) -> None:
    """The change log: which budgets were moved, from what to what, why, and what came of it."""
    from learning_assets.learning.guards import money

    with plain_errors():
        store, _ = opened(settings_now())
        of: dict[str, Any] = {} if account is None else {"account_id": account}
        if outcomes:
            rows = store.ledger.outcomes(**of).tail(SHOWN)
            say(f"What was asked of budgets{simulated(store)}, oldest first:")
            for row in rows.iter_rows(named=True):
                guard = f" ({row['guard']})" if row["guard"] else ""
                say(f"{row['at']:%Y-%m-%d %H:%M}  account {row['account_id']}, {row['entity_id']}, {row['decision_id']}")
                say(f"    {row['outcome']}{guard}: {row['reason']}")
        else:
            rows = store.ledger.changes(**of).tail(SHOWN)
            say(f"Budgets that were moved{simulated(store)}, oldest first:")
            for row in rows.iter_rows(named=True):
                before, after = (money(row[name], row["currency"]) for name in ("before_micros", "after_micros"))
                say(
                    f"{row['change_id']}  {row['intent_at']:%Y-%m-%d %H:%M}  account {row['account_id']}, {row['kind']} by {row['said_by']}"
                )
                say(f"    {row['entity_id']}: {before} -> {after}, {row['status']}: {row['settled_why'] or 'not settled yet'}")
                say(f"    why: {row['why']}")
        if rows.is_empty():
            say("None yet.")


@app.command()
def undo(
    change: Annotated[str, typer.Argument(help="Id of the change, as the log and the alert have it.")],
    by: Annotated[str, typer.Option(help="Name of who decides; it is stored with the moment.")],
) -> None:
    """Put a budget back to what it was before a change, if it is still what we made it."""
    from learning_assets.acting.writer import undo as take_back

    with plain_errors():
        store, source = opened(settings_now())
        done = take_back(store, _budgets(source), change, by=by)
        say(f"{done.outcome}: {done.reason}")
        if done.outcome == "applied":
            say("It counts towards the platform's four changes of a budget an hour, and may start its learning phase again.")
        else:
            raise typer.Exit(1)


@app.command()
def reconcile(
    account: Annotated[str | None, typer.Argument(help="Of one account; by default of all.", show_default=False)] = None,
) -> None:
    """Find out from the platform what became of changes whose outcome is not known. Nothing is sent."""
    from learning_assets.acting.reconciling import reconcile as resolve
    from learning_assets.store.ledger import OPEN

    with plain_errors():
        store, source = opened(settings_now())
        rows = store.ledger.changes(status=list(OPEN))
        accounts = [one for one in rows["account_id"].unique().sort().to_list() if account in (None, one)]
        if not accounts:
            say("The outcome of every change is known.")
        for one in accounts:
            with store.tables.lock(f"acting/{one}"):
                for found in resolve(store, _budgets(source), one):
                    say(f"{found.change_id}: {found.status}: {found.why}")


def _budgets(source: "Source") -> "Budgets":
    from learning_assets.automation.acting import budgets_of

    found = budgets_of(source)
    if found is None:
        raise ValueError("The source has no budgets that can be moved; LEARNING_SOURCE=meta and the simulated platform do.")
    return found


def _owner(store: "Store", account: str) -> str:
    import polars as pl

    from learning_assets.store.walls import PIPELINE

    known = store.accounts(PIPELINE)
    mine = known.filter(pl.col("account_id") == account)
    if mine.is_empty():
        raise ValueError(
            f"There is no account {account}; there are {', '.join(known['account_id']) or 'none, learn a day first'}."
        )
    return mine["owner"][0]


def _amount(text: str, what: str) -> int:
    """Micros of an amount as people write it."""
    try:
        value = Decimal(text)
    except InvalidOperation:
        value = Decimal("NaN")
    if not value.is_finite() or value <= 0 or value > 10**9 or value != round(value, 2):
        raise ValueError(f"--cap-{what}: '{text}' is no amount. Write it like 250 or 250.50, in the account's currency.")
    return int(value * 1_000_000)
