"""The one error type for bad input, so that callers can tell a user's mistake from a bug of ours."""


class InputError(ValueError):
    """Bad input from outside: the message says what was seen and what was expected, in one line."""
