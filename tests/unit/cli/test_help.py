"""Help: what each flag of a verb does."""

import pytest

from denoisight.cli import CONFIG_VERBS, DATA_VERBS, VERBS, app

EVERY = (
    [[verb] for verb in VERBS] + [["data", verb] for verb in DATA_VERBS] + [["config", verb] for verb in CONFIG_VERBS]
)


@pytest.mark.parametrize("words", EVERY, ids=" ".join)
def test_every_flag_says_what_it_does(words: list[str]) -> None:
    flags = app.parse_commands(words)[1][-1].assemble_argument_collection(parse_docstring=True)
    told = {flag.name: flag.parameter.help for flag in flags if flag.parse and flag.show}
    assert [name for name, text in told.items() if not text] == []
