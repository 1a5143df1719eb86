"""The picture of the README: `python studies/main_job/looks.py` writes docs/looks.png."""

from pathlib import Path

from denoisight.data.images import write_png
from denoisight.predict.load import load
from denoisight.recipes.demo import photographs, scenes
from denoisight.render import colour, contact_sheet, to_rgb

TASKS = ("depth", "normals", "semantic", "parts", "instances", "boundary")
OUT = Path(__file__).parents[2] / "docs" / "looks.png"


def main() -> None:
    model = load("embedded")
    queries = [*scenes("test", 3), *photographs()]
    answers = [model.predict(queries, task) for task in TASKS]
    rows = [
        [to_rgb(query.image), *(colour(answer[i].annotation) for answer in answers)] for i, query in enumerate(queries)
    ]
    write_png(OUT, contact_sheet(rows, ("image", *TASKS), cell_px=160))


if __name__ == "__main__":
    main()
