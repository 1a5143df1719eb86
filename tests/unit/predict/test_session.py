"""A session: one image encoded once, a tree of turns that nothing is lost from, saved and replayed to the last bit."""

import json

import pytest
import torch

from denoisight.errors import DataError, DenoisightError, SessionError, UsageError
from denoisight.predict.model import Model
from denoisight.predict.options import Options
from denoisight.predict.session import Session

RED, BLUE, LEFT = "the red box", "the blue cone", "the left one"
ONE_STEP = Options(steps=1)


def image(seed=0):
    return torch.rand(3, 24, 32, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def session(tiny_model):
    return Session(tiny_model, image(), options=ONE_STEP)


def answer(turn):
    return turn.prediction.latent


def state(session):
    return session.turn, session.history, session._undone


# ---- turns ----


def test_a_correction_is_the_prediction_that_avoids_it(tiny_model, session):
    session.refer(RED)
    session.avoid(BLUE)
    turn = session.avoid(f" {LEFT} ")
    assert (turn.phrase, turn.avoid, str(turn)) == (RED, (BLUE, LEFT), f"{RED} - {BLUE} - {LEFT}")
    expected = tiny_model.predict(image(), "referring", prompt=RED, avoid=[BLUE, LEFT], steps=1)
    assert torch.equal(answer(turn), expected.latent) and turn.prediction.settings == expected.settings


def test_another_phrase_starts_without_corrections(session):
    session.refer(RED)
    session.avoid(BLUE)
    assert session.refer(LEFT).avoid == ()


def test_the_image_is_encoded_once(make_parts):
    model = Model(make_parts())
    backbone, encodings = model.parts.backbone, []
    plain = backbone.latents.encode
    backbone.latents.encode = lambda pixels: encodings.append(len(pixels)) or plain(pixels)
    session = Session(model, image(), options=Options(steps=2, ensemble=2))
    session.refer(RED)
    session.avoid(BLUE)
    session.undo()
    session.avoid(LEFT)
    assert encodings == [1]


def test_undo_and_redo_walk_the_branch(session):
    first, second = session.refer(RED), session.avoid(BLUE)
    assert session.undo() is first and session.undo() is None
    assert session.redo() is first and session.redo() is second is session.turn
    with pytest.raises(SessionError, match="nothing to redo"):
        session.redo()


def test_going_back_and_on_keeps_both_branches(session):
    first, second = session.refer(RED), session.avoid(BLUE)
    session.undo()
    third = session.avoid(LEFT)
    assert second.parent is third.parent is first and third.avoid == (LEFT,)
    assert session.history == (first, second, third) and [turn.number for turn in session.history] == [1, 2, 3]
    with pytest.raises(SessionError, match="nothing to redo"):
        session.redo()
    assert session.go(second) is session.go(2) is session.turn is second
    assert session.avoid(LEFT).parent is second and len(session.history) == 4


def test_the_path_to_an_answer_changes_nothing_about_it(session):
    direct = session.refer(RED)
    session.avoid(BLUE)
    session.refer(LEFT)
    assert torch.equal(answer(session.refer(RED)), answer(direct))


@pytest.mark.parametrize(
    ("step", "error", "says"),
    [
        (lambda s: s.avoid(BLUE), SessionError, "refer to something first"),
        (lambda s: s.undo(), SessionError, "nothing to undo"),
        (lambda s: s.redo(), SessionError, "nothing to redo"),
        (lambda s: s.go(1), SessionError, "none yet"),
        (lambda s: s.refer("  "), UsageError, "empty phrase"),
    ],
)
def test_what_cannot_be_done_is_told(session, step, error, says):
    with pytest.raises(error, match=says):
        step(session)
    assert state(session) == (None, (), ())


@pytest.mark.parametrize("phrase", ["", RED, BLUE, "box " * 200])
def test_a_step_that_is_refused_changes_nothing(session, phrase):
    session.refer(RED)
    session.avoid(BLUE)
    session.avoid(LEFT)
    session.undo()
    before = state(session)
    with pytest.raises(UsageError):
        session.avoid(phrase)
    with pytest.raises(SessionError, match="1 to 3"):
        session.go(4)
    assert state(session) == before
    assert session.redo().avoid == (BLUE, LEFT)


def test_a_step_that_fails_in_the_network_changes_nothing(make_parts):
    model = Model(make_parts())
    session = Session(model, image(), options=ONE_STEP)
    first, unet = session.refer(RED), model.parts.backbone.unet
    before = state(session)
    weights = unet.conv_out.weight.data.clone()
    unet.conv_out.weight.data.fill_(float("nan"))
    with pytest.raises(DenoisightError, match="NaN"):
        session.avoid(BLUE)
    assert state(session) == before
    unet.conv_out.weight.data.copy_(weights)
    assert session.avoid(BLUE).parent is first


def test_turns_cannot_be_changed(session):
    with pytest.raises(AttributeError):
        session.refer(RED).number = 7


def test_a_session_needs_a_task_that_denoises(make_parts, tiny_model):
    with pytest.raises(UsageError, match="cannot predict"):
        Session(Model(make_parts(denoises=())), image())
    with pytest.raises(UsageError, match="leave route out"):
        Session(tiny_model, image(), options=Options(route="readout"))


# ---- on disk ----


@pytest.fixture
def saved(session, tmp_path):
    session.refer(RED)
    session.avoid(BLUE)
    session.undo()
    session.avoid(LEFT)
    session.go(2)
    session.save(tmp_path / "session.json")
    return tmp_path / "session.json"


def test_a_replay_is_the_session_to_the_last_bit(tiny_model, session, saved, tmp_path, caplog):
    again = Session.replay(tiny_model, image(), saved)
    assert len(again.history) == 3 and again.turn.number == 2 and again.options == session.options
    for one, other in zip(session.history, again.history, strict=True):
        assert torch.equal(answer(one), answer(other)) and one.prediction.settings == other.prediction.settings
        assert (one.parent and one.parent.number) == (other.parent and other.parent.number)
    again.save(tmp_path / "again.json")
    assert (tmp_path / "again.json").read_bytes() == saved.read_bytes()
    assert not caplog.records


def test_a_replay_keeps_the_key_that_the_noise_hangs_on(tiny_model, tmp_path):
    from denoisight.annotations import Query

    session = Session(tiny_model, Query(image(), key="kitchen"), options=ONE_STEP)
    session.refer(RED)
    session.save(tmp_path / "s.json")
    again = Session.replay(tiny_model, image(), tmp_path / "s.json")
    assert torch.equal(answer(again.turn), answer(session.turn))


def test_options_survive(tiny_model, tmp_path):
    options = Options(steps=2, ensemble=2, seed=3, guidance=1.5, guide=(0.25, 1.0), negatives="sum", sampler="euler")
    session = Session(tiny_model, image(), options=options)
    session.save(tmp_path / "s.json")
    again = Session.replay(tiny_model, image(), tmp_path / "s.json")
    assert again.options == options and again.turn is None and again.history == ()


def test_another_image_or_other_weights_are_told(make_parts, tiny_model, saved, caplog):
    Session.replay(tiny_model, image(1), saved)
    assert "another image" in caplog.text
    Session.replay(Model(make_parts(seed=1)), image(), saved)
    assert "other weights" in caplog.text


def spoil(saved, **changes):
    saved.write_text(json.dumps({**json.loads(saved.read_text()), **changes}))


@pytest.mark.parametrize(
    "changes",
    [
        {"format": 2},
        {"turns": [{"number": 1, "parent": 1, "phrase": RED, "avoid": []}]},
        {"turns": [{"number": 2, "parent": None, "phrase": RED, "avoid": []}]},
        {"turns": [{"number": 1, "parent": None, "phrase": 7, "avoid": []}]},
        {"turns": [{"number": 1, "parent": -1, "phrase": RED, "avoid": []}]},
        {"options": {"guide": [0, 1], "stepz": 2}},
        {"options": {"steps": "two", "guide": [0, 1]}},
        {"options": {}},
        {"options": {"guide": [0, 2]}},
        {"current": 9},
        {"more": 1},
    ],
)
def test_a_file_that_is_no_session_is_refused(tiny_model, saved, changes):
    spoil(saved, **changes)
    with pytest.raises(DataError, match=r"session.json is no saved session"):
        Session.replay(tiny_model, image(), saved)


def test_damaged_and_missing_files_are_named(tiny_model, saved, tmp_path):
    saved.write_text(saved.read_text()[:40])
    for path in (saved, tmp_path / "nowhere.json"):
        with pytest.raises(DataError, match=path.name):
            Session.replay(tiny_model, image(), path)


def test_given_latents_cannot_be_saved(tiny_model, tmp_path):
    session = Session(tiny_model, image(), options=Options(latents=torch.zeros(1, 48, 6, 8)))
    with pytest.raises(SessionError, match="given latents"):
        session.save(tmp_path / "s.json")
    assert not list(tmp_path.iterdir())
