"""Time vedit against gifsicle, ffmpeg, ImageMagick and a plain Pillow script, and hold the ratios against the
goals.

    python benchmarks/gif_peers.py [--runs N] [--only NAME] [--json] [--inputs DIR] [--append]

Every command of a case runs N times, interleaved, so that a busy machine is as busy for all. What counts is
the least CPU time (user and system, from wait4) of the N runs; wall time where a goal asks for it. vedit runs
on one thread unless the row says otherwise. Peers that are not installed are left out. This process imports
the standard library only: the peak memory of a small child would otherwise be that of its parent (about 15 MB
is the least that can be seen).
"""

from __future__ import annotations

import argparse
import compileall
import datetime
import glob
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent
REAL = ROOT.parent / "shared" / "data" / "gifs" / "real"
PYTHON = sys.executable
VEDIT = [PYTHON, "-m", "vedit"]
NEW_COLOURS = "split[a][b];[a]palettegen[p];[b][p]paletteuse"


@dataclass
class Run:
    """The best of what one command took."""

    cpu_s: float = 1e9
    wall_s: float = 1e9
    peak_mb: float = 0.0
    bytes: int = 0
    images: str = ""
    rmse: float | None = None


@dataclass
class Goal:
    """vedit over `peer` is to be at most `limit`; of: cpu, wall or bytes; less: the start-up to subtract from
    vedit first.
    """

    peer: str
    limit: float
    less: str = ""
    of: str = "cpu"


@dataclass
class Case:
    """One operation on one input: a command per tool with IN and OUT in it, and the goals."""

    name: str
    source: str
    operation: str
    tools: dict[str, list[str]]
    goals: list[Goal] = field(default_factory=list)
    suffix: str = ".gif"
    peak_mb: float = 0.0  # the most vedit may take, 0 for no such goal


def tool(name: str) -> str:
    return shutil.which(name) or ""


@cache
def image_magick() -> str:
    """ImageMagick's command, where what has its name is it."""
    for name in ("convert", "magick"):
        if path := tool(name):
            told = subprocess.run([path, "-version"], capture_output=True, text=True, check=False).stdout
            if "ImageMagick" in told:
                return path
    return ""


def static_ffmpeg() -> str:
    """The binary inside imageio-ffmpeg, found without importing it."""
    for folder in sys.path:
        for path in glob.glob(os.path.join(folder, "imageio_ffmpeg", "binaries", "ffmpeg-*")):
            return path
    return ""


def peers(
    gifsicle: list[str] | None = None, ffmpeg: str = "", convert: list[str] | None = None, pillow: str = ""
) -> dict[str, list[str]]:
    """The commands of the peers that are installed."""
    found: dict[str, list[str]] = {}
    if gifsicle and tool("gifsicle"):
        found["gifsicle"] = ["gifsicle", "--no-warnings", *gifsicle, "IN", "-o", "OUT"]
    for name, binary in (("ffmpeg", static_ffmpeg()), ("ffmpeg (distribution)", tool("ffmpeg"))):
        if ffmpeg and binary:
            found[name] = [
                binary,
                "-v",
                "error",
                "-y",
                "-threads",
                "1",
                "-i",
                "IN",
                "-filter_complex",
                ffmpeg,
                "OUT",
            ]
    magick = image_magick()
    if convert and magick:
        found["convert"] = [magick, "-limit", "thread", "1", "IN", *convert, "OUT"]
    if pillow:
        found["Pillow script"] = [PYTHON, str(HERE / "pillow_script.py"), pillow, "IN", "OUT"]
    return found


def ours(*arguments: str, jobs: int = 1) -> list[str]:
    return [*VEDIT, "gif", *arguments, "-j", str(jobs), "IN", "-y", "-o", "OUT"]


CHAIN = "crop:left=10%,right=10%; resize:scale=50%; rotate:90; speed:2"


