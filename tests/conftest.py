"""What the tests of several rooms share: a tiny model with random weights, and the real data where it lies."""

import os

os.environ["HF_HUB_OFFLINE"] = "1"

import resource
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from hypothesis import settings

# Two test processes with two threads each fight over two cores.
torch.set_num_threads(1)
settings.register_profile("quick", max_examples=25, deadline=None, derandomize=True, database=None)
settings.load_profile("quick")


@pytest.fixture
def full_disk():
    """`with full_disk(most_bytes):` no file can grow beyond that, which fails as a full disk does."""

    @contextmanager
    def full(most_bytes):
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    return full


CLASSES = ("floor", "wall", "box", "ball")


@pytest.fixture(scope="session")
def tiny_config():
    """A network of two levels that denoises and reads every task."""
    from denoisight.models.embedded import Network
    from denoisight.models.folder import ModelConfig, TaskEntry
    from denoisight.tasks import TASKS

    entries = tuple(TaskEntry(name=name, classes=CLASSES if name in ("semantic", "parts") else ()) for name in TASKS)
    network = Network(widths=(32, 48), text_width=16, text_layers=1)
    return ModelConfig(name="tiny", network=network, resolution=32, steps=3, denoises=entries, reads=entries)


@pytest.fixture(scope="session")
def make_parts(tiny_config):
    """Makes the tiny model's parts afresh, for tests that change them: one seed, one set of weights."""
    from denoisight.models.folder import assemble
    from denoisight.tasks import TASKS, make_tasks

    def make(seed=0, **changes):
        config = tiny_config.model_copy(update=changes)
        tasks = make_tasks(list(TASKS), CLASSES)
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            parts = assemble(config, {task.name: task.head.channels for task in tasks})
        parts.modules().eval()
        return parts

    return make


@pytest.fixture(scope="session")
def tiny_parts(make_parts):
    """Shared: read it, never change it."""
    return make_parts()


@pytest.fixture(scope="session")
def tiny_model(tiny_parts):
    """Shared: ask it, never move or train it."""
    from denoisight.predict.model import Model

    return Model(tiny_parts)


@pytest.fixture(scope="session")
def shared_data():
    """The folder of real data sets, `DENOISIGHT_SHARED_DATA` or ../shared/data beside the repository."""
    beside = Path(__file__).parents[2] / "shared" / "data"
    folder = Path(os.environ.get("DENOISIGHT_SHARED_DATA", beside))
    if not folder.is_dir():
        pytest.skip(f"no data sets in {folder}; set DENOISIGHT_SHARED_DATA")
    return folder
