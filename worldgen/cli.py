"""The `worldgen` command: one-line errors and exit codes; the commands are in `worldgen/commands`."""

import sys
import warnings
from pathlib import Path
from typing import Any

from geometry.errors import InputError, Note


def main(arguments: list[str] | None = None) -> int:
    """Run a command. Returns 0; 2 for bad input, with one line on stderr; 130 when interrupted."""
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("always", Note)
            warnings.showwarning = _show(warnings.showwarning)
            _run(arguments)
    except InputError as error:
        print(f"worldgen: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("worldgen: interrupted", file=sys.stderr)
        return 130
    return 0


def _show(usual: Any) -> Any:
    """A function that shows notes as one line on stderr, and other warnings as usual."""

    def show(message: Warning | str, category: type[Warning], *rest: Any) -> None:
        if issubclass(category, Note):
            print(f"worldgen: note: {' '.join(str(message).split())}", file=sys.stderr)
        else:
            usual(message, category, *rest)

    return show


def _run(arguments: list[str]) -> None:
    from worldgen.runtime import threads

    if len(arguments) > 1 and arguments[0] == "train" and not any(a.startswith("-") for a in arguments):
        # Training machines often have torch and little else: this path does without a command-line library.
        from worldgen.training.engine.run import train

        threads.use()
        return train(Path(arguments[1]), tuple(arguments[2:]))
    from worldgen.commands import parse

    command = parse(arguments)
    threads.use()
    return command.run()


if __name__ == "__main__":
    sys.exit(main())
