"""A folder of recordings, made into an instrument.

`dataset` cuts recordings into examples, `loop` trains on them, and `history` says how far a
training has come. `python -m helpers.training --help` trains without a notebook.

May import: `analysis`, `evaluation`, `instruments`.
"""

__all__ = ["dataset", "history", "loop"]
