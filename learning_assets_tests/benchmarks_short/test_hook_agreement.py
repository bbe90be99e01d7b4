"""The short form of `hook_agreement` gives every figure; the sample keeps its promises; Claude's figures where one answers."""

from collections import Counter
from pathlib import Path

import pytest
from pydantic import SecretStr

from benchmarks import hook_agreement
from learning_assets.learning.hooks import HOOK_TYPES, UNKNOWN
from learning_assets.settings import Llm, Settings
from learning_assets_tests.platforms.messages_api import KEY, MessagesApi, fails


def test_every_figure_is_given():
    figures = hook_agreement.run(seed=3, short=True)
    assert list(figures) == ["ads", "rules", "ads_per_second", "claude", "claude_reason"]
    assert figures["ads"] >= 320
    assert (figures["claude"], figures["claude_reason"]) == (None, "not asked in the short form")
    assert figures["ads_per_second"] > 0
    rules = figures["rules"]
    assert 0 < rules["micro_low"] < rules["micro_f1"] < rules["micro_high"] < 1
    assert 0 < rules["macro_low"] < rules["macro_f1"] < rules["macro_high"] < 1
    assert list(rules["types"]) == [*HOOK_TYPES, UNKNOWN]
    assert set(rules["types"]["question"]) == {"said", "true", "both", "precision", "recall", "f1", "kappa"}


def test_the_sample_holds_every_type_often_enough():
    ads = hook_agreement.sample(hook_agreement.SAMPLE)
    assert ads["id"].is_unique().all()
    assert ads.select("headline", "body").is_unique().all()
    counts = Counter(ads["hook_types"].explode())
    assert set(counts) == {*HOOK_TYPES, UNKNOWN}
    assert min(counts.values()) >= 15


def test_where_claude_answers_the_agreement_of_all_three_is_given(api: MessagesApi):
    llm = Llm(api_key=SecretStr(KEY), base_url=api.url, max_ads_per_request=100, max_usd_per_run=1.0, attempts=1)
    settings = Settings(llm=llm)
    claude, reason = hook_agreement.by_claude(hook_agreement.sample(hook_agreement.SAMPLE), settings)
    assert claude is not None
    assert reason is None
    assert len(api.bodies) == 4
    true = hook_agreement.sample(hook_agreement.SAMPLE)["hook_types"]
    found = hook_agreement.figures(claude, true, seed=3, draws=20)
    assert found["types"]["question"]["recall"] == 1  # the server says question where a question mark stands
    assert found["types"]["offer"]["said"] == 0
    api.faults = [fails(529, "overloaded_error")]
    assert hook_agreement.by_claude(hook_agreement.sample(hook_agreement.SAMPLE), settings) == (None, "no answer: overloaded")
    poor = settings.model_copy(update={"llm": settings.llm.model_copy(update={"max_usd_per_run": 0.0})})
    assert "MAX_USD_PER_RUN" in str(hook_agreement.by_claude(hook_agreement.sample(hook_agreement.SAMPLE), poor)[1])


def test_without_a_key_nobody_is_asked(api: MessagesApi, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)
    settings = Settings(llm=Llm(base_url=api.url))
    claude, reason = hook_agreement.by_claude(hook_agreement.sample(hook_agreement.SAMPLE), settings)
    assert (claude, reason) == (None, "no key is set (LEARNING_LLM_API_KEY or ANTHROPIC_API_KEY)")
    assert api.bodies == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("id,headline,body\n1,a,b\n", "has the columns id, headline, body"),
        ("id,headline,body,hook_types\n1,a,b,offer|sarcasm\n", "ad 1: .*sarcasm"),
        ("id,headline,body,hook_types\n1,a,b,offer|unknown\n", "or 'unknown' alone"),
        ("id,headline,body,hook_types\n1,a,b,\n", "ad 1"),
    ],
)
def test_a_file_that_is_no_sample_is_refused(tmp_path: Path, text: str, words: str):
    path = tmp_path / "sample.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=words):
        hook_agreement.sample(path)