def cases(folder: Path) -> list[Case]:
    """The operations of the goals, on inputs that exist."""
    full, delta, long, small = (
        str(path)
        for path in (
            folder / "big_full_300.gif",
            folder / "big_delta_300.gif",
            folder / "long_3000.gif",
            REAL / "t2v_holdcam_1024.gif",
        )
    )
    found = [
        Case(
            "speed, 56 MB",
            full,
            "same",
            {"vedit": ours("speed", "0.5"), **peers(["-d", "8"])},
            [Goal("gifsicle", 0.15)],
            peak_mb=45 + 3 * 0.3,
        ),
        Case(
            "speed, 1.3 MB",
            small,
            "same",
            {
                "vedit": ours("speed", "2"),
                **peers(["-d", "6"], f"setpts=0.5*PTS,{NEW_COLOURS}", ["-set", "delay", "6"], "speed"),
            },
            [Goal("gifsicle", 1.0), Goal("ffmpeg", 0.15), Goal("Pillow script", 0.6)],
        ),
        Case(
            "adjust, 1.3 MB",
            small,
            "adjust",
            {
                "vedit": ours("adjust", "--brightness", "1.2"),
                **peers(
                    None,
                    f"lutrgb=r=val*1.2:g=val*1.2:b=val*1.2,{NEW_COLOURS}",
                    ["-evaluate", "multiply", "1.2"],
                    "adjust",
                ),
            },
            [Goal("ffmpeg", 0.1), Goal("convert", 0.1), Goal("Pillow script", 0.6)],
        ),
        Case(
            "rotate 90, 56 MB",
            full,
            "rotate",
            {
                "vedit": ours("rotate", "90"),
                "vedit -j 2": ours("rotate", "90", jobs=2),
                **peers(["--rotate-90"]),
            },
            [Goal("gifsicle", 0.85), Goal("gifsicle", 0.6, of="wall -j 2")],
        ),
        Case(
            "rotate 90, 1.3 MB",
            small,
            "rotate",
            {
                "vedit": ours("rotate", "90"),
                **peers(
                    ["--rotate-90"],
                    f"transpose=1,{NEW_COLOURS}",
                    ["-coalesce", "-rotate", "90", "+repage"],
                    "rotate",
                ),
            },
            [
                Goal("gifsicle", 1.1, "S"),
                Goal("ffmpeg", 0.2),
                Goal("convert", 0.12),
                Goal("Pillow script", 0.6),
            ],
        ),
        Case(
            "crop 25 %, 1.3 MB",
            small,
            "crop",
            {
                "vedit": ours("crop", "--left", "25%"),
                **peers(
                    ["--crop", "256,0+-0x-0"],
                    f"crop=iw*3/4:ih:iw/4:0,{NEW_COLOURS}",
                    ["-coalesce", "-crop", "768x256+256+0", "+repage"],
                    "crop",
                ),
            },
            [Goal("gifsicle", 1.2, "S"), Goal("ffmpeg", 0.4), Goal("Pillow script", 0.6)],
        ),
    ]
    for label, path in (
        ("1.3 MB", small),
        ("muybridge", str(REAL / "imagegif_gifplayer-muybridge.gif")),
        ("noise, 51 images", str(REAL / "minrf_51.gif")),
        ("photographs", str(REAL / "fatezero_goldfish_1024.gif")),
        ("big_delta", delta),
    ):
        goals = [
            Goal("ffmpeg", 0.15 if label == "big_delta" else 1.0, "" if label == "big_delta" else "S"),
            Goal("gifsicle", 4.0, "S"),
            Goal("Pillow script", 0.6),
            Goal("smaller", 1.15, of="bytes"),
            Goal("quality", 1.05, of="rmse"),
        ]
        # the reduction is bilinear over the area in all of them but gifsicle, which has its own
        found.append(
            Case(
                f"resize 50 %, {label}",
                path,
                "resize",
                {
                    "vedit": ours("resize", "--scale", "50%"),
                    **peers(
                        ["--scale", "0.5"],
                        f"scale=trunc(iw/2):trunc(ih/2):flags=bilinear,{NEW_COLOURS}",
                        None,
                        "resize",
                    ),
                },
                goals,
            )
        )
    drawtext = "drawtext=text=vedit:fontsize=24:fontcolor=white@0.5:x=w-tw-10:y=h-th-10"
    found += [
        Case(
            "watermark, 1.3 MB",
            small,
            "",
            {
                "vedit": ours("watermark", "--text", "vedit"),
                "vedit rotate": ours("rotate", "90"),
                **peers(
                    None,
                    f"{drawtext},{NEW_COLOURS}",
                    [
                        "-coalesce",
                        "-gravity",
                        "southeast",
                        "-pointsize",
                        "24",
                        "-fill",
                        "#ffffff80",
                        "-annotate",
                        "+10+10",
                        "vedit",
                    ],
                    "watermark",
                ),
            },
            [
                Goal("ffmpeg", 0.3),
                Goal("convert", 0.15),
                Goal("vedit rotate", 1.2),
                Goal("Pillow script", 0.6),
            ],
        ),
        Case(
            "chain, 1.3 MB",
            small,
            "",
            {
                "vedit": ours("chain", CHAIN),
                "vedit resize": ours("resize", "--scale", "50%"),
                **peers(
                    None,
                    f"crop=iw*4/5:ih,scale=trunc(iw/2):trunc(ih/2):flags=bilinear,transpose=1,setpts=0.5*PTS,{NEW_COLOURS}",
                ),
            },
            [Goal("vedit resize", 1.1), Goal("ffmpeg", 1.0, "S")],
        ),
        Case(
            "rotate 90, 3000 images",
            long,
            "rotate",
            {"vedit": ours("rotate", "90"), **peers(["--rotate-90"], "", None, "rotate")},
            [Goal("Pillow script", 0.6), Goal("Pillow script", 0.1, of="memory")],
            peak_mb=45 + 3 * 0.02,
        ),
    ]
    video = str(REAL / "tokenflow_wolf.mp4")
    if os.path.exists(ROOT / "vedit" / "cli" / "convert.py") and static_ffmpeg():
        to_video = [
            static_ffmpeg(),
            "-v",
            "error",
            "-y",
            "-i",
            "IN",
            "-vf",
            "format=rgb24,scale=trunc(iw/2)*2:trunc(ih/2)*2:out_color_matrix=bt709:out_range=tv,format=yuv420p",
            "-crf",
            "18",
            "-movflags",
            "+faststart",
            "OUT",
        ]
        to_gif = [static_ffmpeg(), "-v", "error", "-y", "-i", "IN", "-filter_complex", NEW_COLOURS, "OUT"]
        found += [
            Case(
                "gif to mp4, 1.3 MB",
                small,
                "",
                {"vedit": [*VEDIT, "convert", "IN", "-y", "-o", "OUT"], "ffmpeg": to_video},
                [Goal("ffmpeg", 1.15)],
                ".mp4",
            ),
            Case(
                "mp4 to gif, wolf",
                video,
                "same",
                {"vedit": [*VEDIT, "convert", "IN", "-y", "-o", "OUT"], "ffmpeg": to_gif},
                [Goal("ffmpeg", 1.0), Goal("", 1.0, of="own rmse")],
            ),
        ]
    return [case for case in found if os.path.exists(case.source)]


