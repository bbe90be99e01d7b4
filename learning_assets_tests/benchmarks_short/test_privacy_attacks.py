"""The short form of `privacy_attacks` gives every figure."""

from benchmarks import privacy_attacks


def test_every_figure_is_given():
    figures = privacy_attacks.run(seed=3, worlds=400, sizes=(5,), niches=1)
    assert list(figures)[:3] == ["best_attack_vs_blind", "published_share", "utility_rmse_ratio"]
    assert sorted(figures["attacks"]) == [
        "complementary_3",
        "complementary_5",
        "dominance",
        "forget",
        "join",
        "leave",
        "membership",
        "reconstruction",
        "self_subtraction",
    ]
    assert 0.75 < figures["best_attack_vs_blind"] < 1
    assert figures["plain_rule"]["5"] < figures["best_attack_vs_blind"]
    assert 0 < figures["published_share"] <= 1
    assert figures["utility_rmse_ratio"] < 1
    assert figures["interval_coverage"]["5"] > 0.9
    assert 25 < figures["interval_half_width"]["5"] < 40
