"""A table of scores as text, Markdown, LaTeX, CSV or HTML."""

from __future__ import annotations

import csv
import html
import io
import math
import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from vedit import documents

NUMBER = re.compile(r"[-+]?\d+(\.\d+)?(e[-+]?\d+)?")  # as `shown` writes it


@dataclass(frozen=True)
class Cell:
    """One cell. is_best: best and beyond chance, set bold. is_first: best mean alone, underlined."""

    text: str
    is_best: bool = False
    is_first: bool = False


@dataclass(frozen=True)
class Table:
    """head: column headings. rows: cells; the first `left` columns are words, the others numbers.

    rules: rows above which a line is drawn. notes: sentences under the table. across: what the columns of
    numbers are, in a word, which heads the first column once they are rows.
    """

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    left: int = 1
    rules: tuple[int, ...] = ()
    notes: tuple[str, ...] = ()
    across: str = ""


def cells(*texts: str) -> tuple[Cell, ...]:
    return tuple(Cell(text) for text in texts)


def transposed(table: Table) -> Table:
    """The table with rows as columns: its last column of words heads them.

    Columns of words before it, as the groups of table 4-1 are, become rows of words at the top.
    """
    names = [row[table.left - 1].text.strip() for row in table.rows]
    above = [
        (Cell(table.head[place]), *(row[place] for row in table.rows)) for place in range(table.left - 1)
    ]
    below = [
        (Cell(table.head[place]), *(row[place] for row in table.rows))
        for place in range(table.left, len(table.head))
    ]
    return Table(
        table.title,
        (table.across, *names),
        (*above, *below),
        rules=(len(above),) if above else (),
        notes=table.notes,
        across=table.head[table.left - 1],
    )


def figure(value: float | None, *, sign: bool = False) -> str:
    """A number in a table: four decimals, three digits where those would be zeros."""
    if value is None:
        return ""
    if not math.isfinite(value):
        return "undefined"
    plus = "+" if sign else ""
    return f"{value:{plus}.3g}" if 0 < abs(value) < 0.001 else f"{value:{plus}.4f}"


def width(text: str) -> int:
    """Columns that a terminal gives a text: Chinese characters take two."""
    return sum(
        0 if unicodedata.combining(letter) else 2 if unicodedata.east_asian_width(letter) in "WF" else 1
        for letter in text
    )


def _padded(text: str, columns: int, is_left: bool) -> str:
    space = " " * (columns - width(text))
    return text + space if is_left else space + text


def as_text(table: Table) -> str:
    """Columns under headings; **best** and _first_ as in Markdown."""
    lines = [table.head, *(tuple(_marked(cell, str) for cell in row) for row in table.rows)]
    widths = [max(width(line[i]) for line in lines) for i in range(len(table.head))]
    rows = [
        "  ".join(_padded(text, widths[i], i < table.left) for i, text in enumerate(line)).rstrip()
        for line in lines
    ]
    rule = "-" * (sum(widths) + 2 * (len(widths) - 1))
    body = [
        part
        for number, row in enumerate(rows[1:])
        for part in ((rule, row) if number in table.rules else (row,))
    ]
    return "\n".join([*([table.title] if table.title else []), rows[0], rule, *body, *table.notes])


def _marked(cell: Cell, escape: Callable[[str], str]) -> str:
    text = escape(cell.text)
    return f"**{text}**" if cell.is_best else f"_{text}_" if cell.is_first else text


def as_markdown(table: Table) -> str:
    """A pipe table; an underlined number is <u>, since Markdown has no underline."""

    def escape(text: str) -> str:
        return (
            text.replace("\\", "\\\\")
            .replace("|", "\\|")
            .replace("*", "\\*")
            .replace("<", "&lt;")
            .replace("\n", " ")
        )

    def content(cell: Cell) -> str:
        text = escape(cell.text)
        return f"**{text}**" if cell.is_best else f"<u>{text}</u>" if cell.is_first else text

    lines = ["| " + " | ".join(map(escape, table.head)) + " |"]
    lines.append("| " + " | ".join(":--" if i < table.left else "--:" for i in range(len(table.head))) + " |")
    lines += ["| " + " | ".join(map(content, row)) + " |" for row in table.rows]
    title = [f"**{escape(table.title)}**", ""] if table.title else []
    notes = ["", *(escape(note) for note in table.notes)] if table.notes else []
    return "\n".join([*title, *lines, *notes])


TEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{",
    "}": r"\}", "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}", "|": r"\textbar{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "↑": r"$\uparrow$", "↓": r"$\downarrow$", "−": "$-$", "–": "--",
    "±": r"$\pm$", "×": r"$\times$", "…": r"\ldots{}",
}  # fmt: skip


def tex(text: str) -> str:
    """Text with LaTeX's special characters escaped; the dash of a negative number is a minus."""
    with_minus = re.sub(r"(?<![\w.-])-(?=\d)", "−", text)
    return "".join(TEX.get(letter, letter) for letter in with_minus)


PAGE_LETTERS = 66  # that a line of a LaTeX article holds, with what stands between columns


def as_latex(table: Table) -> str:
    """One booktabs tabular with a caption; a wide table is scaled to the width of the text (graphicx)."""

    def content(cell: Cell) -> str:
        text = tex(cell.text)
        return rf"\textbf{{{text}}}" if cell.is_best else rf"\underline{{{text}}}" if cell.is_first else text

    columns = "l" * table.left + "r" * (len(table.head) - table.left)
    lines = [r"\begin{table}[ht]", r"\centering"]
    if table.title:
        lines.append(rf"\caption{{{tex(table.title)}}}")
    widths = [
        max(
            width(line[i]) for line in (table.head, *(tuple(cell.text for cell in row) for row in table.rows))
        )
        for i in range(len(table.head))
    ]
    is_wide = sum(widths) + 2.4 * (len(widths) - 1) > PAGE_LETTERS
    lines += [r"\resizebox{\textwidth}{!}{%"] if is_wide else []
    lines += [
        rf"\begin{{tabular}}{{{columns}}}",
        r"\toprule",
        " & ".join(map(tex, table.head)) + r" \\",
        r"\midrule",
    ]
    for number, row in enumerate(table.rows):
        lines += [r"\midrule"] if number in table.rules else []
        lines.append(" & ".join(map(content, row)) + r" \\")
    lines += [r"\bottomrule", r"\end{tabular}" + ("}" if is_wide else "")]
    lines += [rf"\par\smallskip{{\footnotesize {tex(note)}\par}}" for note in table.notes]
    return "\n".join([*lines, r"\end{table}"])


def standalone(body: str) -> str:
    """A LaTeX document around tables; Chinese headings bring the class that can set them."""
    is_chinese = any("\u4e00" <= letter <= "\u9fff" for letter in body)
    head = r"\documentclass[UTF8]{ctexart}" if is_chinese else r"\documentclass{article}"
    return "\n".join(
        [
            head,
            r"\usepackage{booktabs}",
            r"\usepackage{graphicx}",
            r"\begin{document}",
            body,
            r"\end{document}",
        ]
    )


def as_csv(table: Table) -> str:
    """Headings and rows; the title and the notes stay out, so that a program reads it."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    for texts in (table.head, *([cell.text for cell in row] for row in table.rows)):
        writer.writerow([text if NUMBER.fullmatch(text) else documents.cell(text) for text in texts])
    return out.getvalue().rstrip("\n")


def as_html(table: Table, *, is_linked: bool = False) -> str:
    """A table element that the page's script can sort. is_linked: the first cell leads to the section of its
    name.
    """

    def content(cell: Cell, place: int) -> str:
        text = html.escape(cell.text)
        text = f"<strong>{text}</strong>" if cell.is_best else f"<u>{text}</u>" if cell.is_first else text
        if place == 0:
            return (
                f'<th scope="row"><a href="#{text}">{text}</a></th>'
                if is_linked
                else f'<th scope="row">{text}</th>'
            )
        return f"<td>{text}</td>"

    head = "".join(f'<th scope="col">{html.escape(text)}</th>' for text in table.head)
    rows = [
        "<tr>" + "".join(content(cell, place) for place, cell in enumerate(row)) + "</tr>"
        for row in table.rows
    ]
    caption = f"<caption>{html.escape(table.title)}</caption>" if table.title else ""
    notes = "".join(f'<p class="note">{html.escape(note)}</p>' for note in table.notes)
    return (
        '<div class="scroll"><table'
        f' class="sortable">{caption}<thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>{notes}"
    )


RENDERERS = {"text": as_text, "md": as_markdown, "latex": as_latex, "csv": as_csv}


def rendered(tables: Sequence[Table], form: str, *, alone: bool = False) -> str:
    """Several tables in one form, a blank line between; `alone` makes LaTeX a document."""
    body = "\n\n".join(RENDERERS[form](table) for table in tables)
    return (standalone(body) if alone and form == "latex" else body) + "\n"
