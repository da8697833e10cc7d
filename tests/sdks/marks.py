"""Marks of tests that make sense with a provider of one dialect only."""

import pytest

TO_OPENAI = pytest.mark.parametrize("upstream", ["openai"], indirect=True)
TO_ANTHROPIC = pytest.mark.parametrize("upstream", ["anthropic"], indirect=True)
