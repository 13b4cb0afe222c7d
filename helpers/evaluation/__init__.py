"""How good a model is: the metrics of the DDSP paper, and the tables made of them.

May import: `analysis`, `instruments`.
"""

__all__ = ["interpolation", "metrics", "note_steps", "results", "spectrum"]
