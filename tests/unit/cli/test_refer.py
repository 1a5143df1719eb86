"""`denoisight refer` as a user meets it."""

import io
import json

import pytest
from PIL import Image

from denoisight.cli import main
from denoisight.models.folder import save
from denoisight.predict.load import load
from denoisight.predict.session import Session

RED = "the red box"


@pytest.fixture(scope="module")
def model(make_parts, tmp_path_factory):
    folder = tmp_path_factory.mktemp("referring") / "model"
    save(make_parts(), folder)
    return folder


@pytest.fixture
def photo(tmp_path):
    Image.linear_gradient("L").resize((40, 24)).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


@pytest.fixture
def run(model, tmp_path, capsys, monkeypatch):
    def run(*words, code=0, typed=""):
        monkeypatch.setattr("sys.stdin", io.StringIO(typed))
        with pytest.raises(SystemExit) as left:
            main(["refer", *map(str, words), "--model", str(model), "--steps", "1", "-o", str(tmp_path / "out")])
        assert (left.value.code or 0) == code
        return capsys.readouterr()

    return run


def files(folder):
    return sorted(path.name for path in folder.iterdir())


def test_each_correction_is_a_turn_with_its_files(run, photo, tmp_path):
    said = run(photo, RED, "--avoid", "the left one", "--avoid", "the cone", "--guidance", "1.5").out.splitlines()
    each = ("overlay.png", "referring.npz", "referring.png", "referring_colour.png")
    turns = [f"turn-{n:02}_{end}" for n in (1, 2, 3) for end in each]
    assert files(tmp_path / "out") == ["session.json", "sheet.png", *turns]
    assert Image.open(tmp_path / "out" / "turn-03_referring.png").size == (40, 24)
    assert Image.open(tmp_path / "out" / "turn-03_overlay.png").size == (40, 24)
    assert said[2].startswith(f"3: {RED} - the left one - the cone (") and said[2].endswith("turn-03_referring.png")
    saved = json.loads((tmp_path / "out" / "session.json").read_text())
    assert saved["options"]["guidance"] == 1.5 and saved["current"] == 3


def test_a_shorter_session_leaves_nothing_of_a_longer_one(run, photo, tmp_path):
    run(photo, RED, "--avoid", "the left one")
    (tmp_path / "out" / "notes.txt").write_text("mine")
    run(photo, RED)
    assert not [name for name in files(tmp_path / "out") if name.startswith("turn-02")]
    assert (tmp_path / "out" / "notes.txt").exists()


def test_what_is_written_can_be_replayed(run, photo, model, tmp_path):
    run(photo, RED, "--avoid", "the left one")
    again = Session.replay(load(model, "cpu"), photo, tmp_path / "out" / "session.json")
    assert [turn.avoid for turn in again.history] == [(), ("the left one",)]


def test_json_tells_every_turn(run, photo):
    told = json.loads(run(photo, RED, "--negative-prompt", "the left one", "--json").out)
    assert [(t["number"], t["phrase"], t["avoid"]) for t in told["turns"]] == [(1, RED, []), (2, RED, ["the left one"])]
    assert all(0 <= t["share"] <= 1 and len(t["files"]) == 4 for t in told["turns"])


def test_scenes_bring_their_phrase_and_their_truth(run, tmp_path):
    told = json.loads(run("scenes:test:12", "--critic", "random", "--rounds", "2", "--json").out)
    assert [len(turn["avoid"]) for turn in told["turns"]] == [0, 1, 2]
    assert told["turns"][0]["phrase"] == "the cylinder left of the blue cylinder"
    run("scenes:test:12", "--critic", "oracle", "--rounds", "1")


def test_a_person_may_be_the_critic(run, photo):
    assert run(photo, RED, "--critic", "person", typed="the left one\n\n").out.count("% of the picture") == 2


def test_a_session_on_the_terminal(run, photo, tmp_path):
    typed = [
        "undo", RED, "avoid the left one", "", "undo", "- the cone", "redo", "go 2", "go 9", "avoid the red  box",
        "history", f"save {tmp_path / 'mine.json'}", "undo button", "quit", "never asked",
    ]  # fmt: skip
    said = run(photo, "--interactive", typed="\n".join(typed))
    shown = [line.split(" (")[0] for line in said.out.splitlines()]
    assert shown == [
        f"1: {RED}", f"2: {RED} - the left one", f"1: {RED}", f"3: {RED} - the cone", f"2: {RED} - the left one",
        f"  1: {RED}", f"* 2: {RED} - the left one, after 1", f"  3: {RED} - the cone, after 1", "4: undo button",
    ]  # fmt: skip
    for told in ("nothing to undo", "nothing to redo", "no such turn", "name something else"):
        assert told in said.err
    assert json.loads((tmp_path / "mine.json").read_text())["current"] == 2
    assert json.loads((tmp_path / "out" / "session.json").read_text())["current"] == 4


def test_the_terminal_may_end_with_nothing_asked(run, photo, tmp_path):
    run(photo, "--interactive", typed="history\n")
    assert not (tmp_path / "out").exists()


def test_a_critic_out_of_reach_takes_nothing_away(run, photo, tmp_path, monkeypatch, caplog):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("DENOISIGHT_LLM_KEY", raising=False)
    run(photo, RED, "--critic", "openai", "--llm", "small", "--base-url", "http://127.0.0.1:9/v1")
    assert "the answer stands" in caplog.text
    assert "turn-01_overlay.png" in files(tmp_path / "out")


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        ([], 2, "No phrase"),
        (["  "], 2, "No phrase"),
        ([RED, "--rounds", "0"], 2, "1 to 10"),
        ([RED, "--rounds", "11"], 2, "1 to 10"),
        ([RED, "--guidance", "-1"], 2, "guidance is -1"),
        ([RED, "--guidance", "11"], 2, "up to 10"),
        ([RED, "--guidance", "nan"], 2, "guidance is nan"),
        ([RED, "--guide", "0.8", "0.2"], 2, "lower one first"),
        ([RED, "--image-guidance", "1"], 2, "networks that edit"),
        ([RED, "--critic", "oracle"], 2, "known for scenes alone"),
        ([RED, "--critic", "openai"], 2, "--llm"),
        ([RED, "--critic", "openai", "--llm", "small"], 2, "DENOISIGHT_LLM_KEY"),
        ([RED, "--critic", "oracle", "--interactive"], 2, "leave --critic out"),
        ([RED, "--critic", "nobody"], 2, "--critic"),
    ],
)
def test_a_wrong_call_gets_its_code_and_a_remedy(run, photo, tmp_path, monkeypatch, words, code, says):
    for name in ("DENOISIGHT_LLM_KEY", "OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    said = run(photo, *words, code=code)
    assert says in said.err + said.out and "Traceback" not in said.err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("avoid", ["", "THE red box"])
def test_a_bad_correction_keeps_the_turns_before_it(run, photo, tmp_path, avoid):
    run(photo, RED, "--avoid", "the cone", "--avoid", avoid, code=2)
    assert "turn-02_overlay.png" in files(tmp_path / "out")


def test_pictures_that_cannot_be_had_are_named(run, tmp_path):
    assert "nowhere.png" in run(tmp_path / "nowhere.png", RED, code=3).err
    assert "of scenes:test:12 known for" in run("scenes:test:12", "the moon", "--critic", "oracle", code=2).err
