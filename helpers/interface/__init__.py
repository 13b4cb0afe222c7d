"""What is clicked, moved and listened to in a notebook.

`choosers` has lists to choose from, to which uploads and recordings are added, and `widgets` has
players and a button for downloads. `training_panel` is notebook 2's panel, `transfer_panel` is
notebook 3's, and `capture` records from a microphone.

May import: all other folders.
"""

__all__ = ["capture", "choosers", "training_panel", "transfer_panel", "widgets"]
