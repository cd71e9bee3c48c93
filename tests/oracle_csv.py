"""CSV, for the oracle: the rules of docs/sql.md once more, character by character.

Bytes are looked at as characters of Latin-1: what counts is ASCII, and all else goes through as it is.
"""

from dataclasses import dataclass


class Malformed(Exception):
    """Not one record of CSV."""


@dataclass
class Dialect:
    delimiter: str
    quote: str
    null: str
    header: bool

    @staticmethod
    def of(options: dict[str, str], header: bool) -> "Dialect | None":
        """`None` where the format is another one."""
        if options.get("format") != "csv":
            return None
        delimiter = options.get("csv.field-delimiter", ",").replace(r"\t", "\t")
        named = options.get("csv.header", str(header).lower()) == "true"
        return Dialect(delimiter, options.get("csv.quote-character", '"'), options.get("csv.null-literal", ""), named)


def records(data: bytes, dialect: Dialect) -> list[bytes]:
    """Raw records, without their line breaks; empty lines are none."""
    text = data.removeprefix(b"\xef\xbb\xbf").decode("latin-1")
    found, start, state = [], 0, "begin"
    for at, character in enumerate(text):
        if state == "quoted":
            state = "behind" if character == dialect.quote else "quoted"
        elif character in "\r\n":
            found.append(text[start:at])
            start, state = at + 1, "begin"
        elif character == dialect.delimiter:
            state = "begin"
        else:
            state = "quoted" if character == dialect.quote and state in ("begin", "behind") else "plain"
    found.append(text[start:])
    return [record.encode("latin-1") for record in found if record]


def fields(text: str, dialect: Dialect) -> list[tuple[str, bool]]:
    """The fields of a record, and whether each stood in quotes."""
    found, rest = [], text
    while True:
        if rest.startswith(dialect.quote):
            content, end = "", 1
            while (close := rest.find(dialect.quote, end)) >= 0 and rest[close + 1 : close + 2] == dialect.quote:
                content += rest[end : close + 1]
                end = close + 2
            if close < 0 or rest[close + 1 : close + 2] not in ("", dialect.delimiter):
                raise Malformed("quotes")
            found.append((content + rest[end:close], True))
            more, rest = rest[close + 1 :] != "", rest[close + 2 :]
        else:
            content, more, rest = rest.partition(dialect.delimiter)
            found.append((content, False))
        if not more:
            return found
