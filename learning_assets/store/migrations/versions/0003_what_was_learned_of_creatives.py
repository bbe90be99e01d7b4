"""What was learned of creatives: niches, bins, knowledge, formulas, winners

Revision ID: 0003
Revises: 0002
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from learning_assets.store.memory import ensure_index

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def _media() -> list[sa.Column]:
    """Of `creative_dna`: what can be seen and heard in a creative's file."""
    return [
        sa.Column("media_status", sa.Text()),
        sa.Column("media_reason", sa.Text()),
        sa.Column("media_hash", sa.Text()),
        sa.Column("media_version", sa.Text()),
        sa.Column("media_tries", sa.BigInteger()),
        sa.Column("media_tried_on", sa.Date()),
        sa.Column("media_kind", sa.Text()),
        sa.Column("brightness", sa.Double()),
        sa.Column("contrast", sa.Double()),
        sa.Column("colourfulness", sa.Double()),
        sa.Column("palette", sa.ARRAY(sa.Text)),
        sa.Column("motion", sa.Double()),
        sa.Column("cuts", sa.BigInteger()),
        sa.Column("scenes", sa.BigInteger()),
        sa.Column("faces", sa.BigInteger()),
        sa.Column("face_share", sa.Double()),
        sa.Column("text_share", sa.Double()),
        sa.Column("loudness_lufs", sa.Double()),
        sa.Column("tempo_bpm", sa.Double()),
        sa.Column("beat_strength", sa.Double()),
        sa.Column("sound", sa.Text()),
        sa.Column("duration_seconds", sa.Double()),
        sa.Column("cuts_per_second", sa.Double()),
        sa.Column("first_scene_seconds", sa.Double()),
        sa.Column("dominant_colour", sa.Text()),
        sa.Column("brightness_band", sa.Text()),
        sa.Column("contrast_band", sa.Text()),
        sa.Column("colourfulness_band", sa.Text()),
        sa.Column("motion_band", sa.Text()),
        sa.Column("cutting_band", sa.Text()),
        sa.Column("has_faces", sa.Text()),
        sa.Column("text_overlay", sa.Text()),
        sa.Column("loudness_band", sa.Text()),
        sa.Column("tempo_band", sa.Text()),
    ]


