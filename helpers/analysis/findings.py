"""What the examination of recordings found, in sentences for the player."""

from collections.abc import Mapping, Sequence

import librosa
import numpy as np

from helpers.analysis.recording_quality import LOUDNESS_EDGES_DB, FileReport

# What is enough, and from where on something is said.
LEAST_MINUTES, GOOD_MINUTES = 3.0, 10.0  # of notes; ddsp's own violin was trained on 13
LEAST_NOTES_S = 1.0  # of notes, to say anything of them
MOST_POLYPHONY = 0.15  # of the frames; solo music has some double stops, and notes that ring on
MOST_UNPITCHED = 0.3  # of what is about as loud as the notes
LEAST_SNR_DB = 35.0  # of the notes above the noise; from there on the model learns to hiss
MOST_CLIPPED = 1e-4  # of the samples: one or two peaks a second are hardly heard
QUIETEST_NOTES_DB = -40.0  # full scale; below, 16 bits and a microphone's own noise are near
LONGEST_RT60_S = 0.8  # of a living room; the model's own reverberation lasts 1 s
LEAST_SEMITONES = 7  # of range, that a melody has
LEAST_RANGE_DB = 10.0  # from soft to loud, about from p to f on one note
LEAST_SECONDS = 3.0  # of a note, its two neighbours counted in, at each of three loudnesses
MOST_ADVICES = 3  # of what to record next: more is not read
DYNAMICS = ("softly", "at medium loudness", "loudly")


def in_words(
    files: Sequence[FileReport], passed_over: Mapping[str, str], seconds_played: np.ndarray
) -> list[str]:
    """Sentences for the player: how much there is, what is wrong, what is fine, what to record."""
    sentences = [f"{name} was passed over: {reason}" for name, reason in passed_over.items()]
    if seconds_played.sum() < LEAST_NOTES_S:
        return [
            *sentences,
            "There is hardly a note in these recordings: record one instrument or voice.",
        ]
    problems, fine = _problems(files)
    sentences = [_amount(files), *sentences, *problems]
    if fine:
        sentences.append(f"Fine as it is: {', '.join(fine)}.")
    return sentences + coverage(seconds_played)


def _amount(files):
    minutes = sum(file.usable_minutes for file in files)
    found = f"There are {minutes:.1f} minutes of single notes in {_count(len(files), 'file')}"
    if minutes < LEAST_MINUTES:
        return f"{found}: too little, record at least {LEAST_MINUTES:g}, better {GOOD_MINUTES:g}."
    if minutes < GOOD_MINUTES:
        return f"{found}: enough to try, {GOOD_MINUTES:g} make a better model."
    return f"{found}: enough."


def _problems(files):
    """What is wrong with which files and what to do about it, and what is wrong with none."""
    checks = [
        (
            "one note at a time",
            [file for file in files if file.polyphony > MOST_POLYPHONY],
            "polyphony",
            "More than one note sounds at a time in {names} ({worst:.0%} of the notes): a model "
            "learns single notes, leave chords, drones and other players out, and in a church "
            "play slower.",
        ),
        (
            "clear pitch",
            [file for file in files if file.unpitched > MOST_UNPITCHED],
            "unpitched",
            "Much of {names} has no clear pitch ({worst:.0%} of what is loud): take out chords, "
            "talking and noises.",
        ),
        (
            "no clipping",
            [file for file in files if file.clipped > MOST_CLIPPED],
            "clipped",
            "The loudest parts of {names} are cut off ({worst:.2%} of the samples): turn the "
            "input down and record them again.",
        ),
        (
            "loud enough",
            [file for file in files if file.note_level_db < QUIETEST_NOTES_DB],
            "note_level_db",
            "The notes in {names} are very quiet ({worst:.0f} dB below full scale at their "
            "middle): turn the input up or go nearer to the microphone.",
        ),
    ]
    sentences, fine = [], []
    for praise, found, name, sentence in checks:
        if found:
            values = [abs(getattr(file, name)) for file in found]
            sentences.append(sentence.format(names=named(found), worst=max(values)))
        else:
            fine.append(praise)
    for sentence, praise in (_noise(files), _reverberation(files)):
        sentences += [sentence] if sentence else []
        fine += [praise] if praise else []
    return sentences, fine


