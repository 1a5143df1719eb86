import json
from functools import partial

import pytest
import torch

from denoisight.annotations import IGNORE, Labels, Query, Sample
from denoisight.create.captions import Caption, caption_source, said, told_of
from denoisight.errors import DataError, UsageError


def sample(ids=(), text="", key="clip/000001", classes=("Sky", "Road", "Car", "Sign")):
    truths = {"semantic": Labels(torch.tensor(ids).reshape(1, -1), classes)} if ids else {}
    return Sample(Query(torch.zeros(3, 1, max(len(ids), 1)), text, key), truths)


def ask(spec, of):
    return said(caption_source(spec), of)


@pytest.mark.parametrize(
    ("ids", "text"),
    [
        ([0] * 50 + [1] * 30 + [2] * 20, "a photo of Sky, Road and Car"),
        ([1] * 60 + [0] * 40, "a photo of Road and Sky"),
        ([2] * 99 + [3], "a photo of Car"),
        ([2] * 5 + [IGNORE] * 95, "a photo of Car"),
        ([IGNORE] * 9, None),
        ([], None),
    ],
)
def test_labels_are_named_by_what_they_cover(ids, text):
    assert ask("labels", sample(ids)).text == text


def test_the_own_text_keeps_its_words_and_what_the_query_avoids():
    query = Query(torch.zeros(3, 1, 1), " a sign, not readable ", "a", ("a box",))
    assert ask("text", Sample(query)) == Caption("a sign, not readable", ("a box",))


@pytest.mark.parametrize("text", ['"a red box, not a sphere"', "a red box, not a sphere", " a red box,not a sphere"])
def test_commas_of_a_caption_need_no_quotes(tmp_path, text):
    (tmp_path / "c.csv").write_text(f"a,{text}\n")
    caption = ask(tmp_path / "c.csv", sample(key="a"))
    assert caption == ("a red box", ("a sphere",))


@pytest.mark.parametrize("name", ["c.csv", "c.jsonl"])
def test_a_file_says_what_to_show_and_what_not(tmp_path, name):
    rows = {"clip/000001": "a red box, not a sphere, not a cone", "000002": "a dome"}
    path = tmp_path / name
    if name == "c.csv":
        path.write_text("".join(f'{key},"{text}"\n' for key, text in rows.items()))
    else:
        path.write_text("\n".join(json.dumps({"key": key, "text": text}) for key, text in rows.items()))
    assert ask(path, sample()) == Caption("a red box", ("a sphere", "a cone"))
    assert ask(str(path), sample(key="clip/000002")) == Caption("a dome")
    assert ask(path, sample(key="clip/000003")).text is None


def named_by_file(path, texts):
    rows = ({"file_name": name, "text": text} for name, text in texts.items())
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_file_names_of_one_stem_are_told_apart_by_their_folders(tmp_path):
    path = named_by_file(tmp_path / "c.jsonl", {"cats/001.jpg": "a cat", "rgb/dogs/001.jpg": "a dog", "2.jpg": "a cow"})
    asked = ("cats/001", "dogs/001", "2", "train/2")
    assert [ask(path, sample(key=key)).text for key in asked] == ["a cat", "a dog", "a cow", "a cow"]
    assert ask(path, sample(key="train/cats/001")).text == "a cat"
    with pytest.raises(DataError, match=r"of cats/001\.jpg, dogs/001\.jpg, and any .* meant for '001'"):
        ask(path, sample(key="001"))
    path = named_by_file(tmp_path / "c.jsonl", {"photos/cats/001.jpg": "a cat"})
    assert ask(path, sample(key="cats/001")).text == "a cat"


def test_a_path_says_nothing_of_pictures_elsewhere_and_an_ending_nothing_of_others(tmp_path):
    texts = {"train/1.png": "a box", "a.png": "a cone", "a.jpg": "a dome", "b.d.png": "x"}
    path = named_by_file(tmp_path / "c.jsonl", texts)
    asked = ("train/1", "val/1", "a.png", "a.jpg", "b.d")
    assert [ask(path, sample(key=key)).text for key in asked] == ["a box", None, "a cone", "a dome", "x"]


@pytest.mark.parametrize("name", ["c.csv", "c.jsonl"])
def test_files_of_spreadsheets_and_unusual_line_ends_are_read(tmp_path, name):
    text = "a\u2028b\x85c"
    line = f"1,{text}" if name == "c.csv" else json.dumps({"key": "1", "text": text}, ensure_ascii=False)
    (tmp_path / name).write_text(line + "\r\n", encoding="utf-8-sig", newline="")
    assert ask(tmp_path / name, sample(key="1")).text == text


def test_nothing_may_be_said_on_purpose():
    assert ask("none", sample(text="a sign")) == Caption("")
    assert ask("text", sample()) == Caption(None)


def test_any_function_may_speak():
    assert ask(lambda of: f"picture {of.key}, not dark", sample(key="7")) == Caption("picture 7", ("dark",))


def test_captions_are_told_from_others_by_what_they_say(tmp_path):
    def first(of):
        return "a dome"

    told = []
    for text in ("a red box", "a blue ball"):
        (tmp_path / "c.csv").write_text(f"a,{text}\n")
        told.append(told_of(caption_source(tmp_path / "c.csv")))
    assert told[0] != told[1] and all(each.startswith("c.csv (") for each in told)
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "c.csv").write_text(" a , a blue ball\n\n")
    assert told_of(caption_source(tmp_path / "d" / "c.csv")) == told[1]
    assert [told_of(caption_source(each)) for each in ("text", "labels", first)] == ["text", "labels", "first"]

    class Captioner:
        def __call__(self, of):
            return "a dome"

    named = Captioner()
    named.__name__ = "domes"
    assert told_of(named) == "domes"
    for nameless in (lambda of: "a dome", partial(first), Captioner()):
        with pytest.raises(UsageError, match="without a name"):
            told_of(nameless)


@pytest.mark.parametrize(("content", "says"), [(None, "no captions at"), ('{"text": "a"}', "KeyError"), ("[", "JSON")])
def test_a_bad_file_is_named(tmp_path, content, says):
    path = tmp_path / "captions.jsonl"
    if content is not None:
        path.write_text(content)
    with pytest.raises(DataError, match=says) as raised:
        caption_source(path)
    assert "captions.jsonl" in str(raised.value)
