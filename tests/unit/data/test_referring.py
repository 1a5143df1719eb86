"""A phrase is said only where it means one thing, and means the thing that it says."""

from denoisight.data.referring import Thing, compose


def thing(id, kind, x, area=0.05, half=0.05):
    return Thing(id, kind, area, x, x - half, x + half)


def said(*things, uncertain=()):
    return {e.text: e.target for e in compose(things, uncertain)}


def test_a_thing_alone_of_its_kind_needs_no_more_words():
    assert said(thing(1, "dog", 0.2), thing(2, "car", 0.8)) == {"the dog": 1, "the car": 2}


def test_the_ends_of_a_row_are_named_and_its_middle_is_not():
    people = [thing(i, "person", x) for i, x in ((1, 0.1), (2, 0.5), (3, 0.9))]
    assert said(*people) == {"the leftmost person": 1, "the rightmost person": 3}


def test_places_need_a_clear_distance():
    assert said(thing(1, "person", 0.50), thing(2, "person", 0.54)) == {}
    assert "the leftmost person" in said(thing(1, "person", 0.50), thing(2, "person", 0.56))


def test_a_thing_that_reaches_beyond_its_rival_is_not_beside_it():
    assert said(thing(1, "person", 0.4, half=0.3), thing(2, "person", 0.55)) == {}


def test_sizes_need_a_clear_ratio():
    near = [thing(1, "cup", 0.5, 0.10), thing(2, "cup", 0.5, 0.07)]
    assert said(*near) == {}
    assert said(near[0], thing(2, "cup", 0.5, 0.06)) == {"the largest cup": 1, "the smallest cup": 2}


def test_relations_hold_for_the_target_and_clearly_not_for_its_rivals():
    car, left, right = thing(9, "car", 0.5), thing(1, "person", 0.2), thing(2, "person", 0.8)
    phrases = said(car, left, right)
    assert phrases["the person left of the car"] == 1
    assert phrases["the person right of the car"] == 2
    assert "the person left of the car" not in said(car, left, right, thing(3, "person", 0.48))
    assert not any("left of the car" in text for text in said(car, left, right, thing(8, "car", 0.9)))


def test_small_things_are_not_spoken_of_but_confuse():
    assert said(thing(1, "bird", 0.5, area=0.001)) == {}
    assert said(thing(1, "bird", 0.5), thing(2, "bird", 0.1, area=0.001)) == {
        "the rightmost bird": 1,
        "the largest bird": 1,
    }


def test_nothing_is_said_of_uncertain_kinds():
    dog, person = thing(1, "dog", 0.2), thing(2, "person", 0.8)
    assert said(dog, person, uncertain=["person"]) == {"the dog": 1}


def test_confusers_are_the_others_of_the_kind():
    first = compose([thing(i, "cup", x) for i, x in ((1, 0.1), (2, 0.5), (3, 0.9))])[0]
    assert (first.target, first.confusers, first.about) == (1, (2, 3), "place")
