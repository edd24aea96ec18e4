"""The command line: python -m autograph COMMAND. A command is imported when it is asked for."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module

from .commands import COMMANDS, in_one_line
from .errors import AutographError

EXIT_CODES = "exit codes: 0 done, 1 it or a check failed, 2 no such command or flag, 130 Ctrl+C"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and answer its exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    program = "autograph" if sys.argv[0].endswith("autograph") else "python -m autograph"
    if not given or given[0] not in COMMANDS:
        return _help(program, given)
    name, rest = given[0], given[1:]
    module = import_module(f".commands.{name}", __package__)
    parser = argparse.ArgumentParser(
        prog=f"{program} {name}",
        description=module.__doc__,
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    module.arguments(parser)
    try:
        code: int = module.run(parser.parse_args(rest))
        sys.stdout.flush()
        return code
    except (AutographError, FileNotFoundError) as error:
        told = in_one_line(error).removeprefix(f"{name}: ")
        print(f"autograph {name}: {told}", file=sys.stderr)
        return 1
    except BrokenPipeError:  # whoever read the output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        return 130


def _help(program: str, given: Sequence[str]) -> int:
    """What there is; and what was meant, where a command is not known."""
    from . import __version__

    width = max(map(len, COMMANDS))
    listed = "\n".join(f"  {name:<{width}}  {what}" for name, what in COMMANDS.items())
    parser = argparse.ArgumentParser(
        prog=program,
        usage=f"{program} COMMAND [OPTIONS]",
        description="Neural networks on the host and on CUDA devices.",
        epilog=f"commands:\n{listed}\n\n{program} COMMAND --help tells more. {EXIT_CODES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"autograph {__version__}")
    parser.add_argument("command", nargs="?", choices=COMMANDS, help=argparse.SUPPRESS)
    parser.parse_args(given)
    parser.print_help()
    return 2


if __name__ == "__main__":
    sys.exit(main())
