"""The drawings are well-formed, self-contained, themed, and the same for the same numbers."""

import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from denoisight.evaluate.results import Score
from denoisight.metrics import Metric
from denoisight.report.curves import bars, denoising_curve, learning_curves
from denoisight.report.curves import lines as plain_lines
from denoisight.report.tables import Arm


def parse(svg):
    """As a document of its own; a page's parser knows the prefix without being told."""
    return ElementTree.fromstring(svg.replace("<svg ", '<svg xmlns:xlink="x" ', 1))


def texts(svg):
    return [node.text for node in parse(svg).iter("text")]


def lines(svg, colour):
    """(x, y) points of every polyline in this colour; y grows downwards."""
    paths = [p for p in parse(svg).iter("path") if f"stroke: {colour}" in p.get("style", "")]
    straight = [p.get("d") for p in paths if "C" not in p.get("d")]
    return [np.array(d.replace("M", "").replace("L", "").split(), float).reshape(-1, 2) for d in straight]


def records(count, name="loss"):
    return [{"step": step, name: 1 / step} for step in range(1, count + 1)]


def steps(values, items=1):
    return np.tile(np.array(values, float), (items, 1))


def arm(name, value, low=None, high=None, **about):
    scores = {"abs_rel": Score(value=value, low=low, high=high)}
    return Arm(name, scores, {"abs_rel": Metric("ratio", "lower")}, **about)


BLUE = "var(--line-0, #2166ac)"
DRAWINGS = {
    "learning": lambda: learning_curves({"a": records(200), "b": records(10)}, "loss"),
    "denoising": lambda: denoising_curve({"a": steps([3, 1, 2], 4)}, "abs_rel", "lower"),
    "lines": lambda: plain_lines({"a": ([999, 499], [0.7, 0.3]), "b": ([999, 499], [0.5, 0.5])}, "t", "share"),
    "bars": lambda: bars([arm("a", 0.1, 0.05, 0.2), arm("b", 0.3)], "abs_rel"),
}


@pytest.mark.parametrize("name", DRAWINGS)
def test_a_drawing_is_self_contained_themed_and_deterministic(name):
    svg = DRAWINGS[name]()
    assert svg == DRAWINGS[name]()
    root = parse(svg)
    assert root.tag == "svg" and root.get("viewBox") and root.get("width") is None
    assert "http" not in svg and "<style" not in svg and "font-family" not in svg
    assert BLUE in svg and "var(--faint, " in svg
    assert all(node.get("{x}href", "#").startswith("#") for node in root.iter())


def test_every_record_with_the_name_becomes_a_point():
    mixed = records(30) + [{"step": 31, "val/abs_rel": 0.5}, {"step": 32, "loss": float("nan")}]
    (line,) = [line for line in lines(learning_curves({"": mixed}, "loss"), BLUE) if len(line) > 2]
    assert len(line) == 30
    assert (np.diff(line[:, 0]) > 0).all() and (np.diff(line[:, 1]) > 0).all()


def test_many_points_get_a_calmer_line():
    noise = np.random.default_rng(0).standard_normal(400)
    noisy = [{"step": step, "loss": value} for step, value in enumerate(noise)]
    raw, calm = [line for line in lines(learning_curves({"": noisy}, "loss"), BLUE) if len(line) > 2]
    assert len(calm) <= len(raw) and calm[:, 1].std() < 0.5 * raw[:, 1].std()


def test_a_wide_range_is_drawn_on_a_logarithmic_axis():
    wide = learning_curves({"": records(100)}, "loss")
    assert {"0.01", "0.1", "1"} <= set(texts(wide))
    assert "0.1" not in texts(learning_curves({"": records(10)}, "loss"))


def test_runs_without_the_value_leave_an_empty_drawing():
    assert "loss" in texts(learning_curves({"a": [], "b": [{"step": 1}]}, "loss"))
    assert "loss" in texts(learning_curves({}, "loss"))


def test_the_mean_over_items_is_drawn_after_each_step():
    values = np.array([[1.0, 4.0], [3.0, 2.0], [np.nan, 9.0]])
    (line,) = [line for line in lines(denoising_curve({"": values}, "abs_rel", "lower"), BLUE) if len(line) == 2]
    assert line[1, 1] < line[0, 1]  # from 2 up to 3, the item with a gap left out
    same = denoising_curve({"": values[:2]}, "abs_rel", "lower")
    assert same == denoising_curve({"": values}, "abs_rel", "lower")


def test_the_ring_stands_at_the_best_step():
    def ring(better):
        svg = denoising_curve({"": steps([3, 1, 2], 3)}, "m", better)
        return [float(node.get("x")) for node in parse(svg).iter("use") if BLUE in node.get("style", "")][-1]

    first, second = ring("higher"), ring("lower")
    assert first < second
    drawn = [denoising_curve({"": steps([3, 1, 2], 3)}, "m", "lower", best=best) for best in (True, False)]
    assert len(drawn[1]) < len(drawn[0])


def test_steps_are_whole_numbers():
    shown = texts(denoising_curve({"": steps([30, 10, 20])}, "m", "lower"))
    assert {"1", "2", "3"} <= set(shown) and "1.5" not in shown


def test_bars_start_at_zero_and_state_their_numbers():
    svg = bars([arm("a", 0.1, 0.05, 0.2), arm("b", 0.2, partial=True), arm("c", None)], "abs_rel")
    shown = texts(svg)
    assert "0.10 [0.05, 0.20]" in shown and "b (partial)" in shown and "–" in shown
    filled = [p for p in parse(svg).iter("path") if f"fill: {BLUE}" in p.get("style", "")]
    widths = []
    for path in filled:
        numbers = [float(part) for part in path.get("d").split() if part[0].isdigit()]
        widths.append(max(numbers[::2]) - min(numbers[::2]))
    assert widths[1] == pytest.approx(2 * widths[0], rel=1e-3)


def test_baselines_are_faint():
    assert "fill: var(--faint, #6b727c)" in bars([arm("ramp", 0.3, baseline=True)], "abs_rel")
    assert f"fill: {BLUE}" not in bars([arm("ramp", 0.3, baseline=True)], "abs_rel")


def test_names_are_escaped_and_not_taken_for_formulas():
    svg = learning_curves({"<b>&": records(3), "$x$": records(3)}, "loss")
    assert "<b>" not in svg and {"<b>&", "$x$"} <= set(texts(svg))
