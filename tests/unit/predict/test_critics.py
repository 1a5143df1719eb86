"""Critics and the loop that asks them: whatever they say, the answer that is there stands."""

import json
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import torch

from denoisight.annotations import Mask, Query
from denoisight.data.scenes import Scenes
from denoisight.errors import CriticError, DataError, MissingExtraError, SessionError, UsageError
from denoisight.predict.chat import chat, prompt, read_answer
from denoisight.predict.critics import chance, correct, oracle, person
from denoisight.predict.options import Options
from denoisight.predict.prediction import Prediction
from denoisight.predict.puzzle import open_puzzle
from denoisight.predict.session import Session

RED, BLUE, LEFT = "the red box", "the blue cone", "the left one"


def mask(*columns):
    """Of 4x10 pixels, whole columns."""
    inside = torch.zeros(4, 10, dtype=torch.bool)
    inside[:, list(columns)] = True
    return Mask.of(inside)


def known(*columns, avoid=()):
    return Prediction(Query(torch.zeros(3, 4, 10), RED, "a", avoid), "referring", mask(*columns))


# ---- the critics ----


def test_the_oracle_names_the_largest_wrong_overlap():
    critic = oracle(mask(0, 1), [(BLUE, mask(2, 3)), (LEFT, mask(4, 5, 6))])
    assert critic(known(0, 1)) is None
    assert critic(known(0, 2, 4, 5)) == LEFT
    assert critic(known(0, 2, 3, 4)) == BLUE
    assert critic(known(0, 9)) is None
    assert critic(known()) is None


def test_the_oracle_names_nothing_twice_and_no_trifles():
    critic = oracle(mask(0, 1), [(BLUE, mask(2, 3)), (LEFT, mask(4, 5, 6))], least=0.25)
    assert critic(known(0, 2, 4, 5, avoid=("The LEFT  one",))) is None
    assert critic(known(2, 4, 5, avoid=(LEFT,))) == BLUE
    assert critic(known(2, 4, 5, avoid=(LEFT, BLUE))) is None


def test_what_is_meant_is_no_confusion():
    assert oracle(mask(0, 1), [(BLUE, mask(1, 2))])(known(0, 1)) is None


def test_the_oracle_knows_one_picture():
    with pytest.raises(DataError, match="was asked about"):
        oracle(Mask.of(torch.zeros(5, 5)), [])(known(1))


def test_chance_hangs_on_seed_image_and_round():
    phrases = [f"thing {i}" for i in range(20)]
    said = [chance(phrases, seed)(known(avoid=avoid)) for seed in range(5) for avoid in ((), (BLUE,))]
    assert said == [chance(phrases, seed)(known(avoid=avoid)) for seed in range(5) for avoid in ((), (BLUE,))]
    assert len(set(said)) > 5
    assert chance([BLUE, LEFT])(known(avoid=("THE blue cone",))) == LEFT
    assert chance([BLUE])(known(avoid=(BLUE,))) is None


def test_a_person_is_asked():
    asked = []
    assert person(lambda text: asked.append(text) or f" {BLUE} ")(known()) == BLUE
    assert RED in asked[0]
    assert person(lambda text: " ")(known()) is None

    def ended(text):
        raise EOFError

    assert person(ended)(known()) is None


# ---- the loop ----


@pytest.fixture
def session(tiny_model):
    session = Session(tiny_model, torch.rand(3, 24, 32), options=Options(steps=1))
    session.refer(RED)
    return session


def says(*phrases):
    """A critic that says these one after the other; an exception among them is raised."""
    left = list(phrases)

    def critic(prediction):
        phrase = left.pop(0)
        if isinstance(phrase, Exception):
            raise phrase
        return phrase

    return critic


