"""Complete runs: a function each, one table. `launch.py` is the one place that wires every room together."""

from .adapt import adapt
from .embedded import embedded, embedded_create
from .generalist import generalist

RECIPES = {"adapt": adapt, "embedded": embedded, "embedded-create": embedded_create, "generalist": generalist}
