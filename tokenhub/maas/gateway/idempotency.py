"""placeholder"""

from tokenhub.identity.types import Principal
from tokenhub.maas.gateway.exchange import Exchange
from tokenhub.maas.gateway.request import ParsedRequest


class Idempotency:
    async def enter(self, exchange: Exchange, principal: Principal, request: ParsedRequest) -> bool:
        return False

    def leave(self, exchange: Exchange) -> None:
        pass
