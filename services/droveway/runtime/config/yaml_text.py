"""YAML as the configuration is written in: safe, read by libyaml where PyYAML was built with it."""

from typing import Any

import yaml

try:
    # In Python alone a file of 1 MB takes seconds.
    from yaml import CSafeLoader as _SafeLoader
except ImportError:
    from yaml import SafeLoader as _SafeLoader  # type: ignore[assignment]


MAX_DEPTH = 64
"""Of sequences and mappings in each other: libyaml would go on until the stack is full."""


class ConfigLoader(_SafeLoader):
    """Dates stay text, and a key that stands twice is an error instead of the last one winning."""

    _depth = 0

    def descend_resolver(self, current_node: yaml.Node | None, _index: Any) -> None:
        """Called before each node; what PyYAML looks for here, we don't use."""
        self._depth += 1
        if self._depth > MAX_DEPTH:
            mark = current_node.start_mark if current_node is not None else None
            text = f"nested more than {MAX_DEPTH} deep"
            raise yaml.composer.ComposerError(None, None, text, mark)

    def ascend_resolver(self) -> None:
        """Called after each node."""
        self._depth -= 1

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """A mapping's keys and values, once no key stands twice in it."""
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            if key.value in seen:
                text = f"{key.value!r} stands twice"
                raise yaml.constructor.ConstructorError(None, None, text, key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


ConfigLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith(":timestamp")]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
