"""What the instruments that ship play, and figures of tables and of a short training.

`tests/test_golden.py` compares them with the files beside this one, which were made before the
modules of `helpers` were put into folders. To make them anew, after a change that is meant to be
heard:

    python tests/golden/make_samples.py
"""

import json
import sys
import tempfile
from pathlib import Path

import numpy as np

GOLDEN = Path(__file__).parent
sys.path[:0] = [str(GOLDEN.parents[1]), str(GOLDEN.parent)]

import tiny_instrument

from helpers import config
from helpers.analysis import audio as sound
from helpers.analysis import doctor
from helpers.evaluation import interpolation, metrics, results
from helpers.instruments import bundles
from helpers.training import dataset, loop
from helpers.transfer import session
from helpers.transfer.settings import Settings

INSTRUMENTS = ("violin", "violin_44k", "flute", "tenor_saxophone", "trumpet", "autoencoder")
MOVED = Settings(
    octaves=1,
    cents=20,
    autotune=0.8,
    attack_s=0.05,
    noise_db=6,
    reverb=1.2,
    quiet_db=20,
    loudness_db=-3,
)
EVERY = 37  # samples, of which one is kept
N_CLIPS = 3
TRAINING_STEPS = 20


def transfers():
    """Title to every 37th sample of 3 s of a sung melody, played by an instrument."""
    phrase, rate = sound.load(config.DATA / "voice" / "oohs_melody.flac")
    phrase = phrase[: 3 * rate]
    played = {name: session.transfer_audio(phrase, rate, name) for name in INSTRUMENTS}
    for title, settings in {
        "moved": MOVED,
        "without_vibrato": Settings(vibrato=-0.5),
        "with_vibrato": Settings(vibrato=0.5),
    }.items():
        played[title] = session.transfer_audio(phrase, rate, "violin", settings)
    played["mixed"] = session.transfer_audio(
        phrase, rate, "violin", Settings(mix=0.5), second="flute"
    )
    at_44k = sound.resample(phrase, rate, 44100)
    played["at_its_rate"] = session.transfer_audio(
        at_44k, 44100, "violin", keep_rate=True, keep_loudness=True
    )
    return {title: audio[::EVERY].astype(np.float32) for title, audio in played.items()}


def figures():
    """Metrics of both models of the tables on three clips, and what the doctor says."""
    clips = {name: values[:N_CLIPS] for name, values in results.heldout_clips().items()}
    found = {}
    for name, path in {"autoencoder": results.AUTOENCODER, "wavernn": results.WAVERNN}.items():
        instrument = bundles.load(path)
        rates = instrument.sample_rate, instrument.frame_rate
        resynthesized = metrics.resynthesize(instrument, clips)
        found[name] = [
            metrics.compare(original, metrics.measure(played, *rates))
            for original, (_, played, _) in zip(clips["features"], resynthesized, strict=True)
        ]
    autoencoder = bundles.load(results.AUTOENCODER)
    found["interpolation"] = interpolation.evaluate_pairs(autoencoder, clips, n_partners=1)
    found["doctor"] = str(doctor.examine(config.DATA / "violin"))
    return found


def training():
    """The dataset of the shipped violin, and a small instrument after 20 steps on it."""
    with tempfile.TemporaryDirectory() as folder:
        examples = dataset.prepare(config.DATA / "violin", f"{folder}/dataset")
        instrument = tiny_instrument.build()
        history = loop.train(instrument, examples, f"{folder}/checkpoints", TRAINING_STEPS)
        return {
            "statistics": examples.statistics,
            "n_train": len(examples.train["audio"]),
            "n_heldout": len(examples.heldout["audio"]),
            "train_loss": history.train_loss,
            "heldout_loss": history.heldout_loss,
            "played": tiny_instrument.play(instrument)[::EVERY].tolist(),
        }


if __name__ == "__main__":
    np.savez_compressed(GOLDEN / "transfers.npz", **transfers())
    for name, content in {"figures": figures(), "training": training()}.items():
        text = json.dumps(content, indent=1, default=float, ensure_ascii=False)
        (GOLDEN / f"{name}.json").write_text(text + "\n", encoding="utf-8")
