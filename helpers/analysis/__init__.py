"""A recording, and what is in it: pitch, loudness, notes, and whether it is fit to learn from.

`audio` reads and writes sound files, `crepe` is the pitch network, `pitch` turns its output into
f0, `features` joins f0 and loudness, which models are conditioned on, `harmonics` finds the
harmonics of a recording and the noise between them, `notes` finds notes and keys in the features
(`keys` lists the keys), and `doctor` examines a folder of recordings before a training. Analyses
that take long are kept in `analysis_cache`.

May import: nothing but the modules at the top of `helpers`.
"""

__all__ = [
    "analysis_cache",
    "audio",
    "crepe",
    "doctor",
    "features",
    "harmonics",
    "keys",
    "notes",
    "pitch",
]
