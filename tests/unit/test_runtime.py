"""The machine under the software: whole files, seeds, devices, ranks, optional packages."""

import json
import os
import shutil
import time
from pathlib import Path

import pytest
import torch

from denoisight.errors import DataError, MissingExtraError, UsageError
from denoisight.runtime import (
    generator,
    item_seed,
    mend,
    optional,
    pick_device,
    use_threads,
    versions,
    warn_of_emulation,
    whole_file,
    whole_folder,
    world,
    write_json,
    write_text,
    writer,
)

PINNED = 5939867850813527317
"""The seed of "kitchen/0001" in run 0."""


def everything(folder):
    return {p.relative_to(folder).as_posix(): p.read_text() for p in folder.rglob("*") if p.is_file()}


ENDS = [ValueError("in the middle"), KeyboardInterrupt()]


@pytest.mark.parametrize("before", [None, "old"])
@pytest.mark.parametrize("end", ENDS, ids=["error", "interrupt"])
def test_a_file_is_whole_or_as_it_was(tmp_path, end, before):
    path = tmp_path / "a.json"
    if before:
        path.write_text(before)
    with pytest.raises(type(end)), whole_file(path) as temporary:
        temporary.write_text("half")
        assert temporary.suffix == ".json" and temporary.parent == tmp_path
        raise end
    assert everything(tmp_path) == ({"a.json": "old"} if before else {})
    with whole_file(path) as temporary:
        temporary.write_text("new")
        assert everything(tmp_path).get("a.json") == before
    assert everything(tmp_path) == {"a.json": "new"}


@pytest.mark.parametrize("before", [None, "old"])
@pytest.mark.parametrize("end", ENDS, ids=["error", "interrupt"])
def test_a_folder_is_whole_or_as_it_was(tmp_path, end, before):
    folder = tmp_path / "model"
    if before:
        folder.mkdir()
        (folder / "old.txt").write_text(before)
    with pytest.raises(type(end)), whole_folder(folder) as temporary:
        (temporary / "new.txt").write_text("half")
        raise end
    assert everything(tmp_path) == ({"model/old.txt": "old"} if before else {})
    assert [p.name for p in tmp_path.iterdir()] == (["model"] if before else [])
    with whole_folder(folder) as temporary:
        (temporary / "new.txt").write_text("new")
    assert everything(tmp_path) == {"model/new.txt": "new"}
    assert [p.name for p in tmp_path.iterdir()] == ["model"]


def test_a_swap_that_fails_keeps_the_old_folder(tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "old.txt").write_text("old")
    with pytest.raises(DataError), whole_folder(folder) as temporary:
        shutil.rmtree(temporary)  # as a cleaner of temporary files might
    assert everything(tmp_path) == {"model/old.txt": "old"}


@pytest.mark.parametrize("whole", [whole_file, whole_folder])
def test_a_place_that_cannot_be_written_is_named(tmp_path, whole):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DataError, match="file/below.*--out") as caught, whole(tmp_path / "file" / "below"):
        pass
    assert caught.value.exit_code == 3
    assert everything(tmp_path) == {"file": "in the way"}


def test_text_and_json_make_their_folders(tmp_path):
    write_text(tmp_path / "a" / "b.txt", "Tiefe ≈ 3 m")
    write_json(tmp_path / "c" / "d.json", {"größe": [1, 2.5]})
    assert (tmp_path / "a" / "b.txt").read_text(encoding="utf-8") == "Tiefe ≈ 3 m"
    written = (tmp_path / "c" / "d.json").read_text(encoding="utf-8")
    assert json.loads(written) == {"größe": [1, 2.5]} and "größe" in written and written.endswith("\n")


def test_seeds_are_pinned():
    """Published numbers hang on them: they may never change, on no machine and in no process."""
    assert item_seed(0, "kitchen/0001") == PINNED
    assert item_seed(0, "kitchen/0001", 0) == PINNED
    first = torch.randn(2, generator=generator(0, "kitchen/0001"))
    torch.testing.assert_close(first, torch.randn(2, generator=torch.Generator().manual_seed(PINNED)))


def test_seeds_differ_by_run_key_and_step():
    every = {item_seed(run, key, step) for run in range(20) for key in ("", "a", "b", "0", "1") for step in range(20)}
    assert len(every) == 20 * 5 * 20
    assert all(0 <= seed < 2**63 for seed in every)
    assert item_seed(1, "1", 11) != item_seed(11, "1", 1) and item_seed(1, "11") != item_seed(11, "1")