@pytest.mark.parametrize(
    ("said", "avoided", "why"),
    [
        ((None,), (), "has none"),
        (("",), (), "has none"),
        ((BLUE, None), (BLUE,), "has none"),
        ((BLUE, "The Blue  cone"), (BLUE,), "again"),
        ((BLUE, "THE red box"), (BLUE,), "which is asked for"),
        ((BLUE, CriticError("gone home")), (BLUE,), "gone home"),
        ((BLUE, "box " * 100), (BLUE,), "more words"),
        ((BLUE, LEFT, "the wall", "the floor"), (BLUE, LEFT, "the wall"), ""),
    ],
)
def test_corrections_end_and_the_answer_stands(session, caplog, said, avoided, why):
    caplog.set_level("INFO")
    seen = []
    turn = correct(session, says(*said), 3, seen.append)
    assert turn is session.turn and turn.avoid == avoided
    assert seen == list(session.history[1:])
    assert why in caplog.text


@pytest.mark.parametrize("rounds", [0, -1, 11])
def test_rounds_are_bounded(session, rounds):
    with pytest.raises(UsageError, match="1 to 10"):
        correct(session, says(BLUE), rounds)
    assert len(session.history) == 1


def test_nothing_asked_nothing_corrected(tiny_model):
    with pytest.raises(SessionError, match="refer to something first"):
        correct(Session(tiny_model, torch.rand(3, 24, 32)), says(BLUE))


# ---- a chat model ----


def completion(content, **message):
    message = {"role": "assistant", "content": content, **message}
    choice = {"index": 0, "finish_reason": "stop", "message": message}
    return {"id": "1", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice]}


@contextmanager
def server(body, status=200, delay_s=0.0, kind="application/json"):
    """Answers every request alike; yields its address and the requests that came."""
    requests = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            requests.append((self.path, self.headers.get("Authorization"), asked))
            time.sleep(delay_s)
            said = (body if isinstance(body, str) else json.dumps(body)).encode()
            try:
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(said)))
                self.end_headers()
                self.wfile.write(said)
            except OSError:
                pass  # who asked has left

        def log_message(self, *args):
            pass

    running = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    running.daemon_threads = True
    threading.Thread(target=running.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{running.server_port}/v1", requests
    finally:
        running.shutdown()
        running.server_close()


@pytest.fixture(autouse=True)
def no_keys(monkeypatch):
    for name in ("DENOISIGHT_LLM_KEY", "OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)


def test_a_good_answer_corrects(session, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "other")
    monkeypatch.setenv("DENOISIGHT_LLM_KEY", "mine")
    with server(completion('{"avoid": "the blue cone"}')) as (url, requests):
        turn = correct(session, chat("small", "a red box and a blue cone", base_url=url), 3)
    assert turn.avoid == (BLUE,)
    (path, key, asked), (*_, second) = requests
    assert (path, key, asked["model"]) == ("/v1/chat/completions", "Bearer mine", "small")
    told = asked["messages"][0]["content"]
    assert "Caption: a red box and a blue cone" in told and f"Phrase: {RED}" in told and "from: nothing" in told
    assert f"from: {BLUE}" in second["messages"][0]["content"]


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ({"body": completion("I cannot say.")}, "should have answered"),
        ({"body": completion('{"avoid": 7}')}, "should have answered"),
        ({"body": completion('{"avoid": "the')}, "should have answered"),
        ({"body": completion("")}, "declined"),
        ({"body": completion(None, refusal="I would rather not")}, "rather not"),
        ({"body": {"choices": []}}, "no chat completion"),
        ({"body": {}}, "no chat completion"),
        ({"body": "<html>", "kind": "text/html"}, "no chat completion"),
        ({"body": "{nonsense"}, "JSONDecodeError"),
        ({"body": {"error": {"message": "no such key"}}, "status": 401}, "no such key"),
        ({"body": {"error": {"message": "slow down"}}, "status": 429}, "slow down"),
        ({"body": "oops", "status": 500}, "InternalServerError"),
        ({"body": completion('{"avoid": "the blue cone"}'), "delay_s": 1.0}, "timed out"),
    ],
)
def test_whatever_the_chat_model_does_the_answer_stands(session, caplog, answer, why):
    first = session.turn
    with server(**answer) as (url, requests):
        turn = correct(session, chat("small", base_url=url, timeout_s=0.3, retries=0), 3)
    assert turn is first and session.history == (first,) and len(requests) == 1
    assert "the answer stands" in caplog.text and why in caplog.text


