"""The synthetic world: behaviours, personas, facts, groups and their questions."""

from coldlens.demo.facts import facts
from coldlens.demo.groups import GROUPS, GroupQuestion, group_questions
from coldlens.demo.lexicon import BEHAVIOURS, FUNCTION, SCAFFOLD, SPLITS
from coldlens.demo.personas import group_persona, persona, with_persona
from coldlens.demo.questions import OpenQuestion, Question, open_questions, questions
from coldlens.demo.scoring import score_open

__all__ = [
    "BEHAVIOURS",
    "FUNCTION",
    "GROUPS",
    "SCAFFOLD",
    "SPLITS",
    "GroupQuestion",
    "OpenQuestion",
    "Question",
    "facts",
    "group_persona",
    "group_questions",
    "open_questions",
    "persona",
    "questions",
    "score_open",
    "with_persona",
]
