"""Words and the text encoder: numbers that never change, and prompts that are encoded once."""

import copy

import pytest
import torch

from denoisight.errors import UsageError
from denoisight.models import text
from denoisight.models.text import END, START, UNKNOWN, TextEncoder, Words

PROMPTS = ["depth", "surface normals", "depth", ""]


def make_encoder(seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return TextEncoder(width=16, layers=1, length=8).eval()


@pytest.fixture
def encoder():
    return make_encoder()


@pytest.fixture
def encoded(encoder):
    """How many prompts have gone through the network, per call."""
    calls = []
    encoder.clip.register_forward_hook(lambda module, inputs, output: calls.append(len(output[0])))
    return calls


# ---- words ----


def test_words_keep_their_numbers():
    """Trained weights hang on them."""
    words = Words()
    assert [words.number[w] for w in ("<start>", "<end>", "<unknown>", "a", "the")] == [0, 1, 2, 3, 5]
    assert len(words) == len(set(words.number.values())) == len(words.number)
    assert len(words) == 601
    assert Words().number == words.number


def test_an_older_model_knows_the_first_words_alone():
    older, newest = Words(551), Words()
    assert len(older) == 554 and older.number.items() <= newest.number.items()
    assert older.unknown("please segment the red box") == ["please"] and not newest.unknown(
        "please segment the red box"
    )
    assert TextEncoder(16, 1, known=551).clip.config.vocab_size == 554


def test_prompts_that_do_not_fit_or_were_never_learnt_are_named(caplog):
    encoder = TextEncoder(16, 1, length=6)
    encoder.check(["the red box here", ""])
    assert not caplog.text
    encoder.check(["a zeppelin"])
    assert "zeppelin" in caplog.text
    with pytest.raises(UsageError, match="leave out 'blue ball'"):
        encoder.check(["the red box on blue ball"])


def test_text_becomes_start_words_end():
    words = Words()
    depth, the = words.number["depth"], words.number["the"]
    assert words.encode("The depth!", 6) == [START, the, depth, END, END, END]
    assert words.encode("", 3) == [START, END, END]
    assert words.encode("depth blorps depth", 6) == [START, depth, UNKNOWN, depth, END, END]
    assert words.encode("depth " * 20, 5) == [START, depth, depth, depth, END]


def test_unknown_words_are_listed():
    assert Words().unknown("The blorp, left of the SNARK") == ["blorp", "snark"]
    assert Words().unknown("surface normals") == []


# ---- the encoder ----


def test_the_same_words_give_the_same_vectors_cached_or_not(encoder):
    with torch.no_grad():
        first, second = encoder(PROMPTS), encoder(PROMPTS)
        alone = torch.cat([encoder([prompt]) for prompt in PROMPTS])
    fresh = make_encoder()(PROMPTS)  # with gradients nothing is kept
    assert first.shape == (4, 8, 16)
    assert torch.equal(first, second) and torch.equal(first, alone)
    torch.testing.assert_close(first, fresh.detach(), rtol=0, atol=1e-6)
    assert torch.equal(first[0], first[2]) and not torch.equal(first[0], first[1])


def test_each_distinct_prompt_is_encoded_once(encoder, encoded):
    with torch.no_grad():
        encoder(PROMPTS)
        encoder(["surface normals"])
        encoder(["depth", "the ball"])
    assert encoded == [3, 1]


def test_training_keeps_nothing_and_learns(encoder, encoded):
    encoder.train()
    encoder(["depth", "depth"]).sum().backward()
    with torch.no_grad():
        encoder(["depth"])
    assert encoded == [1, 1]
    assert encoder.clip.get_input_embeddings().weight.grad.abs().sum() > 0


FORGETS = {
    "train and back": lambda encoder: encoder.train().eval(),
    "to another type": lambda encoder: encoder.to(torch.float64).to(torch.float32),
    "loaded weights": lambda encoder: encoder.load_state_dict(make_encoder(1).state_dict()),
    "loaded as a part": lambda encoder: torch.nn.ModuleDict({"text": encoder}).load_state_dict(
        {f"text.{name}": weights for name, weights in make_encoder(1).state_dict().items()}
    ),
}


@pytest.mark.parametrize("change", FORGETS.values(), ids=FORGETS)
def test_prompts_are_forgotten_when_weights_may_have_changed(encoder, encoded, change):
    with torch.no_grad():
        encoder(["depth"])
        change(encoder)
        again = encoder(["depth"])
    assert encoded == [1, 1]
    with torch.enable_grad():
        assert torch.equal(again, encoder(["depth"]))


def test_loaded_weights_speak_for_themselves(encoder):
    other = make_encoder(1)
    with torch.no_grad():
        before = encoder(["depth"])
        encoder.load_state_dict(other.state_dict())
        assert torch.equal(encoder(["depth"]), other(["depth"]))
        assert not torch.equal(encoder(["depth"]), before)


def test_a_copy_forgets_on_its_own(encoder):
    with torch.no_grad():
        before = encoder(["depth"])
        twin = copy.deepcopy(encoder)
        twin.load_state_dict(make_encoder(1).state_dict())
        assert not torch.equal(twin(["depth"]), before)
        assert torch.equal(encoder(["depth"]), before)


def test_unknown_words_are_alike_and_known_ones_are_not(encoder):
    with torch.no_grad():
        assert torch.equal(encoder(["blorp"]), encoder(["snark"]))
        assert not torch.equal(encoder(["blorp"]), encoder(["depth"]))
        assert torch.equal(encoder(["Depth, left"]), encoder(["depth left"]))


def test_of_many_prompts_the_last_are_kept_each_by_itself(encoder, encoded, monkeypatch):
    monkeypatch.setattr(text, "MOST_KEPT", 3)
    words = ["red", "box", "sphere", "cone", "wall"]
    with torch.no_grad():
        together = encoder(words)
        alone = [encoder([word]) for word in words]
    torch.testing.assert_close(torch.cat(alone), together)
    assert [*encoder._known] == words[-3:]
    assert all(row.untyped_storage().nbytes() == row.nbytes for row in encoder._known.values())
