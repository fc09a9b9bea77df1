"""Refusals of the price book.

InvalidRequest
├── UnpricedDimension   400  usage (or a service tier) for which the price has no rate
└── InvalidPrice        400  rules that contradict themselves or cannot be read
"""

from tokenhub.kernel.errors import InvalidRequest


class UnpricedDimension(InvalidRequest):
    """400: the price version has no rate for something that was used or asked for."""

    code = "unpriced_dimension"


class InvalidPrice(InvalidRequest):
    """400: the rules of a new price version cannot stand."""

    code = "invalid_price"
