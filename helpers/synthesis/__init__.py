"""The parts that models are built of: synthesizers, networks and losses for ddsp.

`ddsp_import` is the one place that imports ddsp, `xla` compiles. `synths`, `networks`, `encoders`
and `losses` hold faster drop-in parts for ddsp's models, `powers` the decoder of instruments that
learn an analysis, `wavetables` plays harmonics without gradients, and `wavernn` is the baseline.

May import: `analysis`.
"""

__all__ = [
    "ddsp_import",
    "encoders",
    "losses",
    "networks",
    "powers",
    "synths",
    "wavernn",
    "wavetables",
    "xla",
]
