"""Complete runs: a function each, one table. `launch.py` is the one place that wires every room together."""

from .adapt import adapt
from .embedded import embedded, embedded_create
from .generalist import generalist
from .improving import self_improve, warm_up

RECIPES = {
    "adapt": adapt,
    "embedded": embedded,
    "embedded-create": embedded_create,
    "generalist": generalist,
    "warm-up": warm_up,
    "self-improve": self_improve,
}
