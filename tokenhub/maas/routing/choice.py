"""The choice of a deployment: healthy first, then the least busy for its slots, failing ones rest."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from tokenhub.maas.deployments.types import Deployment

REST_S = 2.0
"""How long a deployment that failed to connect is avoided while another is there."""


@dataclass(slots=True)
class Load:
    """What one deployment is doing for this gateway."""

    running: int = 0


@dataclass(slots=True)
class Router:
    """What one gateway knows of its upstreams from use. Deployments are told by id."""

    _loads: dict[str, Load] = field(default_factory=dict[str, Load])
    _rest_until_s: dict[str, float] = field(default_factory=dict[str, float])

    def choose(
        self, deployments: Sequence[Deployment], *, now_s: float, tried: Collection[str] = ()
    ) -> Deployment | None:
        """The best of those not tried yet; None if there is none."""
        if len(deployments) == 1 and not tried:
            return deployments[0] if deployments[0].healthy else None
        open_ones = [one for one in deployments if one.healthy and one.id not in tried]
        if not open_ones:
            return None
        rested = [one for one in open_ones if self._rest_until_s.get(one.id, 0.0) <= now_s]
        return min(rested or open_ones, key=self._used)

    def load(self, deployment: Deployment) -> Load:
        """The same object each time; whoever sends a request there counts it in and out."""
        load = self._loads.get(deployment.id)
        if load is None:
            load = self._loads[deployment.id] = Load()
        return load

    def failed(self, deployment: Deployment, *, now_s: float) -> None:
        """It could not be reached, or broke before its first byte."""
        self._rest_until_s[deployment.id] = now_s + REST_S

    def busy(self) -> dict[str, int]:
        """Requests in flight by deployment id."""
        return {deployment_id: load.running for deployment_id, load in self._loads.items()}

    def _used(self, deployment: Deployment) -> float:
        load = self._loads.get(deployment.id)
        return 0.0 if load is None else load.running / max(deployment.slots, 1)