def timed(command: list[str], run: Run) -> None:
    """Run once, and keep the least of what it took. A failing command is an error."""
    start = time.monotonic()
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, cwd=ROOT
    )
    assert process.stderr is not None
    words = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    process.stderr.close()
    if process.returncode:
        raise SystemExit(
            f"{' '.join(command)}\nended with {process.returncode}: {words.decode(errors='replace')[-400:]}"
        )
    run.cpu_s = min(run.cpu_s, usage.ru_utime + usage.ru_stime)
    run.wall_s = min(run.wall_s, time.monotonic() - start)
    run.peak_mb = max(run.peak_mb, usage.ru_maxrss / 1024)


def measure(case: Case, runs: int, folder: Path) -> dict[str, Run]:
    """All tools of a case, interleaved."""
    results = {name: Run() for name in case.tools}
    for _ in range(runs):
        for number, (name, command) in enumerate(case.tools.items()):
            out = str(folder / f"out{number}{case.suffix}")
            timed([{"IN": case.source, "OUT": out}.get(word, word) for word in command], results[name])
    for number, name in enumerate(case.tools):
        out = folder / f"out{number}{case.suffix}"
        results[name].bytes = out.stat().st_size
        if case.operation and case.suffix == ".gif":
            told = subprocess.run(
                [PYTHON, str(HERE / "gif_rmse.py"), case.operation, case.source, str(out), static_ffmpeg()],
                capture_output=True,
                text=True,
                check=False,
            ).stdout.split()
            if len(told) == 3:
                results[name].images, results[name].rmse = f"{told[1]} of {told[0]}", float(told[2])
        out.unlink()
    return results


