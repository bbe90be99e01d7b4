"""Asking Claude about creatives and accounts: whose texts may be sent, what was asked before, what may be spent, and what is stored of the answers.

What belongs here: the way from stored creatives to stored hook types, and from texts of accounts to answers about their niches. What does
not: one request (`platforms.claude`), the ledger (`store.answers`), and what counts where several speak (`learning.hooks`, `store`).
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, time
from itertools import chain
from typing import Any

import polars as pl

from learning_assets.learning import dna, hooks
from learning_assets.platforms import claude
from learning_assets.platforms.claude import Ad, Claude, Question, Reply, Said
from learning_assets.settings import Settings
from learning_assets.store import answers
from learning_assets.store.store import TEXT_TO_CLAUDE, Store

MOST_ATTEMPTS = 2
"""Requests about one text without an answer, after which it is left to the rules."""

REASONS: dict[str, str] = {
    "answered": "asked and answered",
    "known": "answered before, from the store; nothing was sent",
    "labelled": "has such an answer already",
    "no_text": "has no text",
    "no_consent": "the account has not allowed it: `learning-assets consent ACCOUNT --purpose text-to-claude --give --by NAME`",
    "no_key": "set LEARNING_LLM_API_KEY or ANTHROPIC_API_KEY",
    "not_installed": "install learning_assets[llm]",
    "budget_spent": "the budget is spent (LEARNING_LLM_MAX_USD_PER_DAY, LEARNING_LLM_MAX_USD_PER_RUN); asked with a later cycle",
    "out_of_time": "the run's time is over (LEARNING_LLM_RUN_SECONDS); asked with the next cycle",
    "given_up": f"{MOST_ATTEMPTS} requests brought no answer; the rules' labels stay",
    "wrong_key": "the service refuses the key; check LEARNING_LLM_API_KEY",
    "rate_limited": "the service limits the rate of requests; asked with the next cycle",
    "overloaded": "the service is overloaded; asked with the next cycle",
    "server_error": "the service failed; asked with the next cycle",
    "rejected": "the service refuses the request; check LEARNING_LLM_MODEL and LEARNING_LLM_BASE_URL",
    "timeout": "no answer in time (LEARNING_LLM_TIMEOUT_SECONDS); asked with the next cycle",
    "unreachable": "the service cannot be reached; check LEARNING_LLM_BASE_URL and the network",
    "broken_off": "the connection broke; asked with the next cycle",
    "bad_answer": "the answer was not readable, or left the ad out",
    "truncated": "the answer was cut off; raise LEARNING_LLM_MAX_OUTPUT_TOKENS or lower LEARNING_LLM_MAX_ADS_PER_REQUEST",
    "refused": "the model declined to answer",
}
"""What became of a creative, in words, by the name under which it is counted."""

_KEY = ["account_id", "creative_id"]
_HOOKS = ("hook_types", "hook_confidences")
_NICHES = ("niches", "niche_confidences")
_STORED = [*_KEY, "owner", "first_seen", "version", *hooks.SAID.names()]


@dataclass(slots=True)
class Asked:
    """What came of asking about some creatives.

    Attributes
    ----------
    status : creatives by what became of them; keys of REASONS.
    cost_usd_micros : millionths of a US dollar that this run spent, at most.
    dropped : labels in answers that are no hook types of ours.
    """

    status: Counter[str] = field(default_factory=Counter[str])
    cost_usd_micros: int = 0
    dropped: int = 0

    @property
    def numbers(self) -> dict[str, int | float]:
        """Figures under stable keys."""
        labelled = sum(self.status[name] for name in ("answered", "known", "labelled"))
        return {"llm_labelled": labelled, "llm_usd": self.cost_usd_micros / 1e6, "llm_labels_dropped": self.dropped}

    @property
    def table(self) -> pl.DataFrame:
        """How many creatives came to what, most first."""
        rows = [(name, count, REASONS[name]) for name, count in self.status.most_common()]
        return pl.DataFrame(rows, schema={"status": pl.String, "creatives": pl.Int64, "meaning": pl.String}, orient="row")


def ask_hooks(store: Store, settings: Settings, creatives: pl.DataFrame) -> Asked:
    """Let Claude say the hook types of creatives that were read, where their accounts allow it, and store what it says.

    Whatever fails leaves the labels of the rules in place and is counted.

    Parameters
    ----------
    creatives : catalog rows with at least the columns of `dna.CREATIVES`, one per creative.
    """
    found = Asked()
    stored = store.creatives(_STORED).join(creatives.select(_KEY), on=_KEY, how="semi")
    allowed = store.consenting(TEXT_TO_CLAUDE)
    may = stored.filter(pl.col("account_id").is_in(allowed))
    found.status["no_consent"] += stored.height - may.height
    found.status["no_text"] += may["hook_types"].null_count()
    may = may.filter(pl.col("hook_types").is_not_null())
    by_llm = pl.col("hook_sources").list.contains("llm")
    found.status["labelled"] += may.filter(by_llm).height
    waiting = may.filter(~by_llm).join(_texts(creatives, settings.llm.max_text_chars), on=_KEY)
    if settings.llm_key is None:
        found.status["no_key"] += waiting.height
    elif waiting.height:
        # One process at a time, so that no text is sent twice and no budget spent twice.
        with store.tables.lock("llm"):
            said = _Questions(store, settings, found, claude.HOOKS, _KEY, _HOOKS).ask(waiting)
        _write(store, waiting, said, settings.hooks.min_confidence)
    found.status += Counter()  # without what was counted zero times
    return found


def ask_niches(
    store: Store, settings: Settings, accounts: pl.DataFrame, spent_usd_micros: int = 0
) -> tuple[pl.DataFrame, Asked]:
    """Let Claude say what accounts are about, where they allow it; whatever fails leaves an account without an answer and is counted.

    Parameters
    ----------
    accounts : `account_id`, `owner`, `opening` and `sent` (what is sent of the account's texts).
    spent_usd_micros : what the run spent already on other questions, millionths of a US dollar.

    Returns
    -------
    `account_id`, `niches` (most confident first, may be empty) and `niche_confidences` of those that have an answer, and what came of all.
    """
    found = Asked()
    may = accounts.filter(pl.col("account_id").is_in(store.consenting(TEXT_TO_CLAUDE)))
    found.status["no_consent"] += accounts.height - may.height
    said = pl.DataFrame(
        schema={"account_id": pl.String, "niches": pl.List(pl.String), "niche_confidences": pl.List(pl.Float64)}
    )
    if settings.llm_key is None:
        found.status["no_key"] += may.height
    elif may.height:
        with store.tables.lock("llm"):
            said = _Questions(store, settings, found, claude.NICHES, ["account_id"], _NICHES, spent_usd_micros).ask(may)
    found.status += Counter()
    return said, found


def _texts(creatives: pl.DataFrame, most: int) -> pl.DataFrame:
    """What is sent of each creative, and nothing else of it: `opening` and `sent`, at most `most` characters each."""
    parts = [pl.col(name) for name in ("headline", "body", "description")]
    opening, text = dna.opening_of(*parts), dna.text_of(*parts)
    return creatives.select(*_KEY, opening=opening.str.head(most), sent=text.str.head(most)).unique(_KEY, keep="first")


class _Questions:
    """The questions of one run, within its budgets. What is sent and what it cost is in the ledger before the next request goes out."""

    def __init__(
        self,
        store: Store,
        settings: Settings,
        found: Asked,
        question: Question,
        key: list[str],
        names: tuple[str, str],
        spent_usd_micros: int = 0,
    ) -> None:
        """`key` names what is asked about, `names` the labels and their confidences in the ledger's answers."""
        assert settings.llm_key is not None
        self._store, self._settings, self._found = store, settings.llm, found
        self._question, self._key, self._names = question, key, names
        self._claude = Claude(settings.llm, settings.llm_key.get_secret_value(), question)
        midnight = datetime.combine(store.now.date(), time(), store.now.tzinfo)
        spent_today = answers.spent_usd_micros(store.tables, midnight)
        self._budget = min(
            1e6 * settings.llm.max_usd_per_run - spent_usd_micros, 1e6 * settings.llm.max_usd_per_day - spent_today
        )
        self._over: str | None = None

    def ask(self, waiting: pl.DataFrame) -> pl.DataFrame:
        """Answers, those that were there and those that came: the key, labels and confidences under their names."""
        hashes = [self._ad(row).key(self._settings.model, self._question) for row in waiting.iter_rows(named=True)]
        asked = waiting.with_columns(request_hash=pl.Series(hashes, dtype=pl.String))
        answer = pl.Struct(dict(zip(self._names, (pl.List(pl.String), pl.List(pl.Float64)), strict=True)))
        # Texts of different owners never share a request.
        found = [self._of_owner(str(owner), rows) for (owner,), rows in asked.group_by("owner", maintain_order=True)]
        return pl.concat(found).with_columns(pl.col("answer").str.json_decode(answer)).unnest("answer")

    def _of_owner(self, owner: str, rows: pl.DataFrame) -> pl.DataFrame:
        questions = rows.unique("request_hash", keep="first", maintain_order=True)
        hashes = questions["request_hash"].to_list()
        before = questions.join(self._known(owner, hashes), on="request_hash", how="left", maintain_order="left")
        known, failures = pl.col("answer").is_not_null(), pl.col("failures").fill_null(0)
        came_to = dict.fromkeys(before.filter(known)["request_hash"], "known")
        came_to |= dict.fromkeys(before.filter(~known & (failures >= MOST_ATTEMPTS))["request_hash"], "given_up")
        left = before.filter(~pl.col("request_hash").is_in(list(came_to)))
        # What failed before is asked one by one: a text that spoils an answer then spoils no other's.
        batches = chain(
            left.filter(failures == 0).iter_slices(self._settings.max_ads_per_request), left.filter(failures > 0).iter_slices(1)
        )
        for batch in batches:
            came_to |= self._request(owner, batch)
        self._found.status.update(came_to[one] for one in rows["request_hash"])
        after = self._known(owner, hashes).filter(pl.col("answer").is_not_null())
        return rows.select(*self._key, "request_hash").join(after, on="request_hash").select(*self._key, "answer")

    def _known(self, owner: str, hashes: list[str]) -> pl.DataFrame:
        return answers.asked(self._store.tables, owner, self._question.purpose, hashes, claude.OF_THE_TEXT)

    def _request(self, owner: str, batch: pl.DataFrame) -> dict[str, str]:
        """Ask about the texts of a batch, if time and budget allow, and write it into the ledger; what became of each."""
        # A run takes minutes, in which a consent may be withdrawn.
        may = batch.filter(pl.col("account_id").is_in(self._store.consenting(TEXT_TO_CLAUDE)))
        if may.height < batch.height:
            rest = batch.join(may.select(self._key), on=self._key, how="anti")
            return dict.fromkeys(rest["request_hash"], "no_consent") | (self._request(owner, may) if may.height else {})
        ads = [self._ad(row) for row in batch.iter_rows(named=True)]
        if self._over is None and self._claude.seconds_left <= 0:
            self._over = "out_of_time"
        if self._over is None and self._claude.most_usd_micros(ads) > self._budget:
            self._over = "budget_spent"
        if self._over is not None:
            return dict.fromkeys(batch["request_hash"], self._over)
        reply = self._claude.ask(ads)
        self._budget -= reply.cost_usd_micros
        self._found.cost_usd_micros += reply.cost_usd_micros
        self._found.dropped += reply.dropped
        if reply.status != "answered" and reply.status not in claude.OF_THE_TEXT:
            self._over = reply.status
        calls = list(self._calls(owner, batch, reply))
        if self._over is None or reply.cost_usd_micros:
            answers.record(self._store.tables, calls)
        return {call["request_hash"]: call["status"] for call in calls}

    def _calls(self, owner: str, batch: pl.DataFrame, reply: Reply) -> Iterator[dict[str, Any]]:
        """Rows of the ledger, one per text; the request's tokens and cost are shared out evenly, the first ones bearing what is left."""
        for number, (row, said) in enumerate(zip(batch.iter_rows(named=True), reply.said, strict=True)):
            input_tokens, output_tokens, cost = (
                None if total is None else total // batch.height + (number < total % batch.height)
                for total in (reply.input_tokens, reply.output_tokens, reply.cost_usd_micros)
            )
            yield {
                "owner": owner,
                "purpose": self._question.purpose,
                "request_hash": row["request_hash"],
                "attempt": (row["attempts"] or 0) + 1,
                "model": self._settings.model,
                "status": "bad_answer" if reply.status == "answered" and said is None else reply.status,
                "answer": None if said is None else self._answer(said),
                "input_tokens": input_tokens,
                "output_tokens": output_tokens,
                "cost_usd_micros": cost,
                "at": self._store.now,
            }

    def _answer(self, said: Said) -> dict[str, tuple[Any, ...]]:
        return dict(zip(self._names, (said.labels, said.confidences), strict=True))

    @staticmethod
    def _ad(row: dict[str, Any]) -> Ad:
        return Ad(row["opening"], row["sent"])


def _write(store: Store, waiting: pl.DataFrame, said: pl.DataFrame, min_confidence: float) -> None:
    """Store the combined hook types of creatives that have an answer; types below the bar are not said, as with the rules."""
    answered = waiting.select(_STORED).join(said, on=_KEY, suffix="_llm")
    rules = answered.select("hook_types", "hook_confidences")
    model = answered.select(hook_types="hook_types_llm", hook_confidences="hook_confidences_llm")
    combined = hooks.combine({"rule": rules, "llm": hooks.above(model, min_confidence)})
    store.tables.upsert(
        "creative_dna", pl.concat([answered.select(*_KEY, "owner", "first_seen", "version"), combined], how="horizontal")
    )
