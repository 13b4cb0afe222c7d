"""A folder of recordings, made into an instrument.

`recipe` goes from the recordings to a bundle. It is made of `dataset`, which cuts recordings into
examples, `objectives`, which says what is learned of them in each stage, and `loop`, which trains;
`history` describes how far a training has come.
`python -m helpers.training --help` trains without a notebook.

May import: `analysis`, `evaluation`, `instruments`, `synthesis`.
"""

__all__ = ["dataset", "history", "loop", "recipe"]