def judge(goal: Goal, results: dict[str, Run], start_up: dict[str, float]) -> tuple[float, float, str] | None:
    """The ratio reached, the limit, and in words what it is of; None when the peer is not installed."""
    mine = results["vedit"]
    if goal.of == "bytes":
        others = [results[name].bytes for name in ("ffmpeg", "gifsicle") if name in results]
        return (
            (mine.bytes / min(others), goal.limit, "bytes of the smaller of ffmpeg and gifsicle")
            if others
            else None
        )
    if goal.of == "rmse":
        if mine.rmse is None or "ffmpeg" not in results or results["ffmpeg"].rmse is None:
            return None
        floor = max(2.0, goal.limit * results["ffmpeg"].rmse)
        if "gifsicle" in results and results["gifsicle"].rmse is not None:
            floor = min(floor, results["gifsicle"].rmse)
        return mine.rmse, floor, "RMSE against 1.05x ffmpeg's or 2.0, and gifsicle's"
    if goal.of == "own rmse":
        pair = results["vedit"].rmse, results["ffmpeg"].rmse
        return None if None in pair else (pair[0], goal.limit * pair[1], "RMSE against ffmpeg's own")  # type: ignore[return-value, operator]
    if goal.peer not in results:
        return None
    theirs = results[goal.peer]
    if goal.of == "memory":
        return mine.peak_mb / theirs.peak_mb, goal.limit, f"peak memory of {goal.peer}"
    if goal.of == "wall -j 2":
        return (
            results["vedit -j 2"].wall_s / theirs.wall_s,
            goal.limit,
            f"wall time of {goal.peer}, two threads",
        )
    return (
        (mine.cpu_s - (start_up["S"] if goal.less else 0)) / theirs.cpu_s,
        goal.limit,
        f"CPU of {goal.peer}{', start-up subtracted' if goal.less else ''}",
    )


def start_ups(runs: int) -> dict[str, Run]:
    """Start-up of the interpreter with what vedit cannot do without, and of vedit's smallest commands."""
    small = str(ROOT / "tests" / "data" / "nasty" / "ok_plain.gif")
    commands = {
        "python": [PYTHON, "-c", "pass"],
        "import click": [PYTHON, "-c", "import click"],
        "import click, PIL.Image": [PYTHON, "-c", "import click, PIL.Image"],
        "vedit --version": [*VEDIT, "--version"],
        "vedit gif --help": [*VEDIT, "gif", "--help"],
        "vedit probe": [*VEDIT, "probe", small],
        "vedit gif speed": [*VEDIT, "gif", "speed", "2", small],
        "vedit gif rotate": [*VEDIT, "gif", "rotate", "90", "-j", "1", small],
    }
    results = {name: Run() for name in commands}
    for _ in range(max(runs, 5) * 3):
        for name, command in commands.items():
            timed(command, results[name])
    return results


def batch(runs: int, folder: Path) -> dict[str, Run]:
    """200 small GIFs in one call."""
    source = REAL / "pillow_dispose_bgnd_transparency.gif"
    if not source.exists():
        source = ROOT / "tests" / "data" / "nasty" / "ok_disposal_mix.gif"
    results: dict[str, Run] = {
        "vedit": Run(),
        "vedit -j 2": Run(),
        **({"gifsicle": Run()} if tool("gifsicle") else {}),
    }
    for _ in range(runs):
        for name, run in results.items():
            shutil.rmtree(folder / "batch", ignore_errors=True)
            (folder / "batch").mkdir()
            names = [str(folder / "batch" / f"{n}.gif") for n in range(200)]
            for path in names:
                shutil.copyfile(source, path)
            jobs = "2" if name.endswith("2") else "1"
            timed(
                (
                    ["gifsicle", "--no-warnings", "--batch", "--rotate-90", *names]
                    if name == "gifsicle"
                    else [*VEDIT, "gif", "rotate", "90", "-j", jobs, "--in-place", *names]
                ),
                run,
            )
    return results


def inputs(folder: Path | None) -> Path:
    """The folder of the large inputs, made when absent (some 70 MB, a minute or two)."""
    folder = folder or Path(tempfile.gettempdir()) / "vedit-bench-inputs"
    if not (folder / "long_3000.gif").exists():
        print(f"making the inputs in {folder}", file=sys.stderr)
        subprocess.run(
            [PYTHON, str(ROOT / "tests" / "data" / "make_nasty_gifs.py"), str(folder), "--big"], check=True
        )
    return folder


def processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")),
        platform.processor(),
    )


def machine() -> str:
    """Date, processor, cores and versions of all tools."""
    lines = [
        f"{datetime.date.today()}, {processor()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f},"
        f" Python {platform.python_version()}"
    ]
    for name, command in (
        ("vedit", [*VEDIT, "--version"]),
        ("Pillow", [PYTHON, "-c", "import PIL; print(PIL.__version__)"]),
        ("gifsicle", ["gifsicle", "--version"]),
        ("ffmpeg", [static_ffmpeg(), "-version"]),
        ("ffmpeg (distribution)", ["ffmpeg", "-version"]),
        ("convert", ["convert", "-version"]),
    ):
        if command[0] and shutil.which(command[0]):
            words = subprocess.run(command, capture_output=True, text=True, check=False).stdout.splitlines()
            lines.append(f"{name}: {words[0][:90] if words else '?'}")
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, cwd=ROOT, check=False
    ).stdout.strip()
    return "\n".join([*lines, f"commit {commit}"])


