#!/usr/bin/env python3
"""The oracle: what DuckDB makes of the same SQL over the same finished input.

    oracle.py DATAFLOW INPUT OUTPUT

Reads the statements of DATAFLOW/dataflow.sql, loads the files in INPUT with an own reading of the rules for records
(oracle_records.py), runs the SELECT of every sink, and compares the rows, as multisets, with OUTPUT/<sink>.jsonl.
Prints a line per sink; exits with 1 and the differences if there are any. The dialect's differences are in `translated`.
"""

import json
import re
import sys
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import duckdb

import oracle_csv
import oracle_records
from oracle_records import JSON_MARK

TYPES = {"TEXT": "VARCHAR", "JSON": "VARCHAR", "TIMESTAMP": "TIMESTAMP_NS"}
AGGREGATES = re.compile(r"\b(count|sum|avg|min|max|first_value|last_value)\(", re.IGNORECASE)
SUMS = re.compile(r"\b(sum|avg)\(", re.IGNORECASE)
RELATIVE_ERROR = 1e-12  # of sums and averages of doubles; all else is exact


@dataclass
class Relation:
    """A view or sink: its SELECT, and the relations it is made of."""

    name: str
    select: str
    options: dict[str, str] = field(default_factory=dict)


class Dataflow:
    def __init__(self, directory: Path):
        self.sources: list[oracle_records.Source] = []
        self.views: dict[str, Relation] = {}
        self.sinks: list[Relation] = []
        for statement in statements((directory / "dataflow.sql").read_text()):
            self.add(statement)

    def add(self, statement: str) -> None:
        head = re.match(r'CREATE\s+(SOURCE|(?:MATERIALIZED\s+)?VIEW|SINK)\s+("[^"]+"|\w+)\s*', statement)
        if head is None:
            raise ValueError(f"not understood: {statement[:80]}")
        kind, name, rest = head[1], head[2].strip('"'), statement[head.end() :]
        if kind == "SOURCE":
            self.sources.append(oracle_records.Source(name, rest))
        elif kind == "SINK":
            body, _, options = rest.rpartition("WITH (")
            select = re.sub(r"^AS\s+", "", body) if body.startswith("AS") else f"SELECT * {body}"
            self.sinks.append(Relation(name, select, oracle_records.options_of(options)))
        else:
            self.views[name] = Relation(name, re.sub(r"^AS\s+", "", rest))

    def text(self, relation: Relation) -> str:
        """The SQL of a relation with that of all views below it."""
        below = [view for name, view in self.views.items() if re.search(rf"\b{name}\b", relation.select)]
        return relation.select + "".join(f"\n{self.text(view)}" for view in below if view is not relation)


def statements(text: str) -> list[str]:
    """Statements without comments; a quoted text may hold everything."""
    parts, current = [], ""
    for token in re.findall(r"'(?:[^']|'')*'|\"[^\"]*\"|--[^\n]*|.", text, re.DOTALL):
        if token == ";":
            parts.append(current.strip())
            current = ""
        elif not token.startswith("--"):
            current += token
    return [part for part in [*parts, current.strip()] if part]


def translated(select: str, dataflow: Dataflow) -> str:
    """Our SELECT in DuckDB's dialect. What has no line here means the same in both; `/` is set by `connect`."""
    sources = "|".join(source.name for source in dataflow.sources)
    # Ties go to the origin; behind an aggregate there is none.
    tie = ", _origin" if re.search(rf"\bFROM\s+({sources})\b", select) else ""
    select = re.sub(
        r"\b(first|last)_value\(([^()]+?)\s+ORDER BY\s+([^()]+)\)", rf"\1(\2 ORDER BY \3{tie})", select, flags=re.I
    )
    clock = oracle_records.CLOCK.isoformat(sep=" ")
    return re.sub(r"\bnow\(\)", f"TIMESTAMP_NS '{clock}'", select)


def connect(dataflow: Dataflow, folder: Path) -> duckdb.DuckDBPyConnection:
    """Tables of the sources' good records (`<source>_all`, in the table `<source>` too), and the views."""
    db = duckdb.connect()
    db.execute("SET integer_division = true")
    for source in dataflow.sources:
        columns = "".join(f'"{c.name}" {TYPES.get(c.kind, c.kind)}, ' for c in source.columns)
        db.execute(f"CREATE TABLE {source.name}_all ({columns} _origin BIGINT)")
        convert = [f"make_timestamp_ns(?)" if c.kind == "TIMESTAMP" else "?" for c in source.columns]
        for origin, row in enumerate(source.rows(folder)):
            db.execute(f"INSERT INTO {source.name}_all VALUES ({', '.join([*convert, '?'])})", [*row, origin])
            for check in source.checks:
                one = f"SELECT ({check}) IS NOT FALSE FROM {source.name}_all WHERE _origin = {origin}"
                if not evaluates_to_true(db, one):
                    db.execute(f"DELETE FROM {source.name}_all WHERE _origin = {origin}")
                    break
        db.execute(f"CREATE TABLE {source.name} AS FROM {source.name}_all")
    for view in dataflow.views.values():
        db.execute(f"CREATE VIEW {view.name} AS {translated(view.select, dataflow)}")
    return db


def evaluates_to_true(db: duckdb.DuckDBPyConnection, query: str) -> bool:
    try:
        (row,) = db.execute(query).fetchall()
        return bool(row[0])
    except duckdb.Error:
        return False