def test_devices_are_found_or_refused():
    assert pick_device("cpu") == torch.device("cpu")
    assert pick_device().type in ("cuda", "mps", "cpu")
    for name in ("cuda:99", "gpu", "nonsense"):
        with pytest.raises(UsageError, match=f"{name}.*--device auto") as caught:
            pick_device(name)
        assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("told", "gpus", "expected"),
    [
        ({}, 4, "cuda"),
        ({"LOCAL_RANK": "3"}, 4, "cuda:3"),
        ({"LOCAL_RANK": "3"}, 1, "cuda:0"),
        ({"SLURM_LOCALID": "2"}, 4, "cuda:2"),
        ({"LOCAL_RANK": "1", "SLURM_LOCALID": "0"}, 2, "cuda:1"),
    ],
)
def test_each_rank_of_a_machine_has_a_gpu_of_its_own(told, gpus, expected, monkeypatch):
    for name in ("LOCAL_RANK", "SLURM_LOCALID"):
        monkeypatch.delenv(name, raising=False)
    for name, value in told.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    monkeypatch.setattr(torch, "empty", lambda *size, device: None)
    assert pick_device() == torch.device(expected)


@pytest.mark.parametrize(
    ("capability", "device", "precision", "warns"),
    [
        ("AVX2", "cpu", "bf16", True),
        ("AVX512", "cpu", "bf16", False),
        ("AVX2", "cpu", "fp32", False),
        ("AVX2", "cuda", "bf16", False),
    ],
)
def test_half_precision_that_is_emulated_is_told(capability, device, precision, warns, monkeypatch, caplog):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    warn_of_emulation(torch.device(device), precision)
    assert ("--precision fp32" in caplog.text) == warns


def test_ranks_come_from_torchrun_then_slurm(monkeypatch):
    for name in ("RANK", "WORLD_SIZE", "SLURM_PROCID", "SLURM_NTASKS"):
        monkeypatch.delenv(name, raising=False)
    assert world() == (0, 1)
    monkeypatch.setenv("SLURM_PROCID", "3")
    assert world() == (0, 1)  # a rank without a size is no answer
    monkeypatch.setenv("SLURM_NTASKS", "8")
    assert world() == (3, 8)
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert world() == (1, 2)


def test_a_missing_extra_is_told_with_its_remedy():
    assert optional("json", "core") is json
    with pytest.raises(MissingExtraError, match=r"nowhere_to_be_found: pip install 'denoisight\[ui\]'") as caught:
        optional("nowhere_to_be_found.part", "ui")
    assert caught.value.exit_code == 4
    assert isinstance(caught.value.__cause__, ImportError)


def test_versions_name_what_made_a_result():
    told = versions()
    assert told["torch"] == torch.__version__.split("+")[0] or told["torch"] == torch.__version__
    assert {"denoisight", "python", "diffusers", "numpy"} <= set(told)
    assert all(told.values())


DEAD = f"{writer().partition('-')[0]}-{2**22 + 12345}"
"""A process of this machine whose number is above any that Linux gives out."""


def test_mending_leaves_a_living_writer_alone(tmp_path):
    with whole_folder(tmp_path / "model") as temporary:
        (temporary / "new.txt").write_text("new")
        mend(tmp_path)
    assert everything(tmp_path) == {"model/new.txt": "new"}


def test_a_folder_does_not_replace_a_file(tmp_path):
    (tmp_path / "model").write_text("a file")
    with pytest.raises(DataError, match="file of this name"), whole_folder(tmp_path / "model"):
        pass
    assert everything(tmp_path) == {"model": "a file"}


def test_mending_undoes_what_a_killed_process_left(tmp_path):
    for name in (f".model.{DEAD}.tmp", f".model.{DEAD}.old", f".kept.{DEAD}.old", "kept"):
        (tmp_path / "run" / name).mkdir(parents=True)
        (tmp_path / "run" / name / "name.txt").write_text(name)
    (tmp_path / "run" / f".results.{DEAD}.tmp.json").write_text("{")
    (tmp_path / "run" / f".model.{DEAD}.tmp" / f".weights.{DEAD}.tmp.json").write_text("{")
    (tmp_path / "run" / ".gitignore").write_text("*")
    mend(tmp_path)
    assert everything(tmp_path) == {
        "run/.gitignore": "*",
        "run/model/name.txt": f".model.{DEAD}.old",
        "run/kept/name.txt": "kept",
    }


def test_mending_leaves_what_another_machine_may_be_writing(tmp_path):
    """A process of its number may well be dead here. What is a day old is given up."""
    there = tmp_path / f".results.0a0b0c0d-{2**22 + 1}.tmp.json"
    there.write_text("{")
    mend(tmp_path)
    assert there.exists()
    long_ago = time.time() - 25 * 3600
    os.utime(there, (long_ago, long_ago))
    mend(tmp_path)
    assert not there.exists()


def test_mending_passes_over_a_folder_that_its_writer_takes_away(tmp_path, monkeypatch):
    for name in (".a.0123abcd-1.tmp", "b", "c"):
        (tmp_path / name).mkdir()

    def vanishing(path, scandir=os.scandir):
        if Path(path).name == "b":
            (tmp_path / "b").rmdir()
        return scandir(path)

    monkeypatch.setattr(os, "scandir", vanishing)
    mend(tmp_path)
    assert not (tmp_path / "b").exists() and (tmp_path / "c").is_dir()


def test_threads_are_told_or_left_alone():
    before = torch.get_num_threads()
    use_threads(0)
    assert torch.get_num_threads() == before
    with pytest.raises(UsageError, match="-1 threads were asked for"):
        use_threads(-1)
