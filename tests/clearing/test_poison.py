"""One event that the database does not take must not stop the books."""

from tests.clearing.conftest import Books, an_event, hold, settled


async def test_a_text_with_a_nul_is_settled(books: Books) -> None:
    clerk = await books.clerk()
    path = clerk.path([books.limit(1000)])
    one, other = await hold(clerk, path, 10), await hold(clerk, path, 10)
    clerk.capture(one, an_event(one.request_id, 5, finish="st\0op"))
    clerk.capture(other, an_event(other.request_id, 5))
    await settled(clerk)
    assert books.count("usage_event") == 2


async def test_a_hub_starts_over_such_a_journal(books: Books) -> None:
    clerk = await books.clerk()
    path = clerk.path([books.limit(1000)])
    one = await hold(clerk, path, 10)
    clerk.capture(one, an_event(one.request_id, 5, finish="st\0op"))
    journal = clerk._journal
    assert journal is not None
    clerk._teller.stop(timeout_s=0)  # the process dies: its lock is free, its journal stays
    clerk._tend_handle.cancel()  # type: ignore[union-attr]
    journal.close(delete=False)
    books.clerks.clear()
    await books.clerk("the next")
