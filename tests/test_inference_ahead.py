"""Images in a row, several at a time: as if they were dealt with one after the other, but for the time it takes."""

from __future__ import annotations

import threading
import time
from contextlib import closing
from itertools import count, islice

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nucleiseg.images import Micrograph
from nucleiseg.inference.ahead import _SMALL, ahead, is_large
from nucleiseg.inference.watching import one_pass

LAW = settings(max_examples=40, deadline=None)
KINDS = ("good", "small", "bad file", "bad image", "alone", "alone and bad")
ITEMS = st.lists(st.tuples(st.sampled_from(KINDS), st.sampled_from([0, 0.0005, 0.002])), max_size=12)


class Work:
    """Reads and works, and notes what happens beside what."""

    def __init__(self):
        self.taken = self.given = 0
        self.lock = threading.Lock()
        self.inside = {"read": 0, "work": 0, "network": 0, "small": 0}
        self.most = {"read": 0, "work": 0, "network": 0, "small": 0, "ahead": 0}
        self.beside_alone = self.crowded = 0
        self.is_alone = False

    def supply(self, kinds):
        for number, (kind, pause) in enumerate(kinds):
            self.taken += 1
            self.most["ahead"] = max(self.most["ahead"], self.taken - self.given)
            yield number, kind, pause

    def enter(self, where):
        with self.lock:
            self.inside[where] += 1
            self.most[where] = max(self.most[where], self.inside[where])
            self.beside_alone += self.is_alone and threading.current_thread() is not threading.main_thread()

    def leave(self, where):
        with self.lock:
            self.inside[where] -= 1

    def read(self, item):
        self.enter("read")
        time.sleep(item[2])
        self.leave("read")
        if item[1] == "bad file":
            raise OSError(f"file {item[0]}")
        return item

    def work(self, item):
        number, kind, pause = item
        alone = kind.startswith("alone")
        self.enter("work")
        self.is_alone = alone
        try:
            small = kind == "small"
            with one_pass(_SMALL if small else _SMALL + 1):  # which stops if nobody asks any more
                self.enter("small" if small else "network")
                self.crowded += self.inside["network"] and self.inside["network"] + self.inside["small"] > 1
                time.sleep(pause)
                self.leave("small" if small else "network")
            time.sleep(pause)
            if alone:
                self.beside_alone += self.inside["work"] - 1 + self.inside["read"]
        finally:
            self.is_alone = False
            self.leave("work")
        if "bad" in kind:
            raise ValueError(f"image {number}")
        return -number

    def run(self, kinds):
        yield from ahead(self.supply(kinds), self.read, self.work, lambda item: item[1].startswith("alone"))


def expected(kinds):
    def one(number, kind):
        return f"file {number}" if kind == "bad file" else f"image {number}" if "bad" in kind else -number

    return [one(number, kind) for number, (kind, _) in enumerate(kinds)]


def outcome(found):
    assert found.done()
    return found.result() if found.exception() is None else str(found.exception())


@LAW
@given(ITEMS)
def test_all_come_in_order_and_errors_at_their_place(kinds):
    work, outcomes = Work(), []
    for found in work.run(kinds):
        outcomes.append(outcome(found))
        work.given += 1
    assert outcomes == expected(kinds)
    assert work.most["read"] <= 1
    assert work.most["network"] <= 1
    assert not work.crowded
    assert work.most["work"] <= 2
    assert work.most["ahead"] <= 3
    assert work.beside_alone == 0


@LAW
@given(ITEMS, st.integers(0, 12), st.booleans())
def test_whoever_stops_asking_leaves_no_thread(kinds, asked, fails):
    before = threading.active_count()
    work = Work()
    with closing(work.run(kinds)) as results:
        assert [outcome(found) for found in islice(results, asked)] == expected(kinds)[:asked]
        if fails:
            with pytest.raises(ZeroDivisionError):
                results.throw(ZeroDivisionError)
    assert threading.active_count() == before
    assert not any(work.inside.values())


def test_two_are_dealt_with_at_once():
    both = threading.Barrier(2, timeout=60)
    results = ahead("ab", str, lambda item: both.wait() >= 0, lambda item: False)
    assert [found.result() for found in results] == [True, True]


def test_small_ones_are_in_the_network_side_by_side():
    both = threading.Barrier(2, timeout=60)

    def work(item):
        with one_pass(_SMALL):
            return both.wait() >= 0

    results = ahead("ab", str, work, lambda item: False)
    assert [found.result() for found in results] == [True, True]


def test_one_that_is_alone_is_worked_on_by_whoever_asks():
    results = ahead("ab", str, lambda item: threading.current_thread(), lambda item: item == "b")
    first, second = (found.result() for found in results)
    assert first is not threading.main_thread()
    assert second is threading.current_thread()


def test_nothing_is_read_beside_one_that_is_alone_until_the_next_is_asked_for():
    read = []

    def note(item):
        read.append(item)
        return item

    results = ahead(range(9), note, lambda item: item, lambda item: item == 1)
    assert next(results).result() == 0
    assert next(results).result() == 1
    time.sleep(0.05)
    assert read == [0, 1]
    assert next(results).result() == 2
    results.close()


def test_closing_stops_work_before_its_next_pass():
    begun, passes = threading.Event(), []

    def work(item):
        for number in count():
            with one_pass(1):
                passes.append(number)
                begun.set()
                time.sleep(0.001)

    results = ahead(range(9), str, lambda item: item if item == "0" else work(item), lambda item: False)
    next(results)
    assert begun.wait(60)
    results.close()  # comes back at all
    assert passes


def test_an_error_of_the_items_ends_the_row():
    def items():
        yield 1
        raise KeyError("no more")

    with pytest.raises(KeyError, match="no more"):
        next(ahead(items(), str, str, lambda item: False))


def test_what_stops_a_program_is_not_taken_for_an_error_of_one_image():
    def work(item):
        raise KeyboardInterrupt

    (found,) = ahead("a", str, work, lambda item: False)
    assert isinstance(found.exception(), KeyboardInterrupt)
    with pytest.raises(KeyboardInterrupt):
        next(ahead("a", str, work, lambda item: True))


@pytest.mark.parametrize(("shape", "large"), [((1024, 1024, 3), False), ((1025, 1024, 3), True), ((1700, 1800), False)])
def test_large_images_are_alone(shape, large):
    pixels = np.broadcast_to(np.uint8(0), shape)
    assert is_large(Micrograph(pixels, pixels)) == large
    assert is_large(Micrograph(np.broadcast_to(np.uint8(0), (1024, 1024, 60)), pixels))
