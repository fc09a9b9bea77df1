"""One price version, compiled for rating."""

from dataclasses import dataclass, field

from tokenhub.pricing.cards import SimpleCard, compile_card, simple_card
from tokenhub.pricing.types import NO_END_MS, RateCard, Rates, Rules, canonical, fingerprint
from tokenhub.pricing.windows import CompiledWindow, compile_window

UNPRICED = ""
"""`version_id` of what no price version covers: rated at zero and visible as "unpriced"."""


@dataclass(frozen=True, slots=True)
class Price:
    """An immutable, dated price version of one SKU. In force from `effective_from_ms` until `effective_to_ms`."""

    version_id: str
    sku: str
    currency: str
    rules: Rules
    book: str = "default"
    effective_from_ms: int = 0
    effective_to_ms: int = NO_END_MS
    """Exclusive: the start of the next version."""
    successor: "Price | None" = field(default=None, compare=False)
    """The next version where it is known already; see `at`."""
    simple: SimpleCard | None = field(init=False, compare=False, repr=False)
    """The fast case: rates without tiers or windows; None where rating has to look closer."""
    compiled_windows: tuple[CompiledWindow, ...] = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        windows = tuple(compile_window(window) for window in self.rules.windows)
        simple = None if windows else simple_card(compile_card(self.rules.base))
        object.__setattr__(self, "compiled_windows", windows)
        object.__setattr__(self, "simple", simple)

    @property
    def sha256(self) -> str:
        """Hash of the canonical rules."""
        return fingerprint(canonical(self.rules))

    @property
    def priced(self) -> bool:
        """False for the stand-in of a SKU that has no price."""
        return self.version_id != UNPRICED

    def at(self, at_ms: int) -> "Price":
        """The version in force at an instant at or after this one's start: itself, or a successor it knows.

        A gateway calls this once per request, so that a price announced ahead starts on the millisecond
        in every process whenever it was loaded.
        """
        price = self
        while at_ms >= price.effective_to_ms and price.successor is not None:
            price = price.successor
        return price


def flat_price(
    rates: Rates, *, sku: str = "", version_id: str = "price_flat", currency: str = "USD"
) -> Price:
    """A price of plain rates: no tiers, no windows."""
    return Price(version_id=version_id, sku=sku, currency=currency, rules=Rules(base=RateCard(rates=rates)))


ZERO_PRICE = flat_price(
    Rates(input=0, output=0, audio_input=0, audio_output=0, image_input=0, image_output=0, request=0),
    version_id=UNPRICED,
)
"""Rates every usage at 0: the stand-in of a SKU without a price (our own engines, mostly)."""