def verdict(value: float, limit: float, unit: str = "x") -> str:
    return f"{value:.3g}{unit} (goal {limit:.3g}{unit}): {'met' if value <= limit else 'MISSED'}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=5, help="runs of each command (5)")
    parser.add_argument("--only", default="", help="cases whose name contains this")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of tables")
    parser.add_argument("--inputs", type=Path, help="folder of the large inputs")
    parser.add_argument("--append", action="store_true", help="add what is printed to benchmarks/README.md")
    options = parser.parse_args()
    compileall.compile_dir(ROOT / "vedit", quiet=2)  # as an installation does
    report: list[str] = []

    def say(line: str = "") -> None:
        report.append(line)
        if not options.json:
            print(line, flush=True)

    everything: dict[str, object] = {"machine": machine(), "cases": {}, "goals": []}
    say(f"```\n{machine()}\n```\n")
    started = start_ups(options.runs)
    start_up = {"S": started["import click, PIL.Image"].cpu_s, "click": started["import click"].cpu_s}
    goals: list[tuple[str, float, float, str]] = []
    say("| start-up | CPU ms |\n| --- | --- |")
    for name, run in started.items():
        say(f"| {name} | {1000 * run.cpu_s:.0f} |")
    for name, base, budget in (
        ("vedit --version", "click", 20),
        ("vedit gif --help", "click", 20),
        ("vedit probe", "click", 20),
        ("vedit gif speed", "click", 20),
        ("vedit gif rotate", "S", 25),
    ):
        goals.append(
            (
                f"start-up: {name}",
                1000 * (started[name].cpu_s - start_up[base]),
                budget,
                f"ms of CPU over {'click' if base == 'click' else 'click and Pillow'}",
            )
        )
    say(
        "\n| case | tool | CPU s | wall s | peak MB | bytes | images | RMSE |\n| --- | --- | --- | --- | ---"
        " | --- | --- | --- |"
    )
    with tempfile.TemporaryDirectory(prefix="vedit-bench-") as name:
        folder = Path(name)
        for case in cases(inputs(options.inputs)):
            if options.only not in case.name:
                continue
            results = measure(case, options.runs, folder)
            everything["cases"][case.name] = {tool_name: asdict(run) for tool_name, run in results.items()}  # type: ignore[index]
            for tool_name, run in results.items():
                rmse = "" if run.rmse is None else f"{run.rmse:.2f}"
                say(
                    f"| {case.name} | {tool_name} | {run.cpu_s:.3f} | {run.wall_s:.3f} | {run.peak_mb:.0f} |"
                    f" {run.bytes} | {run.images} | {rmse} |"
                )
            for goal in case.goals:
                found = judge(goal, results, start_up)
                if found:
                    goals.append((case.name, *found))
            if case.peak_mb:
                goals.append((case.name, results["vedit"].peak_mb, case.peak_mb, "MB at the peak"))
        if options.only in "batch of 200":
            results = batch(options.runs, folder)
            for tool_name, run in results.items():
                say(
                    f"| batch of 200 | {tool_name} | {run.cpu_s:.3f} | {run.wall_s:.3f} | {run.peak_mb:.0f} |"
                    " | | |"
                )
            if "gifsicle" in results:
                goals.append(
                    (
                        "batch of 200",
                        (results["vedit"].cpu_s - start_up["S"]) / results["gifsicle"].cpu_s,
                        1.5,
                        "CPU of gifsicle --batch, start-up subtracted",
                    )
                )
    say("\n| goal | reached |\n| --- | --- |")
    for case_name, value, limit, words in goals:
        unit = "" if words.startswith(("MB", "ms", "RMSE")) else "x"
        say(f"| {case_name}: {words} | {verdict(value, limit, unit)} |")
    missed = sum(value > limit for _, value, limit, _ in goals)
    say(f"\n{len(goals) - missed} of {len(goals)} goals met.")
    everything["goals"] = [
        {"case": case_name, "value": value, "limit": limit, "of": words, "met": value <= limit}
        for case_name, value, limit, words in goals
    ]
    if options.json:
        print(json.dumps(everything, indent=1))
    if options.append:
        with open(HERE / "README.md", "a", encoding="utf-8") as file:
            file.write(f"\n## {datetime.date.today()}\n\n" + "\n".join(report) + "\n")


if __name__ == "__main__":
    main()
