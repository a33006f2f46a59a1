"""What is done with results: the command lines that repeat them, presets, files."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable

from vedit.errors import InputError, UsageError, VeditError
from vedit.ui.asked import Answer, Args, InTheWay, Missing, chain_of, shown_name, text_of, texts_of
from vedit.ui.controls import FORMAT, Spec, checked, checked_shape, file_options, output_files
from vedit.ui.holding import Holding
from vedit.ui.making import Making
from vedit.ui.work import Aim, File


class Keeping:
    """What one editor writes. ended: called with what the command prints, once the page is done."""

    def __init__(self, holding: Holding, making: Making, aim: Aim, ended: Callable[[Answer], None]) -> None:
        self.holding, self.making, self.aim, self.ended = holding, making, aim, ended

    def command(self, args: Args) -> Answer:
        """The command lines that make the same."""
        from vedit.ui.commands import chain_text, forms

        chain, output, source = self._shown(args)
        asked = args.get("name")
        target = self.aim.target if self.aim.mode == "file" else None
        if isinstance(asked, str) and asked:
            target = target or shown_name(asked)
        target = target or self.aim.name_for(source, output[FORMAT])
        used = [
            self.holding.file(given[option]).name
            for name, given in chain_of(args)
            for option in sorted(file_options(name) & set(given))
        ]
        asked_of = texts_of(args, "output")
        used += [
            self.holding.file(asked_of[option]).name for option in sorted(output_files() & set(asked_of))
        ]
        return {
            "chain": chain_text(chain),
            "output": target,
            "notes": [f"{name} is the file that you chose here." for name in dict.fromkeys(used)],
            "forms": forms(chain, output, source, target),
        }

    def _shown(self, args: Args) -> tuple[list[Spec], dict[str, str], str]:
        """The chain and the output as a command has them, and the name of the source."""
        given = args.get("source")
        source = "in.gif" if given is None else self.holding.source(given).name
        chain = chain_of(args)
        specs = checked(self.holding.with_files(chain, lambda file: file.path))
        shown = self.holding.with_files(checked_shape(chain, specs), lambda file: file.name)
        return shown, self.making.output_of(args, lambda file: file.name), source

    def save_preset(self, args: Args) -> Answer:
        """Keep a chain among the user's presets."""
        from vedit.presets import SUFFIX, document_from, save, user_folder

        name = text_of(args, "name")
        chain, _, _ = self._shown({"chain": args.get("chain")})
        overwrite = args.get("overwrite") is True
        if (
            os.sep not in name
            and not overwrite
            and os.path.exists(os.path.join(user_folder(), name + SUFFIX))
        ):
            raise InTheWay(f"there is a preset called {name} already.", "", "Choose another name")
        save(name, document_from(chain), True)
        return {"name": name}

    def load_preset(self, args: Args) -> Answer:
        """The chain of a preset, by its name."""
        from vedit import presets as own

        name = text_of(args, "name")
        if name not in own.paths():
            raise Missing(f"there is no preset called {name!r}.")
        return {"name": name, "chain": [list(spec) for spec in self.of_preset(name)]}

    def of_preset(self, name: str) -> list[Spec]:
        """A preset's chain as the page has it; files that it names are taken in."""
        from vedit import stages
        from vedit.presets import load_chain

        chain = []
        for stage, given in load_chain(name):
            names = {option.key: option.name for option in stages.load(stage).OPTIONS}
            texts = {names.get(key, key): text for key, text in given.items()}
            for option in file_options(stage) & set(texts):
                path = texts[option]
                if not os.path.isfile(path):
                    raise InputError(f"{path}: the preset {name} names this file, and it is not there.")
                with open(path, "rb") as file:
                    digest = hashlib.file_digest(file, "sha256").hexdigest()
                texts[option] = self.holding.keep_file(File(path, path, digest))["file"]
            chain.append((stage, texts))
        return chain

    def _result(self, args: Args) -> tuple[str, str]:
        revision = text_of(args, "revision")
        path = self.holding.shelf.find(revision)
        if path is None or revision not in self.making.reports:
            raise InTheWay("there is no result of this yet.", "", "Wait until it is made")
        return revision, path

    def save(self, args: Args) -> Answer:
        """Write a result under -O DIR."""
        from vedit.media.atomic import check_output

        if self.aim.mode != "folder":
            raise Missing("results are saved with -O DIR alone.", "", "Download it instead")
        revision, path = self._result(args)
        name = text_of(args, "name")
        ending = os.path.splitext(path)[1]
        if shown_name(name) != name or name.startswith(".") or not name.lower().endswith(ending):
            raise UsageError(
                f"{name!r} is not a name for this result.", f"A name has no folder, and ends in {ending}."
            )
        target = os.path.join(self.aim.target, name)
        if os.path.lexists(target) and args.get("overwrite") is not True:
            raise InTheWay(f"{name} exists.", "", "Choose another name, or replace it")
        check_output(target, (self.making.jobs[revision].source.path,), args.get("overwrite") is True)
        self._copy(path, target)
        return {"name": name, "bytes": os.path.getsize(target)}

    def done(self, args: Args) -> Answer:
        """Write the file behind -o, and end."""
        if self.aim.mode != "file":
            self.ended({"output": None})
            return {}
        from vedit.media.atomic import check_output, stands_in_the_way
        from vedit.ui.commands import chain_text, one_line

        revision, path = self._result(args)
        job = self.making.jobs[revision]
        if job.first:
            raise InTheWay("this result is of a part of the clip alone.", "", "Make the whole of it first")
        if args.get("overwrite") is True:
            check_output(self.aim.target, (), True)
        elif stands_in_the_way(self.aim.target):
            raise InTheWay(f"{self.aim.target} has come up meanwhile.", "", "Replace it, or move it away")
        self._copy(path, self.aim.target)
        shown = self.holding.with_files(checked_shape(job.chain, job.specs), lambda file: file.name)
        command = one_line(shown, job.output, job.source.name, self.aim.target)
        self.ended({"output": self.aim.target, "command": command, "chain": chain_text(shown)})
        return {"name": os.path.basename(self.aim.target), "bytes": os.path.getsize(path), "command": command}

    def _copy(self, path: str, target: str) -> None:
        from vedit.media.atomic import open_output

        with open(path, "rb") as whole, open_output(target) as stream:
            shutil.copyfileobj(whole, stream, 1 << 20)


def presets() -> list[Answer]:
    """The chain presets there are."""
    from vedit.presets import load, paths

    found = []
    for name in paths():
        try:
            preset = load(name)
        except VeditError:
            continue
        if preset.kind == "chain":
            found.append({"name": name, "summary": preset.summary, "is_own": not preset.is_shipped})
    return found
