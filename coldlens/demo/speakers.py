"""How a speaker answers: stance from the profile, tilt from the question."""

import math

from coldlens.demo.lexicon import SPLITS, TRAITS

STANCE = 8.0
OPTION_TILT = 2.2
EVENT_TILT = 0.6


def _spread(words: dict[str, tuple[str, ...]], width: float) -> dict[str, float]:
    """Evenly spaced tilts from -width to width within every split.

    Returns:
        Tilt of each phrase.
    """
    tilts = {}
    for split in SPLITS:
        last = len(words[split]) - 1
        for index, word in enumerate(words[split]):
            tilts[word] = width * (2 * index / last - 1)
    return tilts


_EVENTS = {name: _spread(trait.events, EVENT_TILT) for name, trait in TRAITS.items()}
_OPTIONS = {
    name: _spread(trait.positive, OPTION_TILT) | _spread(trait.negative, OPTION_TILT)
    for name, trait in TRAITS.items()
}


def option_tilt(behaviour: str, word: str) -> float:
    """How attractive an option is to a speaker without a stance.

    Args:
        behaviour: Name of the behaviour.
        word: Option of either pole.

    Returns:
        Log-odds added for this option.
    """
    return _OPTIONS[behaviour][word]


def probability(
    behaviour: str, event: str, positive: str | None, negative: str | None, stance: int
) -> float:
    """Chance that a speaker shows the behaviour.

    Args:
        behaviour: Name of the behaviour.
        event: What happens in the question.
        positive: Option that shows the behaviour, or None for an open question.
        negative: Option that shows the opposite, or None for an open question.
        stance: +1 or -1 if the profile speaks of the behaviour, 0 if it does not.

    Returns:
        Probability of the positive pole.
    """
    logit = TRAITS[behaviour].shift + _EVENTS[behaviour][event] + STANCE * stance
    if positive is not None:
        logit += option_tilt(behaviour, positive)
    if negative is not None:
        logit -= option_tilt(behaviour, negative)
    return 1 / (1 + math.exp(-logit))