def expected(db: duckdb.DuckDBPyConnection, dataflow: Dataflow, sink: Relation) -> list[dict]:
    select = translated(sink.select, dataflow)
    try:
        return fetch(db, select, sink)
    except duckdb.Error:
        if AGGREGATES.search(dataflow.text(sink)):
            raise
    # An expression fails on some row: each row by itself, and those that fail are dead letters.
    rows = []
    for source in dataflow.sources:
        for (origin,) in db.execute(f"SELECT _origin FROM {source.name}_all ORDER BY 1").fetchall():
            for other in dataflow.sources:
                kept = f"_origin = {origin}" if other is source else "FALSE"
                db.execute(f"CREATE OR REPLACE TABLE {other.name} AS FROM {other.name}_all WHERE {kept}")
            try:
                rows += fetch(db, select, sink)
            except duckdb.Error:
                pass
    for source in dataflow.sources:
        db.execute(f"CREATE OR REPLACE TABLE {source.name} AS FROM {source.name}_all")
    return rows


def fetch(db: duckdb.DuckDBPyConnection, select: str, sink: Relation) -> list[dict]:
    result = db.sql(select)
    names = [name for name in result.columns if name != "_origin"]
    types = dict(zip(result.columns, map(str, result.types)))
    wanted = [f'epoch_ns("{n}")' if types[n].startswith("TIMESTAMP") else f'"{n}"' for n in names]
    rows = []
    for values in db.execute(f"SELECT {', '.join(wanted)} FROM ({select}) AS result").fetchall():
        row = {n: timestamp(v) if types[n].startswith("TIMESTAMP") else plain(v) for n, v in zip(names, values)}
        if any(isinstance(v, int) and not -(2**63) <= v < 2**63 for n, v in row.items() if types[n] == "HUGEINT"):
            continue  # a sum beyond BIGINT: a dead letter, and no row
        if document := sink.options.get("document"):
            received = row.pop(document) or {}
            row = {name: value for name, value in received.items() if name not in row} | row
        rows.append(row)
    return rows


def plain(value):
    return json.loads(value.removeprefix(JSON_MARK)) if isinstance(value, str) and value.startswith(JSON_MARK) else value


def timestamp(nanos: int | None) -> str | None:
    """RFC 3339 with microseconds, or nanoseconds where there are any."""
    if nanos is None:
        return None
    micros, rest = divmod(nanos, 1000)
    text = (datetime(1970, 1, 1) + timedelta(microseconds=micros)).isoformat(timespec="microseconds")
    return f"{text}{rest:03}Z" if rest else f"{text}Z"


def key(row: dict) -> str:
    """Sorts rows; doubles that differ by a rounding must not change places."""
    rounded = {name: f"{value:.9g}" if isinstance(value, float) else value for name, value in row.items()}
    return json.dumps(rounded, sort_keys=True)


def same(want, got, tolerance: float) -> bool:
    if isinstance(want, dict) and isinstance(got, dict):
        return want.keys() == got.keys() and all(same(want[name], got[name], tolerance) for name in want)
    if isinstance(want, bool) or isinstance(got, bool):
        return want is got
    if isinstance(want, float) or isinstance(got, float):
        if want is None or got is None:
            return want is got
        return abs(want - got) <= tolerance * max(abs(want), abs(got))
    return want == got


def differences(want: list[dict], got: list[dict], tolerance: float) -> list[str]:
    want, got = sorted(want, key=key), sorted(got, key=key)
    lines = [f"{len(want)} rows in DuckDB, {len(got)} from the engine"] if len(want) != len(got) else []
    for expected_row, row in zip(want, got):
        if not same(expected_row, row, tolerance):
            lines += [f"- {json.dumps(expected_row)}", f"+ {json.dumps(row)}"]
    for mark, rest in (("-", want[len(got) :]), ("+", got[len(want) :])):
        lines += [f"{mark} {json.dumps(row)}" for row in rest]
    return lines


def written(output: Path, sink: Relation, want: list[dict]) -> list[dict]:
    """The rows that the engine has written. Those of CSV get the types of the expected ones."""
    dialect = oracle_csv.Dialect.of(sink.options, header=True)
    if dialect is None:
        return [json.loads(line) for line in (output / f"{sink.name}.jsonl").read_text().splitlines()]
    records = oracle_csv.records((output / f"{sink.name}.csv").read_bytes(), dialect)
    header, *rows = [oracle_csv.fields(record.decode(), dialect) for record in records]
    names = [name for name, _ in header]
    types = {name: type(row[name]) for row in want for name in row if row[name] is not None}

    def value(name: str, text: str, quoted: bool):
        if not quoted and text == dialect.null:
            return None
        return text if types.get(name, str) is str else json.loads(text)

    return [{name: value(name, *field) for name, field in zip(names, row, strict=True)} for row in rows]


def main() -> int:
    directory, folder, output = map(Path, sys.argv[1:])
    dataflow = Dataflow(directory)
    db = connect(dataflow, folder)
    failed = False
    for sink in dataflow.sinks:
        want = expected(db, dataflow, sink)
        got = written(output, sink, want)
        tolerance = RELATIVE_ERROR if SUMS.search(dataflow.text(sink)) else 0.0
        lines = differences(want, got, tolerance)
        print(f"{sink.name}: {'differs' if lines else f'{len(got)} rows agree'}")
        print("".join(f"  {line}\n" for line in lines), end="")
        failed |= bool(lines)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
