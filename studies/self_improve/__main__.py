"""What do created pictures bring to a model with few labels, beside what else could be done?

python -m studies.self_improve [--quick] [--jobs N] [--table]
"""

from pathlib import Path

from studies.teaching import Arm, Study
from studies.teaching_command import command

MULTI = ("semantic", "depth", "normals", "saliency")
TASKS = (("normals",), ("semantic",), MULTI)
AUGMENTED = {"augment": {"flip": 0.5, "crop": 0.7, "colour": 0.3}}
ALONE = {"self_teaching": {"alone": True}}


def arms(tasks: tuple[str, ...]) -> tuple[Arm, ...]:
    """Everything at 100 labels; what matters most at 50 and 400; the labels that would be as good."""
    at = {"tasks": tasks, "warm": {"weights": {"normals": 0.2}} if tasks == MULTI else {}}
    return (
        Arm("labels alone", **at),
        Arm("+ created, improving labels", pictures="created", **at),
        Arm("+ created, fixed labels", pictures="annotated", **at),
        Arm("created alone", pictures="created", changes=ALONE, **at),
        Arm("+ created, two rounds", pictures="created", rounds=2, **at),
        Arm("+ real without labels", pictures="unlabelled", **at),
        Arm("+ augmentation", changes=AUGMENTED, **at),
        Arm("labels alone", labels=200, **at),
        *(
            arm
            for labels in (50, 400)
            for arm in (
                Arm("labels alone", labels=labels, **at),
                Arm("+ created, improving labels", labels=labels, pictures="created", **at),
                Arm("+ real without labels", labels=labels, pictures="unlabelled", **at),
            )
        ),
        Arm("labels alone", labels=0, **at),
    )


STUDY = Study(folder=Path(__file__).parent, arms=tuple(arm for tasks in TASKS for arm in arms(tasks)))

ABOUT = f"""
# A model that improves on what it creates

Heads on `embedded-create`, which never saw a truth, from few labelled scenes of 64 x 64 pixels, mirrored at random: a
warm-up of {STUDY.steps[0]} steps of 16 pictures, then {STUDY.steps[1]} more, for every arm. Beside the labelled scenes
come 400 pictures, created from them or real ones without labels; half of each batch stays labelled. All scenes but
those for validation and test are other ones for each seed; 0 labels are all 8,192, the same for every seed. The network
under the heads stays as it is, so a second round's pictures are others of the same kind: what may improve from round to
round are their labels.
Written from `results.jsonl` by `python -m studies.self_improve --table`.
"""

if __name__ == "__main__":
    command(STUDY, ABOUT)
