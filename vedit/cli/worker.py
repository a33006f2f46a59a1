"""A worker of `vedit batch`: that of `vedit.jobs.worker`, with options spelt as the command line does."""

from __future__ import annotations

import sys

from vedit.cli.spelling import on_command_line
from vedit.errors import speak
from vedit.jobs.worker import Editor, run

if __name__ == "__main__":
    speak(on_command_line)
    run(Editor(sys.argv[1] if len(sys.argv) > 1 else "auto"))
