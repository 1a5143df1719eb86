"""placeholder while wiring"""
from pathlib import Path
from .base import Recipe
from .launch import train
def train_and_report(recipe, out, **kw):
    print(train(recipe, out, **kw))
