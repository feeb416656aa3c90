"""The `worldgen` command: one-line errors and exit codes; the commands are in `worldgen/commands`."""

import errno
import os
import re
import signal
import sys
import threading
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any

from geometry.errors import InputError, Note

_INTERRUPTED, _PIPE_CLOSED = 130, 141  # as shells call what ends by SIGINT, SIGPIPE
_AGAIN_S = 0.05
_LONGEST_NAME = 200
_OPTIONS = {"hw": "size"}  # arguments of Python whose options have other names
# What the system refuses for reasons that a user can see to, wherever it happens.
_REFUSALS = frozenset(
    (errno.ENAMETOOLONG, errno.ELOOP, errno.ENOTDIR, errno.EISDIR, errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC,
     errno.EDQUOT, errno.EFBIG, errno.EMFILE)
)  # fmt: skip


def main(arguments: list[str] | None = None) -> int:
    """Run a command. Returns 0; 2 for bad input, with one line on stderr; 130 when interrupted; 141 when who reads its
    output, such as `head`, has stopped."""
    try:
        try:
            return _main(sys.argv[1:] if arguments is None else arguments)
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        nowhere = os.open(os.devnull, os.O_WRONLY)  # or Python would complain of the rest at its end
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):
                os.dup2(nowhere, stream.fileno())
        return _PIPE_CLOSED


def _main(arguments: list[str]) -> int:
    with _Interrupts() as interrupts:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("always", Note)
                warnings.showwarning = _show(warnings.showwarning)
                _run(arguments, interrupts)
                return 0
        except InputError as error:
            if not interrupts.asked:
                print(f"worldgen: {_words(str(error))}", file=sys.stderr)
                return 2
        except KeyboardInterrupt:
            pass
        except OSError as error:
            if not interrupts.asked:
                if error.errno not in _REFUSALS:
                    raise
                print(f"worldgen: {_refusal(error)}", file=sys.stderr)
                return 2
        except Exception:
            if not interrupts.asked:  # some libraries turn an interrupt into an error of theirs
                raise
        print("worldgen: interrupted", file=sys.stderr)
        return _INTERRUPTED


class _Interrupts:
    """SIGINT (Ctrl-C) and SIGTERM end the command, which cleans up.

    asked      one has come
    importing  nothing has been written yet, and libraries that are being loaded take an interrupt badly: it ends the
               process at once
    """

    asked, importing = False, True

    def __enter__(self) -> "_Interrupts":
        self._before: dict[int, Any] = {}
        self._hook = sys.unraisablehook
        if threading.current_thread() is threading.main_thread():
            self._before = {kind: signal.signal(kind, self._end) for kind in (signal.SIGINT, signal.SIGTERM)}
            sys.unraisablehook = self._unraisable
        return self

    def _end(self, *_: object) -> None:
        if self.importing:
            os.write(2, b"worldgen: interrupted\n")
            os._exit(_INTERRUPTED)
        self.asked = True
        raise KeyboardInterrupt

    def _unraisable(self, unraisable: Any) -> None:
        """Interrupt again where an interrupt fell into a callback, which cannot pass it on."""
        if self.asked and issubclass(unraisable.exc_type, KeyboardInterrupt):
            threading.Timer(_AGAIN_S, signal.raise_signal, (signal.SIGINT,)).start()
        else:
            self._hook(unraisable)

    def __exit__(self, *_: object) -> None:
        for kind, handler in self._before.items():
            signal.signal(kind, handler)
        sys.unraisablehook = self._hook


def _words(text: str) -> str:
    """A text of the library in one line, where an argument of Python (`name=`) is called as its option (--name)."""

    def option(found: re.Match[str]) -> str:
        return f"--{_OPTIONS.get(found[1], found[1]).replace('_', '-')}"

    return re.sub(r"`(\w+)=`", option, " ".join(text.split()))


def _refusal(error: OSError) -> str:
    """What the system refused, and of which file, whose name is cut where it is long."""
    name = "" if error.filename is None else str(os.fsdecode(error.filename))
    shown = name if len(name) <= _LONGEST_NAME else f"...{name[-_LONGEST_NAME:]}"
    return _words(f"{shown}: {error.strerror}" if shown else str(error.strerror))


def _show(usual: Any) -> Any:
    """A function that shows notes as one line on stderr, above a progress bar, and other warnings as usual."""

    def show(message: Warning | str, category: type[Warning], *rest: Any) -> None:
        if issubclass(category, Note):
            said = f"worldgen: note: {_words(str(message))}"
            with suppress(BrokenPipeError):
                if "tqdm" in sys.modules:
                    sys.modules["tqdm"].tqdm.write(said, file=sys.stderr)
                else:
                    print(said, file=sys.stderr)
        else:
            usual(message, category, *rest)

    return show


def _run(arguments: list[str], interrupts: _Interrupts) -> None:
    if len(arguments) > 1 and arguments[0] == "train" and not any(a.startswith("-") for a in arguments):
        # Training machines often have torch and little else: this path does without a command-line library.
        from worldgen.runtime import threads
        from worldgen.training.engine.run import train

        threads.use()
        interrupts.importing = False
        return train(Path(arguments[1]), tuple(arguments[2:]))
    from worldgen.commands import parse

    command = parse(arguments)
    if getattr(command, "quiet", False):
        warnings.simplefilter("ignore", Note)
    import geometry.public  # noqa: F401 - torch, which every command needs, loaded where an interrupt is harmless
    from worldgen.runtime import threads

    threads.use()
    interrupts.importing = False
    return command.run()


if __name__ == "__main__":
    sys.exit(main())
