import os

import pytest


def need(condition, reason):
    """Skips a test where a part of the system is missing; in CI that is a failure."""
    if not condition:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)
