"""Bad input on every face: a clear refusal in the caller's form, and nothing half-written."""

from collections.abc import Iterator

import pytest

from tests.work.bad_input import Faces, faces_of, sweep
from tests.work.world import World


@pytest.fixture
def faces(world: World) -> Iterator[Faces]:
    with faces_of(world) as made:
        yield made


@pytest.mark.parametrize("seed", [1])
def test_each_argument_as_everything_that_it_is_not(faces: Faces, seed: int) -> None:
    found = sweep(faces, seed=seed, share=0.12, other_share=0.05)
    assert found.problems == [], f"{len(found.problems)}: " + "\n".join(found.problems[:40])
    assert found.refused["door"] > 500 and found.refused["cli"] > 10, found
