"""Makes the sounds and the picture of the README: a sung melody, and instruments that play it.

    python docs/make_sounds.py

Each instrument plays the whole of `data/voice/oohs_melody.flac` with the default settings, at the
loudness of the recording. The sounds go to docs/sounds, their spectrograms to docs/transfer.png.
"""

import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import soundfile

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from helpers import config, plots
from helpers.analysis import audio as sound
from helpers.files import replacing
from helpers.transfer import session

SOUNDS = ROOT / "docs" / "sounds"
MELODY = config.DATA / "voice" / "oohs_melody.flac"
INSTRUMENTS = ("violin", "flute", "tenor_saxophone")
PEAK = 0.8  # of full scale: room for what the MP3 encoder adds
DRAWN_SECONDS = 11


def main():
    """Writes the four sounds and the picture."""
    melody, sample_rate = sound.load(MELODY)
    sounds = {"voice": melody}
    for name in INSTRUMENTS:
        sounds[name] = session.transfer_audio(
            melody, sample_rate, name, keep_rate=True, keep_loudness=True
        )
    SOUNDS.mkdir(exist_ok=True)
    for name, audio in sounds.items():
        audio = audio * min(1.0, PEAK / np.abs(audio).max())
        with replacing(SOUNDS / f"{name}.mp3") as unfinished:
            soundfile.write(unfinished, audio, sample_rate, format="MP3")
    drawn = {
        name.replace("_", " "): audio[: DRAWN_SECONDS * sample_rate]
        for name, audio in sounds.items()
    }
    fig, _ = plots.above_one_another(drawn, sample_rate)
    fig.set_size_inches(9, 7)
    with replacing(ROOT / "docs" / "transfer.png") as unfinished:
        fig.savefig(unfinished, dpi=75, format="png")
    plt.close(fig)


if __name__ == "__main__":
    main()
