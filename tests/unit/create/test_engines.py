"""A Ray cluster of two local workers: the same bytes as one process makes, whatever becomes of a worker."""

import os
import shutil
import signal
from dataclasses import replace
from functools import partial

import pytest

from denoisight.cli import main
from denoisight.create.engines import gpu_share, make_locally, make_on_ray
from denoisight.create.pairs import Maker
from denoisight.create.shards import Slices
from denoisight.errors import DenoisightError, UsageError, WeightsError
from denoisight.models.folder import save
from denoisight.recipes.create import Order

PER_SHARD = 2


@pytest.fixture(scope="module")
def cluster():
    ray = pytest.importorskip("ray")
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


@pytest.fixture(scope="module")
def order(make_parts, tmp_path_factory):
    """Two pictures of each of four scenes, a scene a shard; workers open the model and the scenes by themselves."""
    folder = tmp_path_factory.mktemp("ray") / "model"
    save(make_parts(creates=True), folder)
    tasks = ("depth", "normals", "semantic")
    return Order(str(folder), "cpu", data="scenes:4", captions="none", per_image=2, steps=1, tasks=tasks)


@pytest.fixture(scope="module")
def slices(order):
    return Slices.of(order.maker(), PER_SHARD)


@pytest.fixture(scope="module")
def whole(order, tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole") / "created"
    assert len(make_locally(order.maker(), folder, PER_SHARD)) == 4
    return folder


def content(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def opening(order):
    return partial(Order.maker, order)


def dying(order, deaths, times):
    """Opens a maker that kills its process at its first shards; `deaths` is a folder that counts them."""

    def opened():
        maker = order.maker()

        def make(sources):
            if len(list(deaths.iterdir())) < times:
                (deaths / str(os.getpid())).touch()
                os.kill(os.getpid(), signal.SIGKILL)
            return Maker.make(maker, sources)

        maker.make = make
        return maker

    return opened


@pytest.mark.long
def test_two_workers_write_the_same_bytes_as_one_process(cluster, order, slices, whole, tmp_path):
    lines = make_on_ray(opening(order), tmp_path / "out", slices, 2)
    assert {line.name for line in lines} == {f"created-00000{i}.tar" for i in range(4)}
    assert content(tmp_path / "out") == content(whole)


@pytest.mark.long
def test_the_command_lets_a_cluster_write_them(cluster, order, whole, tmp_path, monkeypatch):
    """Where the caller is, and not where the cluster was started."""
    monkeypatch.chdir(tmp_path)
    words = ["--model", os.path.relpath(order.model), "--device", "cpu", "--data", order.data]
    words += ["--captions", "none", "--per-image", "2"]
    words += ["--steps", "1", "--task", ",".join(order.tasks), "--shard-size", str(PER_SHARD)]
    with pytest.raises(SystemExit) as left:
        main(["create", *words, "--engine", "ray", "--workers", "2", "-o", "out"])
    assert not left.value.code
    made = content(tmp_path / "out")
    assert made.pop("sheet.png") and made == content(whole)


@pytest.mark.long
def test_what_is_finished_is_not_made_again(cluster, order, slices, whole, tmp_path):
    shutil.copytree(whole, tmp_path / "out")
    (tmp_path / "out" / "created-000002.json").unlink()
    before = (tmp_path / "out" / "created-000000.tar").stat().st_mtime_ns
    make_on_ray(opening(order), tmp_path / "out", slices, 2)
    assert (tmp_path / "out" / "created-000000.tar").stat().st_mtime_ns == before
    assert content(tmp_path / "out") == content(whole)


@pytest.mark.long
def test_a_worker_that_is_killed_is_started_again(cluster, order, slices, whole, tmp_path):
    (tmp_path / "deaths").mkdir()
    make_on_ray(dying(order, tmp_path / "deaths", 2), tmp_path / "out", slices, 2)
    assert len(list((tmp_path / "deaths").iterdir())) >= 2
    assert content(tmp_path / "out") == content(whole)


@pytest.mark.long
def test_a_worker_that_dies_again_and_again_ends_the_run(cluster, order, slices, tmp_path):
    (tmp_path / "deaths").mkdir()
    with pytest.raises(DenoisightError, match="A worker died 4 times"):
        make_on_ray(dying(order, tmp_path / "deaths", 1000), tmp_path / "out", slices, 1)
    assert len(list((tmp_path / "deaths").iterdir())) == 4


@pytest.mark.long
def test_what_a_worker_refuses_is_told_in_its_own_words(cluster, order, slices, whole, tmp_path):
    shutil.copytree(whole, tmp_path / "out")
    with pytest.raises(UsageError, match=r"\S+ was made with variation\.steps 1, not 2") as refused:
        make_on_ray(opening(replace(order, steps=2)), tmp_path / "out", slices, 2)
    assert "\n" not in str(refused.value)
    assert content(tmp_path / "out") == content(whole)


@pytest.mark.long
def test_a_worker_without_the_model_says_so(cluster, order, slices, tmp_path):
    with pytest.raises(WeightsError, match="nowhere"):
        make_on_ray(opening(replace(order, model=str(tmp_path / "nowhere"))), tmp_path / "out", slices, 2)


@pytest.mark.parametrize(("gpus", "actors", "share"), [(0, 2, 0), (4, 2, 1), (2, 2, 1), (2, 3, 0.5), (1, 3, 0.3333)])
def test_actors_share_the_gpus_that_there_are(gpus, actors, share):
    assert gpu_share(gpus, actors) == share


def test_a_task_of_an_array_that_makes_all_is_told(order, tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("SLURM_ARRAY_TASK_COUNT", "8")
    make_locally(order.maker(), tmp_path / "one", PER_SHARD, 0, 4)
    assert "SLURM" not in caplog.text
    make_locally(order.maker(), tmp_path / "all", PER_SHARD)
    assert "--num-shards $SLURM_ARRAY_TASK_COUNT" in caplog.text
