"""The page asks nothing of the network, escapes what it is given, holds all of it, and is written whole."""

from html.parser import HTMLParser

import numpy as np
import pytest

from denoisight.errors import DataError
from denoisight.evaluate.protocols import find
from denoisight.evaluate.results import Result, Score
from denoisight.metrics import depth
from denoisight.report.curves import denoising_curve
from denoisight.report.page import Page, Plot, describe, to_html, write_page
from denoisight.report.panels import Panels, Row
from denoisight.report.tables import Cell, Table

PICTURE = np.random.default_rng(0).integers(0, 255, (8, 12, 3), np.uint8)
SCORES = (Cell("ours", "(n = 3)"), Cell("4.12", "[3.90, 4.35]", best=True))
ROW = Row("a<i>", (("image", PICTURE), ("truth", PICTURE)))
FULL = Page(
    title="Depth & more",
    lead="It <b>works</b>.",
    command="denoisight evaluate x --out 'a b'",
    facts={"model": "<script>alert(1)</script>", "see": "https://example.org/model"},
    tables=(Table("scores", ("", "abs_rel ↓"), (SCORES,), "Note."),),
    plots=(Plot("curve", denoising_curve({"": np.ones((2, 3))}, "m", "lower"), 'says "what"', "caption"),),
    panels=(Panels("best", (ROW,), {"error": (("wrong", (1, 2, 3)),)}),),
    notes=("The end.",),
)


class Reader(HTMLParser):
    """Collects tags with their attributes, and text."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.text, self.open = [], "", []
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in ("meta", "link", "img", "path", "rect", "use"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        if self.open and self.open[-1] == tag:
            self.open.pop()

    def handle_data(self, data):
        self.text += data


@pytest.fixture(scope="module")
def html():
    return to_html(FULL)


def test_nothing_is_asked_of_the_network(html):
    page = Reader(html)
    links = [a[k] for _, a in page.tags for k in ("src", "href", "xlink:href", "srcset", "data") if k in a]
    assert links and all(link.startswith(("data:", "#")) for link in links)
    outside = html.replace("https://example.org/model", "")
    assert "http:" not in outside and "https:" not in outside
    assert "@import" not in html and "url(http" not in html
    assert {tag for tag, _ in page.tags}.isdisjoint({"script", "iframe", "object", "embed", "base", "form"})
    policy = next(a["content"] for tag, a in page.tags if a.get("http-equiv"))
    assert "default-src 'none'" in policy


def test_text_is_escaped(html):
    assert "<script" not in html and "&lt;script&gt;alert(1)" in html
    assert "It &lt;b&gt;works&lt;/b&gt;." in html and "a&lt;i&gt;" in html
    assert 'aria-label="says &#34;what&#34;"' in html
    assert "<title>Depth &amp; more</title>" in html


def test_everything_given_is_on_the_page(html):
    text = Reader(html).text
    for said in (
        *(
            "Depth & more",
            "It <b>works</b>.",
            "--out 'a b'",
            "<script>alert(1)</script>",
            "scores",
            "abs_rel ↓",
        ),
        *("ours", "(n = 3)", "4.12", "[3.90, 4.35]", "Note.", "curve", "caption", "best", "a<i>", "truth"),
        *("error:", "wrong", "The end.", "denoising step"),
    ):
        assert said in text, said
    assert "<strong>4.12</strong>" in html and "rgb(1, 2, 3)" in html


def test_every_tag_is_closed(html):
    assert Reader(html).open == []


def test_every_picture_has_words(html):
    images = [a for tag, a in Reader(html).tags if tag == "img"]
    assert [a["alt"] for a in images] == ["a<i>: image", "a<i>: truth"]
    assert all((a["width"], a["height"]) == ("12", "8") for a in images)


def test_the_page_is_made_for_phones_dark_screens_and_paper(html):
    assert 'name="viewport"' in html
    for query in ("prefers-color-scheme: dark", "max-width: 640px", "@media print"):
        assert query in html


def test_every_theme_colour_of_drawings_is_set_by_the_page(html):
    used = {part.split(",")[0] for part in FULL.plots[0].svg.split("var(")[1:]}
    assert used and all(f"{name}:" in html for name in used)


def test_empty_parts_are_left_out():
    assert "<h2>" not in to_html(Page("alone"))
    assert "<h2>Notes</h2>" in to_html(Page("alone", notes=("x",)))


def test_equal_pages_are_equal_bytes(tmp_path, html):
    write_page(tmp_path / "a" / "report.html", FULL)
    assert (tmp_path / "a" / "report.html").read_text(encoding="utf-8") == html == to_html(FULL)
    assert [p.name for p in (tmp_path / "a").iterdir()] == ["report.html"]


def test_a_page_that_cannot_be_written_is_a_data_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="Cannot write"):
        write_page(tmp_path / "file" / "report.html", FULL)


def result(partial):
    score = Score(value=0.1, low=0.05, high=0.2)
    scores = dict.fromkeys(depth.METRICS, score)
    return Result(
        predictor="ours",
        model_hash="f" * 64,
        protocol=find("kitchen/val", "depth"),
        partial=partial,
        num_images=4 if partial else 9,
        num_empty=0,
        unanswered=0.0,
        list_hash="0" * 64,
        seed=7,
        settings={"steps": 10},
        scores={"per-image": scores, "pooled": scores},
        metrics=depth.METRICS,
        versions={"torch": "2.0"},
    )


def test_a_result_is_described_so_that_it_can_be_compared():
    facts = describe(result(partial=False))
    assert facts["model"] == "ours" and facts["weights (SHA-256)"] == "f" * 16
    assert facts["images"] == "9" and facts["range"] == "0.001 m to 10 m" and facts["alignment"] == "depth"
    assert facts["seed"] == "7" and facts["steps"] == "10" and facts["versions"] == "torch 2.0"
    assert "ensemble" not in facts and "crop (top, left, height, width)" not in facts
    assert describe(result(partial=True))["images"] == "4 of 9"
