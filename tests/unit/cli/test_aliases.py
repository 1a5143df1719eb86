import pytest

from denoisight.cli.aliases import translate


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        ("predict --input-rgb-dir in --output_dir out", "predict in --out out"),
        ("predict a.jpg --denoise_steps=10 --fp16", "predict a.jpg --steps=10 --precision fp16"),
        ("train depth --resume", "train depth --resume latest"),
        ("train depth --resume -o runs/x", "train depth --resume latest -o runs/x"),
        ("train depth --resume-from-checkpoint c/step-1", "train depth --resume c/step-1"),
        ("evaluate x --checkpoint y --seed 3", "evaluate x --model y --seed 3"),
        ("train depth --optim.weight_decay 0", "train depth --optim.weight_decay 0"),
    ],
)
def test_familiar_names(words: str, meant: str) -> None:
    assert translate(words.split()) == meant.split()
