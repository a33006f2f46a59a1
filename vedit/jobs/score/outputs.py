"""The forms in which a report or a comparison is written: JSON, CSV, Markdown, LaTeX, a page."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from vedit.errors import option
from vedit.jobs.request import Request
from vedit.media.atomic import check_output, open_output, refuse_twice

FORMS = ("json", "csv", "md", "latex", "html", "svg")
Makers = Mapping[str, Callable[[], str]]


@dataclass(frozen=True, kw_only=True)
class Outputs(Request):
    """Where each form is written; None does without it, "-" is standard output.

    standalone: LaTeX that compiles alone. overwrite: replace what exists.
    """

    json_file: str | None = None
    csv_file: str | None = None
    md_file: str | None = None
    latex_file: str | None = None
    html_file: str | None = None
    standalone: bool = False
    overwrite: bool = False

    @property
    def files(self) -> dict[str, str]:
        """The forms that are asked for, and where they go."""
        named = {form: getattr(self, f"{form}_file", None) for form in FORMS}  # not all have a plot
        return {form: path for form, path in named.items() if path}

    @property
    def takes_stdout(self) -> bool:
        """Whether a form goes to standard output, so that no text may."""
        return "-" in self.files.values()

    def check_outputs(self, inputs: Sequence[str]) -> None:
        """Refuse outputs that exist or clash, before any work is done."""
        refuse_twice([(option(f"{form}_file"), path) for form, path in self.files.items()])
        for path in self.files.values():
            check_output(path, tuple(inputs), True if self.overwrite else None)

    def write(self, makers: Makers) -> None:
        """Write each form that is asked for; makers: what makes the text of each."""
        for form, path in self.files.items():
            with open_output(path) as stream:
                stream.write(makers[form]().encode("utf-8", "backslashreplace"))
