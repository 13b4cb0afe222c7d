"""Models that play: made from a configuration, and kept in bundles.

`configurations` builds untrained instruments by name, `instrument` makes a network from a gin
configuration and plays features with it, and `bundles` saves and loads instruments, Google's too.
The other modules check what a bundle holds before anything of it is used: `untrusted` its files and
zips, `gin_settings` its configuration, `schema` its statistics and card, and `weights` its weights.

May import: `analysis`, `synthesis`.
"""

__all__ = ["bundles", "configurations", "instrument"]
