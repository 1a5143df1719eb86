"""Should created pictures take places in a batch from labelled ones, or come beside them?

python -m studies.batches [--quick] [--jobs N] [--table]
"""

from pathlib import Path

from studies.teach import command
from studies.teaching import BATCH, Arm, Study

DOUBLED = {"batch": 2 * BATCH}


def arms(labels: int) -> tuple[Arm, ...]:
    return (
        Arm("16 labelled: labels alone", labels=labels),
        Arm("32 labelled", labels=labels, changes=DOUBLED),
        Arm("8 labelled, 8 created", labels=labels, pictures="created"),
        Arm("16 labelled, 16 created", labels=labels, pictures="created", changes=DOUBLED),
        Arm("16 labelled, 16 real without labels", labels=labels, pictures="unlabelled", changes=DOUBLED),
    )


STUDY = Study(folder=Path(__file__).parent, arms=(*arms(100), *arms(400)))

ABOUT = """
# What a batch is made of

Normals from 100 or 400 labelled scenes and 400 pictures beside, labelled by the average as it learns. All arms take as
many steps; where a batch has 32 pictures, a step costs more, and learns from as many labelled ones as without others.
Everything else is as in `self_improve`.
Written from `results.jsonl` by `python -m studies.batches --table`.
"""

if __name__ == "__main__":
    command(STUDY, ABOUT)
