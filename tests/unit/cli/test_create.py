"""`denoisight create` as a user meets it."""

import json

import pytest

from denoisight.cli import main
from denoisight.models.folder import save


@pytest.fixture(scope="module")
def model(make_parts, tmp_path_factory):
    folder = tmp_path_factory.mktemp("creator") / "model"
    save(make_parts(creates=True), folder)
    return folder


@pytest.fixture
def run(model, tmp_path, capsys):
    def run(*words, code=0):
        with pytest.raises(SystemExit) as left:
            main(["create", "--model", str(model), "--steps", "1", "-o", str(tmp_path / "out"), *map(str, words)])
        assert (left.value.code or 0) == code
        return capsys.readouterr().err

    return run


def captions(folder):
    return [json.loads(line)["text"] for line in (folder / "metadata.jsonl").read_text().splitlines()]


def test_captions_from_flags_and_a_file(run, tmp_path):
    (tmp_path / "captions.txt").write_text(
        "a blue cone on a plain floor in a room\n\n  two red boxes on a plain ground outdoors \n"
    )
    run("--prompt", "a red box", "--prompts", tmp_path / "captions.txt", "--num", "2")
    told = ["a red box", "a blue cone on a plain floor in a room", "two red boxes on a plain ground outdoors"]
    assert captions(tmp_path / "out") == told * 2
    assert (tmp_path / "out" / "sheet.png").exists()
    assert len(list((tmp_path / "out" / "rgb").glob("*.png"))) == 6


def test_more_images_are_added_to_those_there(run, tmp_path):
    run("--prompt", "a red box", "--res", "16")
    one = (tmp_path / "out" / "rgb" / "000001.png").read_bytes()
    run("--prompt", "a red box", "--res", "16", "--num", "3")
    assert len(captions(tmp_path / "out")) == 3
    assert (tmp_path / "out" / "rgb" / "000001.png").read_bytes() == one


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        ([], 2, "--prompt"),
        (["--prompt", "a red box", "--num", "0"], 2, "--num 0"),
        (["--prompts", "nowhere.txt"], 3, "nowhere.txt"),
        (["--prompt", "a red box", "--sampler", "dmpp"], 2, "dpmpp-2m"),
        (["--prompt", "a red box", "--guidance", "-1"], 2, "guidance"),
        (["--prompt", "box " * 200], 2, "words"),
    ],
)
def test_a_wrong_call_gets_its_code_and_a_remedy(run, tmp_path, words, code, says):
    assert says in run(*words, code=code)
    assert not (tmp_path / "out").exists()


def test_words_it_never_learnt_are_named(run, caplog):
    run("--prompt", "a red zeppelin")
    assert "zeppelin" in caplog.text
