"""Instructions in free words: understood, answered as their task, refused where they mean none."""

import pytest
import torch

from denoisight.annotations import Depth, Mask, Query
from denoisight.errors import UsageError
from denoisight.models.folder import TaskEntry
from denoisight.models.text import Words
from denoisight.predict.model import Model
from denoisight.tasks import TASKS
from denoisight.tasks.instruct import INSTRUCT, TEMPLATES, paraphrase, understand


@pytest.fixture(scope="module")
def follows(make_parts, tiny_config):
    return Model(make_parts(denoises=(*tiny_config.denoises, TaskEntry(name=INSTRUCT))))


def queries(*texts: str) -> list[Query]:
    image = torch.rand(3, 32, 32, generator=torch.Generator().manual_seed(0))
    return [Query(image, text, f"q{i}") for i, text in enumerate(texts)]


@pytest.mark.parametrize("task", sorted(TEMPLATES))
def test_every_paraphrase_is_understood_and_in_known_words(task: str) -> None:
    assert task in TASKS
    about = "the leftmost red box" if task == "referring" else ""
    for choice in range(len(TEMPLATES[task])):
        said = paraphrase(task, about, choice)
        assert understand(f"{said.upper()}?") == (task, about) and Words().unknown(said) == []


def test_no_two_tasks_share_a_template() -> None:
    every = [template for templates in TEMPLATES.values() for template in templates]
    assert len(set(every)) == len(every)


def test_answers_come_in_order_as_the_tasks_that_were_understood(follows: Model) -> None:
    asked = queries("how far away is every pixel", "segment the box", "estimate the depth of this image")
    answers = list(follows.stream(asked, INSTRUCT))
    assert [a.task for a in answers] == ["depth", "referring", "depth"]
    assert [type(a.annotation) for a in answers] == [Depth, Mask, Depth]
    assert [a.query.key for a in answers] == ["q0", "q1", "q2"]
    # The network hears the instruction itself, so two ways to ask are two answers.
    assert not torch.equal(answers[0].annotation.values, answers[2].annotation.values)


def test_what_means_no_task_is_refused(follows: Model, tiny_model: Model) -> None:
    with pytest.raises(UsageError, match="No task is known that 'make tea'.*segment {text}"):
        list(follows.stream(queries("make tea"), INSTRUCT))
    with pytest.raises(UsageError, match="not taught to follow instructions"):
        list(tiny_model.stream(queries("segment the box"), INSTRUCT))