def _noise(files):
    """What is wrong with the noise, or what is fine about it."""
    known = [file for file in files if np.isfinite(file.note_level_db - file.noise_floor_db)]
    if not known:
        return (
            "There is no pause in which the noise can be measured: leave two seconds of silence "
            "after a take.",
            None,
        )
    snr_db = {file: file.note_level_db - file.noise_floor_db for file in known}
    noisy = [file for file in known if snr_db[file] < LEAST_SNR_DB]
    if not noisy:
        return None, f"little noise ({min(snr_db.values()):.0f} dB or more below the notes)"
    least_db = min(snr_db[file] for file in noisy)
    return (
        f"There is noise in the pauses of {named(noisy)}, only {least_db:.0f} dB softer than the "
        "notes: the model will learn it, so switch off what hums and blows, and go nearer to the "
        "microphone.",
        None,
    )


def _reverberation(files):
    """What is wrong with the reverberation, or what is fine about it."""
    known = [file for file in files if np.isfinite(file.rt60_s)]
    if not known:
        return (
            "No note dies away, so the room cannot be judged: let one ring until it is silent.",
            None,
        )
    typical_s = float(np.median([file.rt60_s for file in known]))
    long = [file for file in known if file.rt60_s > LONGEST_RT60_S]
    if typical_s <= LONGEST_RT60_S or not long:
        return None, f"little reverberation ({typical_s:.1f} s)"
    return (
        f"Notes take {typical_s:.1f} s to die away, as in {named(long)}: unless that is the "
        "instrument itself, record in a room with carpets and curtains, near the microphone.",
        None,
    )


def coverage(seconds_played: np.ndarray) -> list[str]:
    """What pitches and dynamics there are, and the largest gaps between them."""
    low, high = _between(seconds_played.sum(axis=1), 0.01, 0.99)
    soft, loud = _between(seconds_played.sum(axis=0), 0.1, 0.9)  # fades left out
    soft_db, loud_db = LOUDNESS_EDGES_DB[[soft, loud + 1]]
    span = f"The notes go from {_note(low)} to {_note(high)}"
    gaps = list(_gaps(seconds_played.sum(axis=1), low, high, ""))
    sentences = []
    if high - low < LEAST_SEMITONES:
        sentences.append(f"{span} only: record a scale over all that the instrument plays.")
    else:
        sentences.append(f"{span}: the model will be at home there, not above or below.")
    if loud_db - soft_db < LEAST_RANGE_DB:
        sentences.append(
            f"All is about equally loud (within {loud_db - soft_db:.0f} dB): record the same notes "
            "softly and loudly too."
        )
    else:
        for how, seconds in _by_dynamics(seconds_played, soft, loud):
            gaps += [gap for gap in _gaps(seconds, low, high, how) if not _is_within(gap, gaps)]
        sentences.append(f"From soft to loud there are {loud_db - soft_db:.0f} dB.")
    gaps.sort(key=lambda gap: gap[0] - gap[1])  # the widest first
    for first, last, how, seconds in gaps[:MOST_ADVICES]:
        notes = _note(first) if first == last else f"{_note(first)} to {_note(last)}"
        sentences.append(f"Record {notes}{how}: so far you have {seconds:.0f} s of it.")
    if not gaps:
        sentences.append("All notes between are there, at every loudness.")
    return sentences


def _by_dynamics(seconds_played, soft, loud):
    """Yields how loud each third of the columns from soft to loud is, and seconds a note [128]."""
    edges = np.linspace(soft, loud + 1, len(DYNAMICS) + 1).round().astype(int)
    edges[0], edges[-1] = 0, seconds_played.shape[1]
    for how, start, end in zip(DYNAMICS, edges[:-1], edges[1:], strict=True):
        yield f" {how}", seconds_played[:, start:end].sum(axis=1)


def _gaps(seconds, low, high, how):
    """Yields rows of notes that hardly sound: first, last, `how`, and how many seconds they do."""
    rare = np.flatnonzero(np.convolve(seconds, np.ones(3), "same") < LEAST_SECONDS)
    rare = rare[(rare >= low) & (rare <= high)]
    for row in np.split(rare, np.flatnonzero(np.diff(rare) > 1) + 1):
        if len(row):
            yield int(row[0]), int(row[-1]), how, seconds[row].sum()


def _is_within(gap, others):
    """Whether the same notes are missing at any loudness."""
    return any(first <= gap[0] and gap[1] <= last for first, last, how, _ in others if not how)


def _between(seconds, first, last):
    """The columns of a histogram between which that share of it lies."""
    share = np.cumsum(seconds) / seconds.sum()
    return int(np.searchsorted(share, first)), int(np.searchsorted(share, last))


def _note(midi):
    return str(librosa.midi_to_note(midi))


def named(files: Sequence[FileReport]) -> str:
    """The names of files, of many only the first two."""
    names = [file.name for file in files]
    if len(names) <= 3:
        return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
    return f"{', '.join(names[:2])} and {len(names) - 2} other files"


def _count(n, noun):
    return f"{n} {noun}{'s' if n != 1 else ''}"