def test_failed_attempts_are_repeated(session):
    with server("oops", 500) as (url, requests), pytest.raises(CriticError):
        chat("small", base_url=url, retries=1)(session.turn.prediction)
    assert len(requests) == 2


def test_nobody_there(session, caplog):
    with server({}) as (url, _):
        pass
    assert correct(session, chat("small", base_url=url, timeout_s=0.5, retries=0), 1) is session.history[0]
    assert "APIConnectionError" in caplog.text


def test_a_key_is_needed_but_for_servers_of_ones_own():
    with pytest.raises(UsageError, match="DENOISIGHT_LLM_KEY"):
        chat("small")
    chat("small", base_url="http://localhost:1/v1")


def test_without_the_package_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "openai", None)
    with pytest.raises(MissingExtraError, match=r"denoisight\[llm\]"):
        chat("small", base_url="http://localhost:1/v1")


@pytest.mark.parametrize(
    ("text", "phrase"),
    [
        ('{"avoid": "child on lap"}', "child on lap"),
        ('```json\n{"avoid":\n "child  on lap"}\n```', "child on lap"),
        ('Surely: {"avoid": "the $5 {toy"} - glad to help!', "the $5 {toy"),
        ('{"avoid": "a } b"}', "a } b"),
        ('{"why": "it is near", "avoid": "the wall"}', "the wall"),
        ('{"avoid": null}', None),
        ('{"avoid": ""}', None),
        ("null", None),
    ],
)
def test_answers_are_read_however_they_are_wrapped(text, phrase):
    assert read_answer(text) == phrase


@pytest.mark.parametrize("text", ["", "{}", "[]", '"the wall"', '["the wall"]', '{"avoid": ["a"]}', "5", "nullify"])
def test_other_answers_are_none(text):
    with pytest.raises(CriticError):
        read_answer(text)
    with pytest.raises(CriticError):
        read_answer('{"avoid": "%s"}' % ("x" * 201))


def test_braces_and_dollars_in_captions_do_no_harm():
    told = prompt(known(avoid=(BLUE, LEFT)), "costs $5 {or} $phrase")
    assert "Caption: costs $5 {or} $phrase" in told and f"from: {BLUE}; {LEFT}" in told


# ---- scenes as puzzles ----


def test_a_scene_is_its_own_puzzle():
    scenes = Scenes("test")
    puzzle, sample = open_puzzle("scenes:test:12"), scenes[12]
    assert puzzle.phrase == sample.phrases["mask"] and puzzle.caption == sample.query.text
    assert torch.equal(puzzle.truth.inside, sample.truths["mask"].inside)
    assert puzzle.query.key == "scenes/test/000012" and puzzle.query.text == ""
    assert puzzle.confusers
    for words, confuser in puzzle.confusers:
        assert words != puzzle.phrase and not (confuser.inside & puzzle.truth.inside).any()
        assert confuser.inside.any()


def test_phrases_of_a_scene_have_a_truth_and_others_have_none():
    every = open_puzzle("scenes:test:12").phrases
    known_one = open_puzzle("scenes:test:12", every[0])
    assert known_one.phrase == every[0] and known_one.truth is not None
    assert open_puzzle("scenes:test:12", "the moon").truth is None


@pytest.mark.parametrize(
    ("image", "error", "says"),
    [
        ("scenes:test", UsageError, "scenes:SPLIT:NUMBER"),
        ("scenes:test:-1", UsageError, "scenes:SPLIT:NUMBER"),
        ("scenes:tset:1", UsageError, "Did you mean 'test'"),
        ("scenes:test:2000", DataError, "0 to 1999"),
        ("nowhere.png", DataError, "nowhere.png"),
    ],
)
def test_what_is_no_picture_is_told(image, error, says):
    with pytest.raises(error, match=says):
        open_puzzle(image)
