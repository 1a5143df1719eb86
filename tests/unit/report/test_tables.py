"""Numbers are written with their intervals in one way, and only comparable numbers are called best."""

from io import StringIO

import pytest
from rich.console import Console

from denoisight.errors import DataError
from denoisight.evaluate.protocols import Protocol
from denoisight.evaluate.results import Result, Score
from denoisight.metrics import Metric
from denoisight.report.tables import (
    Arm,
    Cell,
    Table,
    compare,
    compare_classes,
    format_score,
    markdown,
    score_tables,
    terminal,
)

ERROR, SHARE = Metric("ratio", "lower"), Metric("fraction", "higher")
METRICS = {"abs_rel": ERROR, "delta1": SHARE}


def score(value, low=None, high=None):
    return Score(value=value, low=low, high=high)


def arm(name, abs_rel, delta1=0.9, **about):
    return Arm(name, {"abs_rel": score(abs_rel), "delta1": score(delta1)}, METRICS, **about)


def result(predictor, value, task="depth", classes=(), partial=False):
    is_depth = not classes
    protocol = Protocol(
        name=f"made-up/{task}",
        data="scenes",
        split="val",
        task=task,
        truth=task,
        count=20,
        list_hash="0" * 64,
        pooling="per-image",
        resize="none",
        source="none",
        range_m=(0.1, 10.0) if is_depth else None,
        alignment="depth" if is_depth else None,
        classes=classes,
    )
    scores = {"abs_rel": score(value)} if is_depth else {f"iou/{c}": score(value) for c in classes}
    other = {name: score(0.0) for name in scores}
    return Result(
        predictor=predictor,
        model_hash=None,
        protocol=protocol,
        partial=partial,
        num_images=5 if partial else 20,
        num_empty=0,
        unanswered=0.25 if partial else 0.0,
        list_hash="0" * 64,
        seed=0,
        settings={},
        scores={"per-image": scores, "pooled": other},
        metrics={name: ERROR if is_depth else SHARE for name in scores},
        versions={},
    )


@pytest.mark.parametrize(
    ("given", "written"),
    [
        (score(4.123, 3.897, 4.351), "4.12 [3.90, 4.35]"),
        (score(0.08731, 0.0812, 0.0934), "0.087 [0.081, 0.093]"),
        (score(88.2, 80.1, 92.4), "88 [80, 92]"),
        (score(0.5, 0.5, 0.5), "0.500 [0.500, 0.500]"),
        (score(0.08731), "0.0873"),
        (score(123.4), "123"),
        (score(-0.25), "-0.250"),
        (score(0.0), "0"),
        (score(0.0000123), "1.2e-05"),
        (score(None), "–"),
        (score(float("nan")), "–"),
    ],
)
def test_a_score_is_written_to_the_precision_of_its_interval(given, written):
    assert format_score(given) == written


def test_the_best_of_each_column_follows_the_direction_of_its_metric():
    table = compare("depth", [arm("a", 0.1, 0.8), arm("b", 0.2, 0.9)])
    assert [[cell.best for cell in row[1:]] for row in table.rows] == [[True, False], [False, True]]
    assert table.columns == ("", "abs_rel (ratio)\u00a0↓", "delta1 (fraction)\u00a0↑")


def test_equal_values_are_both_best_and_one_alone_is_not():
    assert [row[1].best for row in compare("", [arm("a", 0.1), arm("b", 0.1)]).rows] == [True, True]
    assert not compare("", [arm("a", 0.1)]).rows[0][1].best


def test_a_partial_run_is_flagged_and_never_best():
    rows = compare("", [arm("a", 0.3), arm("b", 0.2), arm("c", 0.1, partial=True, count=5)]).rows
    assert [row[1].best for row in rows] == [False, True, False]
    assert rows[2][0] == Cell("c", "(partial, n = 5)")


def test_a_baseline_is_named_as_one():
    assert compare("", [arm("ramp", 0.3, baseline=True)]).rows[0][0] == Cell("ramp", "(baseline)")


def test_a_column_has_one_number_of_decimals():
    arms = [Arm(n, {"abs_rel": s}, METRICS) for n, s in (("a", score(0.5, 0.4, 0.6)), ("b", score(0.123)))]
    assert [row[1].text for row in compare("", arms).rows] == ["0.500", "0.123"]


def test_a_missing_score_is_a_dash():
    arms = [arm("a", 0.1), Arm("b", {"delta1": score(0.9)}, METRICS)]
    assert compare("", arms).rows[1][1] == Cell("–")


def test_arms_that_disagree_about_a_metric_are_refused():
    other = Arm("b", {"abs_rel": score(0.1)}, {"abs_rel": SHARE})
    with pytest.raises(DataError, match="abs_rel"):
        compare("", [arm("a", 0.1), other])


def test_classes_are_rows():
    metrics = {"miou": SHARE, "iou/road": SHARE, "iou/sky": SHARE}
    arms = [Arm(n, {m: score(v) for m in metrics}, metrics) for n, v in (("a", 0.4), ("b", 0.6))]
    table = compare_classes("", arms)
    assert table.columns == ("", "a", "b")
    assert [row[0].text for row in table.rows] == ["road", "sky"]
    assert [cell.best for cell in table.rows[0][1:]] == [False, True]
    assert len(compare("", arms).columns) == 2


def test_results_are_grouped_by_protocol_with_the_quoted_pooling():
    results = [
        result("ours", 0.1),
        result("ours", 0.7, "semantic", ("road", "sky")),
        result("ramp", 0.4),
        result("some", 0.05, partial=True),
    ]
    depth, semantic, classes = score_tables(results, baselines={"ramp"})
    assert [row[0].text for row in depth.rows] == ["ours", "ramp", "some"]
    assert [row[1].text for row in depth.rows] == ["0.1000", "0.4000", "0.0500"]
    assert depth.rows[1][0].detail == "(baseline, n = 20)"
    assert depth.rows[2][0].detail == "(partial, n = 5, unanswered 25.0%)"
    assert "Mean over images" in depth.note and "partial" in depth.note and "partial" not in semantic.note
    assert [row[0].text for row in classes.rows] == ["road", "sky"]


def test_markdown_is_a_pipe_table_with_the_best_in_bold():
    table = compare("", [arm("a|b", 0.1, count=3), arm("c", 0.2)], note="Said.")
    lines = markdown(table).splitlines()
    assert lines[1] == "| --- | ---: | ---: |"
    assert lines[2] == "| a\\|b (n = 3) | **0.100** | **0.900** |"
    assert lines[3] == "| c | 0.200 | **0.900** |"
    assert lines[-1] == "Said."


def test_the_terminal_shows_every_number_and_no_markup_of_names():
    table = Table("title", ("", "x"), ((Cell("[red]a[/red]"), Cell("4.12", "[3.90, 4.35]", True)),))
    out = StringIO()
    Console(file=out, width=80).print(terminal(table))
    assert "[red]a[/red]" in out.getvalue()
    assert "4.12" in out.getvalue() and "[3.90, 4.35]" in out.getvalue()
