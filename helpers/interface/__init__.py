"""What is clicked, moved and listened to in a notebook.

`widgets` has choosers, players and the panel of a training, `transfer_panel` is notebook 3's, and
`capture` records from a microphone.

May import: all other folders.
"""

__all__ = ["capture", "transfer_panel", "widgets"]
