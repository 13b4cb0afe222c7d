"""Models that play: made from a configuration, and kept in bundles.

`configurations` builds untrained instruments by name, `instrument` makes a network from a gin
configuration and plays curves with it, and `bundles` saves and loads them, Google's too. What comes
from elsewhere is checked before anything of it is used.

May import: `analysis`, `synthesis`.
"""

__all__ = ["bundles", "configurations", "instrument"]
