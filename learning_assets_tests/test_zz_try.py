import time, polars as pl
def test_a(learned):
    pl.Config.set_tbl_rows(60); pl.Config.set_tbl_cols(20); pl.Config.set_fmt_str_lengths(80); pl.Config.set_tbl_width_chars(200)
    print(learned.table("champions").select("as_of","pool","status","reason","model_id").to_dicts())
    pt=learned.table("learning_patterns")
    print(pt.group_by("as_of","scope","status","note","evidence").len().sort("as_of","scope","status","note"))
    print(learned.table("prediction_comparisons").filter(pl.col("account_id").is_null(), segment="all").select("as_of","pool","made","model","revision","accuracy","wape","noise_floor","skill","status","ad_days"))
    print(learned.table("improvement_snapshots").select("as_of","account_id","metric","improvement_factor","status","reason","currency","spend_micros","roas","patterns","active_patterns","models"))
    print(learned.table("fetch_manifest").head(2).to_dicts(), learned.store.accounts(__import__("learning_assets.store.walls",fromlist=["x"]).PIPELINE))
    for a in ("actuals_asof","predictions","weekly_sums","account_days","actuals"):
        print(a, learned.store.lake.days(a))
    print(learned.store.lake.read("actuals_asof", learned.days[-1]).height)
    print(learned.store.lake.read("ad_catalog", learned.days[-1]).select("assignment","experiment_id","planned_share").unique())
def test_b(learned_copy):
    t=time.time(); 
    r=learned_copy.run(learned_copy.days[-1]); print(r.success, time.time()-t)
    t=time.time(); 
    r=learned_copy.run(learned_copy.days[-1],"ad_catalog","actuals"); print(r.success, time.time()-t)
    from learning_assets_tests.world import metadata
    print({k:v for k,v in metadata(r,"actuals").items() if k not in("table",)})
    t=time.time(); print(learned_copy.check(learned_copy.days[-1],"actuals","schema"), time.time()-t)
def test_c(learned_copy):
    r=learned_copy.run(learned_copy.days[-2]); print(r.success)
    from learning_assets_tests.world import failure,materialized
    print(failure(r), materialized(r))
