"""What users are told of their input: one error type, so that callers can tell a user's mistake from a bug of ours,
and one kind of note, for what was left out, repaired or guessed.

Both speak of arguments as `name=`, backticks included: the command line says --name instead (`worldgen.cli`)."""

import warnings


class InputError(ValueError):
    """Bad input from outside: the message says what was seen and what was expected, in one line."""


class Note(UserWarning):
    """Something a user should know of a result that is right: what was left out, repaired or guessed."""


def note(text: str) -> None:
    """Tell the caller something in one line: a warning of the category `Note` (the command line prints it).

    Args:
        text: What was seen, and what was done about it.
    """
    warnings.warn(text, Note, stacklevel=2)
