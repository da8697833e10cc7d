"""Which route serves what a client calls a model: aliases, exact names, then the longest prefix."""

import functools
from collections.abc import Iterable

from droveway.contracts.config import Route
from droveway.dialects.models import EXACT, MAX_REMEMBERED, ModelTable


class RouteNames:
    """One configuration's routes by the names of models."""

    def __init__(self, routes: Iterable[Route], models: ModelTable) -> None:
        routes = [*routes]
        self._exact = {r.model: r for r in routes if not r.model.endswith("*")}
        self._prefixes = sorted(
            ((r.model[:-1], r) for r in routes if r.model.endswith("*")),
            key=lambda pair: -len(pair[0]),
        )
        self._by_prefix = functools.lru_cache(MAX_REMEMBERED)(self._longest_prefix)
        self._served = functools.lru_cache(MAX_REMEMBERED)(
            functools.partial(models.served, specificity=self._specificity)
        )

    def served(self, model: str) -> str:
        """The name that is routed for what a client calls `model`: an alias's, or its own."""
        return self._served(model)

    def route(self, model: str) -> Route | None:
        """The route that serves `model`, a name that is routed; or None."""
        return self._exact.get(model) or self._by_prefix(model)

    def _longest_prefix(self, model: str) -> Route | None:
        return next((r for prefix, r in self._prefixes if model.startswith(prefix)), None)

    def _specificity(self, model: str) -> int:
        if model in self._exact:
            return EXACT
        route = self.route(model)
        return -1 if route is None else len(route.model)
