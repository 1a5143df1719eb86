"""Centre and offset maps: things come back, the surest first, with scores that say how sure."""

import numpy as np
import torch

from denoisight.annotations import IGNORE, Labels, stack
from denoisight.codecs.centres import Centres
from denoisight.metrics.things import instances_counts
from denoisight.render import colour

CODEC, IMAGE = Centres(), torch.zeros(3, 48, 64)


def things() -> Labels:
    ids = torch.zeros(48, 64, dtype=torch.long)
    ids[4:21, 4:21], ids[24:45, 30:51], ids[:3] = 7, 3, IGNORE
    return Labels(ids, ())


def test_things_come_back_without_their_numbers() -> None:
    truth = things()
    decoded = CODEC.decode(CODEC.encode(truth, IMAGE).pixels, IMAGE)
    counts = instances_counts(stack([decoded]), stack([truth]))
    assert (counts["hits"], counts["extra"], counts["missed"]) == (2, 0, 0)


def test_scores_are_the_heights_of_the_peaks_and_fall_with_the_number() -> None:
    pixels = CODEC.encode(things(), IMAGE).pixels.clone()
    pixels[0, 4:21, 4:21] *= 0.5
    decoded = CODEC.decode(pixels, IMAGE)
    assert decoded.ids[12, 12] == 2 and decoded.ids[34, 40] == 1
    first, second, *others = decoded.scores.tolist()
    assert 0.9 < first <= 1 and abs(second - first / 2) < 0.05 and not any(others)
    assert len(decoded.scores) == CODEC.most


def test_scores_stay_with_their_things_when_an_annotation_is_batched_moved_and_drawn() -> None:
    decoded = CODEC.decode(CODEC.encode(things(), IMAGE).pixels, IMAGE)
    for moved in (decoded.flip(), decoded.crop(0, 0, 30, 30), decoded.resize(96, 128), stack([decoded, decoded])[1]):
        assert torch.equal(moved.scores, decoded.scores)
    assert np.asarray(colour(decoded)).shape == (48, 64, 3)


def test_a_canvas_without_a_peak_is_one_thing_of_no_certainty() -> None:
    decoded = CODEC.decode(torch.zeros(2, 3, 8, 8), torch.zeros(2, 3, 8, 8))
    assert decoded.ids.unique().tolist() == [1] and decoded.scores.shape == (2, CODEC.most)
    assert not decoded.scores.any()
