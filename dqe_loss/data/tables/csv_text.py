"""Read CSV as spreadsheets and other programs save it, and say what is wrong with it without a parser's words.

Cells may be parted by commas, semicolons or tabs (whichever finds the columns), numbers may have a decimal comma, the
text may be UTF-8 with or without a byte order mark, or UTF-16 with one; rows without any content are left out.
"""

import codecs
import csv
import io
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

_SEPARATORS = ",;\t"
_DECIMAL_COMMA = r"\s*[+-]?\d+,\d+\s*"
_THOUSANDS = r"\s*[+-]?\d{1,3},\d{3}\s*"


def read_csv(path: Path, columns: Sequence[str], numbers: Sequence[str] = ()) -> pd.DataFrame:
    """Read a CSV file.

    Args:
        path: the file.
        columns: that it should have: they tell the separator. None is missed here.
        numbers: columns whose decimal commas become points.

    Returns:
        Every cell as text, indexed by the row in the file (the header is row 1).

    Raises:
        ValueError: naming the row, and what was expected there; without the file's name.
        OSError: the file cannot be read.
    """
    text = _decode(path.read_bytes())
    separator = max(_SEPARATORS, key=lambda s: len(set(columns) & set(_header(text, s))))  # of equals the first
    if text[:4].lower() == "sep=" and text[5:6] in "\r\n":  # how Excel is told the separator
        text, separator, before = text[5:].lstrip("\r\n"), text[4], 1
    else:
        before = 0
    rows, places = [], []
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    place = before
    try:
        for place, row in enumerate(reader, before + 1):
            if any(cell.strip() for cell in row):
                rows.append(row)
                places.append(place)
    except csv.Error as error:
        raise ValueError(
            f"row {place + 1}: a quotation mark is not closed, or stands in the middle of a cell; remove it, or double "
            "it within a quoted cell"
        ) from error
    if not rows:
        raise ValueError("found an empty file, expected a header and rows")
    header = [name.strip() or f"Unnamed: {i}" for i, name in enumerate(rows[0])]
    if twice := [name for name in header if header.count(name) > 1]:
        raise ValueError(f"has the column {twice[0]} twice; rename one")
    for place, row in zip(places, rows, strict=True):
        if len(row) != len(header):
            raise ValueError(
                f"row {place}: expected {len(header)} cells as in the header, found {len(row)}; put a cell that has "
                f"{'a tab' if separator == chr(9) else repr(separator)} in it in quotation marks, or save it again"
            )
    table = pd.DataFrame(rows[1:], index=places[1:], columns=header, dtype=str)
    for name in set(numbers) & set(header):
        table[name] = _with_decimal_points(table[name], separator)
    return table


def _decode(content: bytes) -> str:
    if content.startswith(b"PK\x03\x04"):
        raise ValueError("is an Excel workbook; save it as CSV (UTF-8)")
    try:
        utf16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        return content.decode("utf-16" if utf16 else "utf-8-sig")
    except UnicodeDecodeError as error:
        row = 1 + content[: error.start].count(b"\n")
        raise ValueError(
            f"row {row}: expected UTF-8, found the byte {content[error.start]:#04x}; save it as 'CSV UTF-8'"
        ) from error


def _header(text: str, separator: str) -> list[str]:
    return [name.strip(" \r\n\"'") for name in text.partition("\n")[0].split(separator)]


def _with_decimal_points(cells: pd.Series, separator: str) -> pd.Series:
    """Numbers with a decimal point; as they are where the comma could part thousands."""
    commas = cells[cells.str.contains(",", regex=False)]
    if not commas.str.fullmatch(_DECIMAL_COMMA).all():
        return cells
    if separator == "," and commas.str.fullmatch(_THOUSANDS).all():
        return cells
    return cells.str.replace(",", ".", regex=False)
