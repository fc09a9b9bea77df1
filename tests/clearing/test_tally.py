"""What `tally.c` does is what its twins in Python do, or nothing: for cells, holds and charges of any kind."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenhub.budgets.types import Limit
from tokenhub.clearing import cells as twins
from tokenhub.clearing import tally
from tokenhub.clearing.cells import Cell, Hold, Path
from tokenhub.ledger.types import Amounts, BucketSpec, Need, Unit

compiled = pytest.mark.skipif(not tally.compiled, reason="the core is not compiled here")
EDGES = [
    0,
    1,
    -1,
    2**30,
    2**48 - 1,
    2**48,
    -(2**48),
    2**60 - 1,
    2**60,
    2**62,
    2**63 - 1,
    2**63,
    -(2**63),
    2**70,
]
AMOUNT = st.integers(0, 1000) | st.sampled_from(EDGES)
CELL = st.tuples(st.integers(0, 3), AMOUNT, st.integers(0, 1200) | st.sampled_from(EDGES))
NEED = st.tuples(AMOUNT, AMOUNT, AMOUNT, AMOUNT)
USE = st.tuples(
    st.integers(0, 3),
    st.sampled_from(["req_1", "req_2A", 'a"b', "\\", "ü", "", "a\nb", "日本", "x" * 70]),
    st.integers(0, 50) | st.just(2**62),
    *[st.integers(-2, 500) | st.sampled_from(EDGES)] * 5,
)


def made(rows: list[tuple[int, int, int]]) -> tuple[Cell, ...]:
    out: list[Cell] = []
    for number, (unit, free, low) in enumerate(rows):
        limit = Limit(f"l{number}", "key", "k", Unit(unit), 10)
        cell = Cell(BucketSpec(f"b{number}", limit.id, Unit(unit), 10, True, 0, 2**62), limit)
        cell.free, cell.low = free, low
        out.append(cell)
    return tuple(out)


def seen(cells: tuple[Cell, ...]) -> list[tuple[int, int]]:
    return [(cell.free, cell.touched_ms) for cell in cells]


def take(cells: Any, need: Any, now_ms: Any) -> int:
    """What `hold` says; 1 for a hold, which is what `Hold` makes."""
    path = Path([])
    path.cells, path.path_id = cells, "path_1"
    said = tally.hold(path, need, "req_1", now_ms)
    if not isinstance(said, Hold):
        return said
    expected = Hold("req_1", path, need)
    assert {name: getattr(said, name) for name in Hold.__slots__} == {
        name: getattr(expected, name) for name in Hold.__slots__
    }
    return 1


@compiled
@given(st.lists(CELL, max_size=5), NEED, st.integers(0, 2**62))
def test_taking_is_the_twins(rows: list[tuple[int, int, int]], need: Amounts, now_ms: int) -> None:
    mine, theirs = made(rows), made(rows)
    before = seen(mine)
    said = take(mine, Need(*need), now_ms)
    if said < 0:
        assert seen(mine) == before
        figures = [*need, *[free for _, free, _ in rows]]
        assert any(abs(figure) >= 2**48 for figure in figures) or any(abs(low) >= 2**63 for _, _, low in rows)
    else:
        assert said == twins.take_now(theirs, need, now_ms) and seen(mine) == seen(theirs)


@compiled
@given(
    st.lists(st.lists(CELL, max_size=4), min_size=2, max_size=2),
    st.lists(st.tuples(st.integers(0, 1), NEED, USE, AMOUNT), max_size=6),
    st.integers(0, 60) | st.just(2**62),
    st.booleans(),
)
def test_closing_is_the_twins(rows: Any, charges: Any, until_ms: int, moved: bool) -> None:
    def world() -> tuple[list[tuple[Cell, ...]], list[Any]]:
        cells = [made(some) for some in rows]
        cells[1] += cells[0][:1]  # a cell of both paths
        paths = [Path([]), Path([])]
        for path, own in zip(paths, cells, strict=True):
            path.cells, path.until_ms = own, until_ms
        out = [(Hold("r", paths[which], granted), use, tokens) for which, granted, use, tokens in charges]
        if moved:
            paths[0].cells = cells[1]
        return cells, out

    (mine, my_charges), (theirs, their_charges) = world(), world()
    before = [seen(cells) for cells in mine]
    said = tally.close(my_charges)
    if said < 0:
        assert [seen(cells) for cells in mine] == before and not any(hold.closed for hold, _, _ in my_charges)
    else:
        assert bool(said) == twins.close(their_charges) and [seen(cells) for cells in mine] == [
            seen(cells) for cells in theirs
        ]
        assert all(hold.closed for hold, _, _ in my_charges)


@compiled
@given(st.lists(st.tuples(NEED, USE, AMOUNT), max_size=6), st.sets(st.integers(0, 3)))
def test_lines_are_the_twins(charges: Any, told: set[int]) -> None:
    path = Path([])
    said = tally.lines([(Hold("r", path, granted), use, tokens) for granted, use, tokens in charges], told)
    if said is None:
        return
    assert said == msgspec.json.Encoder().encode_lines([use for _, use, _ in charges])
    assert all(
        use[0] in told and tokens <= granted[0] and use[6] <= granted[2] for granted, use, tokens in charges
    )
    assert [msgspec.json.decode(line) for line in said.splitlines()] == [list(use) for _, use, _ in charges]


@compiled
def test_the_usual_case_is_done_in_c() -> None:
    cells = made([(0, 1000, 10), (1, 5, 1), (2, 10**12, 10**6), (3, 2, 0)])
    assert take(cells, Need(600, 1, 10**6, 1), 7) == 1 and take(cells, Need(395, 1, 1, 0), 8) == 2
    assert take(cells, Need(6, 1, 1, 1), 9) == 0 and seen(cells)[0] == (5, 8)
    path = Path([])
    path.cells = cells
    use = (3, "req_01ABC", 9, 100, 0, 20, 10**5, 4)
    charges = [(Hold("req_01ABC", path, Need(600, 1, 10**6, 1)), use, 120)]
    assert (
        tally.lines(charges, {3}) == b'[3,"req_01ABC",9,100,0,20,100000,4]\n'
        and tally.lines(charges, {2}) is None
    )
    assert tally.close(charges) == 0 and [free for free, _ in seen(cells)] == [485, 3, 10**12 - 100001, 2]
    path.until_ms = 9
    assert tally.close(charges) == 1


@compiled
@pytest.mark.parametrize("odd", [None, 1, "text", [], [1], [(1, 2, 3)], [(None,) * 3], ((),)])
def test_what_it_does_not_know_is_left_alone(odd: Any) -> None:
    path = Path([])
    half: Any = Hold.__new__(Hold)
    bare: Any = Cell.__new__(Cell)
    unborn: Any = Path.__new__(Path)
    assert tally.hold(odd, (1, 1, 1, 1), "r", 1) == -1 and tally.hold(unborn, (1, 1, 1, 1), "r", 1) == -1
    assert take(odd, Need(1, 1, 1, 1), 1) == -1
    assert (
        take(made([(0, 1, 0)]), odd, 1) == -1 and take((), Need(1, 1, 1, 1), odd if odd != 1 else 1.5) == -1
    )
    assert take((bare,), Need(1, 1, 1, 1), 1) == -1
    assert tally.lines(odd, set()) in (None, b"") and tally.lines([], odd) is None
    assert tally.close(odd) in (-1, 0) and tally.close([(half, (1,) * 8, 1)]) == -1
    assert tally.close([(Hold("r", path, (1, 1, 1, 1)), (1, "r", 1, 1, 1, 1, 1), 1)]) == -1
    cell = made([(0, 100, 0)])[0]
    assert take((cell, cell), Need(1, 1, 1, 1), 1) == -1 and cell.free == 100
