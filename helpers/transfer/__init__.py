"""A recording in, the same melody on another instrument out.

`session` plays recordings, files and folders on an instrument; `settings` is the list of all
settings. `python -m helpers.transfer --help` does it without a notebook.

May import: `analysis`, `instruments`, `synthesis`.
"""

__all__ = ["session", "settings"]