def upgrade() -> None:
    op.create_table(
        "account_niches",
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("niche", sa.Text(), nullable=True),
        sa.Column("said_by", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.account_id"], name=op.f("fk_account_niches_account_id")),
        sa.PrimaryKeyConstraint("account_id", "at", name=op.f("pk_account_niches")),
    )
    op.create_table(
        "attribute_bins",
        sa.Column("as_of", sa.Date(), nullable=False),
        sa.Column("pool", sa.Text(), nullable=False),
        sa.Column("attribute", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=True),
        sa.Column("edges", sa.ARRAY(sa.Double()), nullable=False),
        sa.Column("learned_on", sa.Date(), nullable=False),
        sa.PrimaryKeyConstraint("as_of", "pool", "attribute", name=op.f("pk_attribute_bins")),
    )
    op.add_column("learning_patterns", sa.Column("niche", sa.Text(), nullable=True))
    op.drop_constraint("uq_learning_patterns", "learning_patterns", type_="unique")
    op.create_unique_constraint(
        "uq_learning_patterns",
        "learning_patterns",
        ["as_of", "scope", "account_id", "niche", "attribute", "value", "metric", "evidence"],
        postgresql_nulls_not_distinct=True,
    )
    op.add_column("creative_dna", sa.Column("headline_words", sa.BigInteger(), nullable=True))
    op.drop_column("creative_dna", "headline_length")
    op.drop_column("creative_dna", "copy_length")
    for column in _media():
        op.add_column("creative_dna", column)
    op.create_table(
        "llm_calls",
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("purpose", sa.Text(), nullable=False),
        sa.Column("request_hash", sa.Text(), nullable=False),
        sa.Column("attempt", sa.BigInteger(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("answer", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("input_tokens", sa.BigInteger(), nullable=True),
        sa.Column("output_tokens", sa.BigInteger(), nullable=True),
        sa.Column("cost_usd_micros", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("owner", "purpose", "request_hash", "attempt", name=op.f("pk_llm_calls")),
    )
    op.create_index(op.f("ix_llm_calls_at"), "llm_calls", ["at"])
    op.create_table(
        "knowledge_nodes",
        sa.Column("node_id", sa.Text(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=True),
        sa.Column("scope", sa.Text(), nullable=True),
        sa.Column("account_id", sa.Text(), nullable=True),
        sa.Column("niche", sa.Text(), nullable=True),
        sa.Column("attribute", sa.Text(), nullable=True),
        sa.Column("value", sa.Text(), nullable=True),
        sa.Column("metric", sa.Text(), nullable=True),
        sa.Column("evidence", sa.Text(), nullable=True),
        sa.Column("says", sa.Text(), nullable=True),
        sa.Column("valid_from", sa.Date(), nullable=False),
        sa.Column("valid_to", sa.Date(), nullable=True),
        sa.Column("ended", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("node_id", "version", name=op.f("pk_knowledge_nodes")),
    )
    op.create_index(op.f("ix_knowledge_nodes_valid_to"), "knowledge_nodes", ["valid_to"])
    op.create_table(
        "knowledge_relationships",
        sa.Column("relationship_id", sa.Text(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=True),
        sa.Column("scope", sa.Text(), nullable=True),
        sa.Column("account_id", sa.Text(), nullable=True),
        sa.Column("niche", sa.Text(), nullable=True),
        sa.Column("attribute", sa.Text(), nullable=True),
        sa.Column("value", sa.Text(), nullable=True),
        sa.Column("metric", sa.Text(), nullable=True),
        sa.Column("evidence", sa.Text(), nullable=True),
        sa.Column("source_id", sa.Text(), nullable=False),
        sa.Column("target_id", sa.Text(), nullable=False),
        sa.Column("pattern_id", sa.Text(), nullable=True),
        sa.Column("sign", sa.BigInteger(), nullable=True),
        sa.Column("strength", sa.Double(), nullable=True),
        sa.Column("low", sa.Double(), nullable=True),
        sa.Column("high", sa.Double(), nullable=True),
        sa.Column("shrunk", sa.Boolean(), nullable=True),
        sa.Column("confidence", sa.Double(), nullable=True),
        sa.Column("ads_with", sa.BigInteger(), nullable=True),
        sa.Column("ads_without", sa.BigInteger(), nullable=True),
        sa.Column("accounts", sa.BigInteger(), nullable=True),
        sa.Column("impressions", sa.BigInteger(), nullable=True),
        sa.Column("contradicts", sa.BigInteger(), nullable=True),
        sa.Column("valid_from", sa.Date(), nullable=False),
        sa.Column("valid_to", sa.Date(), nullable=True),
        sa.Column("ended", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("relationship_id", "version", name=op.f("pk_knowledge_relationships")),
    )
    op.create_index(op.f("ix_knowledge_relationships_valid_to"), "knowledge_relationships", ["valid_to"])
    op.create_table(
        "winning_formulas",
        sa.Column("as_of", sa.Date(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=True),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("account_id", sa.Text(), nullable=True),
        sa.Column("niche", sa.Text(), nullable=True),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("attribute", sa.Text(), nullable=True),
        sa.Column("value", sa.Text(), nullable=True),
        sa.Column("winners_with", sa.BigInteger(), nullable=True),
        sa.Column("winners", sa.BigInteger(), nullable=True),
        sa.Column("losers_with", sa.BigInteger(), nullable=True),
        sa.Column("losers", sa.BigInteger(), nullable=True),
        sa.Column("ads", sa.BigInteger(), nullable=False),
        sa.Column("accounts", sa.BigInteger(), nullable=False),
        sa.Column("share", sa.Double(), nullable=True),
        sa.Column("log_odds", sa.Double(), nullable=True),
        sa.Column("z", sa.Double(), nullable=True),
        sa.Column("low", sa.Double(), nullable=True),
        sa.Column("high", sa.Double(), nullable=True),
        sa.Column("p_value", sa.Double(), nullable=True),
        sa.Column("q_value", sa.Double(), nullable=True),
        sa.Column("bin_low", sa.Double(), nullable=True),
        sa.Column("bin_high", sa.Double(), nullable=True),
        sa.Column("winners_quartiles", sa.ARRAY(sa.Double()), nullable=True),
        sa.Column("losers_quartiles", sa.ARRAY(sa.Double()), nullable=True),
        sa.Column("weight", sa.Double(), nullable=True),
        sa.Column("says_nothing", sa.Boolean(), nullable=True),
        sa.Column("score_reason", sa.Text(), nullable=True),
        sa.Column("earlier_ads", sa.BigInteger(), nullable=True),
        sa.Column("later_ads", sa.BigInteger(), nullable=True),
        sa.Column("spread", sa.Double(), nullable=True),
        sa.Column("spearman", sa.Double(), nullable=True),
        sa.Column("slope", sa.Double(), nullable=True),
        sa.Column("slope_low", sa.Double(), nullable=True),
        sa.Column("slope_high", sa.Double(), nullable=True),
        sa.Column("brier", sa.Double(), nullable=True),
        sa.Column("brier_base", sa.Double(), nullable=True),
        sa.Column("between_ctr", sa.Double(), nullable=True),
        sa.Column("between_cvr", sa.Double(), nullable=True),
        sa.Column("between_roas", sa.Double(), nullable=True),
        sa.UniqueConstraint(
            "as_of",
            "scope",
            "account_id",
            "niche",
            "attribute",
            "value",
            name=op.f("uq_winning_formulas"),
            postgresql_nulls_not_distinct=True,
        ),
    )
    for name, more in (
        (
            "winner_looks",
            [sa.Column("as_of", sa.Date(), nullable=False), sa.Column("superseded_on", sa.Date(), nullable=True)],
        ),
        (
            "winner_memory",
            [
                sa.Column("looked_on", sa.Date(), nullable=False),
                sa.Column("dna_version", sa.Text(), nullable=True),
                sa.Column("embedding", sa.ARRAY(sa.REAL()), nullable=True),
            ],
        ),
    ):
        key = ["owner", "fingerprint", *(["as_of"] if name == "winner_looks" else [])]
        op.create_table(name, *_look(), *more, sa.PrimaryKeyConstraint(*key, name=op.f(f"pk_{name}")))
    for column in ("as_of", "superseded_on"):
        op.create_index(op.f(f"ix_winner_looks_{column}"), "winner_looks", [column])
    ensure_index(op.get_bind(), may_create_extension=True)


def _look() -> "list[sa.Column]":
    """The columns of a look at a creative, which two tables have."""
    text, count, rate, day = sa.Text(), sa.BigInteger(), sa.Double(), sa.Date()
    required = dict.fromkeys(("owner", "fingerprint", "account_id", "creative_id"), text)
    required |= {"creatives": count, "outcome": text, "impressions": count, "looks": count}
    required |= dict.fromkeys(("next_look_impressions", "validations"), count)
    other = {"metric": text, "reason": text} | dict.fromkeys(("link_clicks", "mature_clicks", "conversions"), count)
    other |= {f"{metric}{end}": rate for metric in ("ctr", "cvr", "roas") for end in ("", "_low", "_high")}
    other |= dict.fromkeys(("entered_on", "last_validated", "left_on"), day)
    return [sa.Column(name, kind, nullable=name in other) for name, kind in (required | other).items()]


def downgrade() -> None:
    op.drop_table("winner_memory")
    for column in ("superseded_on", "as_of"):
        op.drop_index(op.f(f"ix_winner_looks_{column}"), table_name="winner_looks")
    op.drop_table("winner_looks")
    op.drop_table("winning_formulas")
    for name in ("knowledge_relationships", "knowledge_nodes"):
        op.drop_index(op.f(f"ix_{name}_valid_to"), table_name=name)
        op.drop_table(name)
    op.drop_index(op.f("ix_llm_calls_at"), table_name="llm_calls")
    op.drop_table("llm_calls")
    for column in reversed(_media()):
        op.drop_column("creative_dna", column.name)
    op.add_column("creative_dna", sa.Column("copy_length", sa.Text(), nullable=True))
    op.add_column("creative_dna", sa.Column("headline_length", sa.Text(), nullable=True))
    op.drop_column("creative_dna", "headline_words")
    op.drop_constraint("uq_learning_patterns", "learning_patterns", type_="unique")
    op.execute("DELETE FROM learning_patterns WHERE scope = 'niche'")
    op.drop_column("learning_patterns", "niche")
    op.create_unique_constraint(
        "uq_learning_patterns",
        "learning_patterns",
        ["as_of", "scope", "account_id", "attribute", "value", "metric", "evidence"],
        postgresql_nulls_not_distinct=True,
    )
    op.drop_table("attribute_bins")
    op.drop_table("account_niches")
