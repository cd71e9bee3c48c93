#!/usr/bin/env python3
"""The oracle: what DuckDB makes of the same SQL over the same finished input.

    oracle.py [--epoch-records N] DATAFLOW INPUT OUTPUT [[--epoch-records N] DATAFLOW INPUT OUTPUT]...

Reads the statements of DATAFLOW/dataflow.sql, loads the files in INPUT with an own reading of the rules for records
(oracle_records.py), runs the SELECT of every sink (translated by oracle_dialect.py), and compares the rows, as
multisets, with OUTPUT/<sink>.jsonl. Prints a line per sink; exits with 1 and the differences if there are any.

With --epoch-records the runs that follow were cut so, and rows are late by that (oracle_lateness.py); else none is.
"""

import contextlib
import json
import re
import sys
import tempfile
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import duckdb

import oracle_csv
import oracle_lateness
import oracle_records
from oracle_dialect import JSON_MARK, MACROS, SETTINGS, SUM_ERROR, TYPES, scalar, translated
from oracle_dialect import Relation as Translated

AGGREGATES = re.compile(r"\b(count|sum|avg|min|max|first_value|last_value)\(", re.IGNORECASE)
# How values leave DuckDB, by their types.
OUT = {"TIMESTAMP": 'epoch_ns("{}")', "TIMESTAMP_NS": 'epoch_ns("{}")', "DATE": 'CAST("{}" AS VARCHAR)'}
ROW_ERRORS = (duckdb.ConversionException, duckdb.OutOfRangeException, duckdb.InvalidInputException)


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
        self.relations: dict[str, Translated] = {}  # of sources, views and sinks, once they are connected
        for statement in statements((directory / "dataflow.sql").read_text()):
            self.add(statement)

    def add(self, statement: str) -> None:
        head = re.match(r'CREATE\s+(SOURCE|TABLE|(?:MATERIALIZED\s+)?VIEW|SINK)\s+("[^"]+"|\w+)\s*', statement)
        if head is None:
            raise ValueError(f"not understood: {statement[:80]}")
        kind, name, rest = head[1], head[2].strip('"'), statement[head.end() :]
        if kind in ("SOURCE", "TABLE"):
            self.sources.append(oracle_records.Source(name, rest))
        elif kind == "SINK":
            body, _, options = rest.rpartition("WITH (")
            select = re.sub(r"^AS\s+", "", body) if body.startswith("AS") else f"SELECT * {body}"
            self.sinks.append(Relation(name, select, oracle_records.options_of(options)))
        else:
            options, select = re.match(r"(WITH\s*\([^()]*\)\s*)?AS\s+(.*)", rest, re.DOTALL).groups()
            self.views[name] = Relation(name, select, oracle_records.options_of(options or ""))

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


def connect(dataflow: Dataflow, folder: Path, epoch_records: int | None) -> duckdb.DuckDBPyConnection:
    """Tables of the sources' good records (`<source>_all`, in the table `<source>` too), and the views."""
    db = duckdb.connect()
    for statement in SETTINGS + MACROS:
        db.execute(statement)
    for index, source in enumerate(dataflow.sources):
        load(db, index, source, source.rows(folder, epoch_records))
        times, table = [source.event_time] if source.event_time else [], bool(source.primary_key)
        made_of = [index] if times and epoch_records else []
        known = Translated(source.name, has_origin=not table, times=times, delay=source.delay, table=table, made_of=made_of)
        dataflow.relations[source.name] = known
    if epoch_records:
        oracle_lateness.declare(db, dataflow.sources, epoch_records)
    clock = oracle_records.CLOCK.isoformat(sep=" ")
    sessions: list = []
    for relation in [*dataflow.views.values(), *dataflow.sinks]:
        known = len(sessions)
        query = translated(relation.select, dataflow.relations, clock, relation.options, sessions)
        for one in sessions[known:]:
            oracle_lateness.sessions(db, one)
        dataflow.relations[relation.name] = query
        if relation.name in dataflow.views:
            db.execute(f'CREATE VIEW "{relation.name}" AS {query.text}')
    return db


def load(db: duckdb.DuckDBPyConnection, index: int, source: oracle_records.Source, rows) -> None:
    deleted = ["_deleted"] if source.primary_key else []
    names = [column.name for column in source.columns] + deleted
    with tempfile.NamedTemporaryFile("w", suffix=".jsonl") as file:
        for origin, row in enumerate(rows):
            file.write(json.dumps(dict(zip(names, row)) | {"_origin": [index, origin]}) + "\n")
        file.flush()
        kinds = {c.name: "BIGINT" if c.kind == "TIMESTAMP" else TYPES.get(c.kind, c.kind) for c in source.columns}
        kinds |= {"_origin": "BIGINT[]"} | dict.fromkeys(deleted, "BOOLEAN")
        columns = ", ".join(f"'{name}': '{kind}'" for name, kind in kinds.items())
        wanted = [
            f'make_timestamp_ns("{column.name}") AS "{column.name}"' if column.kind == "TIMESTAMP" else f'"{column.name}"'
            for column in source.columns
        ]
        db.execute(
            f"CREATE TABLE {source.name}_all AS SELECT {', '.join([*wanted, '_origin', *deleted])} "
            f"FROM read_json('{file.name}', format = 'newline_delimited', columns = {{{columns}}})"
        )
    for column in source.columns:
        if column.computed:
            # What fails is NULL: the columns of the dataflows that can fail are NOT NULL.
            expression = scalar(column.computed, oracle_records.CLOCK.isoformat(sep=" "))
            db.execute(f'UPDATE {source.name}_all SET "{column.name}" = TRY({expression})')
            if column.not_null:
                db.execute(f'DELETE FROM {source.name}_all WHERE "{column.name}" IS NULL')
    for check in source.checks:
        delete_unless(db, f"{source.name}_all", f"({check}) IS NOT FALSE")
    if source.primary_key:
        # In a bounded run every row of a stream sees a table as it is at its end.
        by = ", ".join(f'"{name}"' for name in source.primary_key)
        last = f"SELECT * FROM {source.name}_all QUALIFY row_number() OVER (PARTITION BY {by} ORDER BY _origin DESC) = 1"
        db.execute(f"CREATE OR REPLACE TABLE {source.name}_all AS SELECT * EXCLUDE (_deleted) FROM ({last}) WHERE NOT _deleted")
    columns = "* EXCLUDE (_origin)" if source.primary_key else "*"
    db.execute(f"CREATE TABLE {source.name} AS SELECT {columns} FROM {source.name}_all")


def delete_unless(db: duckdb.DuckDBPyConnection, table: str, condition: str) -> None:
    """Deletes the rows for which the condition is false or fails."""
    try:
        db.execute(f"DELETE FROM {table} WHERE NOT ({condition})")
    except duckdb.Error:
        for (origin,) in db.execute(f"SELECT _origin FROM {table}").fetchall():
            if not evaluates_to_true(db, f"SELECT {condition} FROM {table} WHERE _origin = {origin}"):
                db.execute(f"DELETE FROM {table} WHERE _origin = {origin}")


def evaluates_to_true(db: duckdb.DuckDBPyConnection, query: str) -> bool:
    try:
        (row,) = db.execute(query).fetchall()
        return bool(row[0])
    except duckdb.Error:
        return False


def rows_of(db: duckdb.DuckDBPyConnection, query: str) -> list[tuple]:
    try:
        return db.execute(query).fetchall()
    except duckdb.InvalidInputException as error:
        # DuckDB 2.0 rewrites some groupings into what it does not understand.
        if "BindBuiltinScalarFunction" not in str(error):
            raise
    db.execute("PRAGMA disable_optimizer")
    rows = db.execute(query).fetchall()
    db.execute("PRAGMA enable_optimizer")
    return rows


def expected(db: duckdb.DuckDBPyConnection, dataflow: Dataflow, sink: Relation) -> list[dict]:
    relation = dataflow.relations[sink.name]
    select = relation.text
    if sink.options.get("mode") == "upsert" and relation.key:
        # A key that comes again after the horizon of DISTINCT ON replaces its row.
        by = ", ".join(f'"{name}"' for name in relation.key)
        select += f" QUALIFY row_number() OVER (PARTITION BY {by} ORDER BY _origin DESC) = 1"
    try:
        return fetch(db, select, sink)
    except ROW_ERRORS:
        if AGGREGATES.search(dataflow.text(sink)):
            raise
    # An expression fails on some row: each row by itself, and those that fail are dead letters.
    rows = []
    streams = [source for source in dataflow.sources if not source.primary_key]
    for source in streams:
        for (origin,) in db.execute(f"SELECT _origin FROM {source.name}_all ORDER BY 1").fetchall():
            for other in streams:
                kept = f"_origin = {origin}" if other is source else "FALSE"
                db.execute(f"CREATE OR REPLACE TABLE {other.name} AS FROM {other.name}_all WHERE {kept}")
            with contextlib.suppress(*ROW_ERRORS):
                rows += fetch(db, select, sink)
    for source in streams:
        db.execute(f"CREATE OR REPLACE TABLE {source.name} AS FROM {source.name}_all")
    return rows


def fetch(db: duckdb.DuckDBPyConnection, select: str, sink: Relation) -> list[dict]:
    result = db.sql(select)
    names = [name for name in result.columns if name != "_origin"]
    types = dict(zip(result.columns, map(str, result.types)))
    wanted = [OUT.get(types[n], '"{}"').format(n) for n in names]
    rows = []
    for values in rows_of(db, f"SELECT {', '.join(wanted)} FROM ({select}) AS result"):
        row = {n: timestamp(v) if types[n].startswith("TIMESTAMP") else plain(v) for n, v in zip(names, values)}
        if any(isinstance(v, int) and not -(2**63) <= v < 2**63 for n, v in row.items() if types[n] == "HUGEINT"):
            continue  # a sum beyond BIGINT: a dead letter, and no row
        if document := sink.options.get("document"):
            received = row.pop(document) or {}
            row = {name: value for name, value in received.items() if name not in row} | row
        rows.append(row)
    return rows


def plain(value):
    if isinstance(value, list):
        return [plain(one) for one in value]
    if isinstance(value, str) and value.startswith(JSON_MARK):
        return plain(json.loads(value.removeprefix(JSON_MARK)))
    return value


def timestamp(nanos: int | None) -> str | None:
    """RFC 3339 with microseconds, or nanoseconds where there are any."""
    if nanos is None:
        return None
    micros, rest = divmod(nanos, 1000)
    text = (datetime(1970, 1, 1) + timedelta(microseconds=micros)).isoformat(timespec="microseconds")
    return f"{text}{rest:03}Z" if rest else f"{text}Z"


def key(row: dict) -> str:
    """Rows that are the same but for a rounding have the same one, nearly always."""
    return json.dumps({name: f"{value + 0.0:.6g}" if isinstance(value, float) else value for name, value in row.items()})


def same(want, got, tolerance: dict[str, float] | float) -> bool:
    if isinstance(want, dict) and isinstance(got, dict):
        inner = tolerance if isinstance(tolerance, dict) else {"*": tolerance}
        return want.keys() == got.keys() and all(
            same(want[name], got[name], inner.get(name, inner.get("*", 0.0))) for name in want
        )
    if isinstance(want, list) and isinstance(got, list):
        return len(want) == len(got) and all(same(*pair, tolerance) for pair in zip(want, got))
    if isinstance(want, bool) or isinstance(got, bool):
        return want is got
    if isinstance(want, float) or isinstance(got, float) or (isinstance(tolerance, float) and tolerance > SUM_ERROR):
        if not isinstance(want, int | float) or not isinstance(got, int | float):
            return want == got
        return abs(want - got) <= tolerance * max(abs(want), abs(got))
    return want == got


def differences(want: list[dict], got: list[dict], tolerance: dict[str, float]) -> list[str]:
    lines = [f"{len(want)} rows in DuckDB, {len(got)} from the engine"] if len(want) != len(got) else []
    by_text: dict[str, list[dict]] = {}
    for row in got:
        by_text.setdefault(key(row), []).append(row)
    missing = []
    for row in want:
        alike = by_text.get(key(row), [])
        place = next((place for place, other in enumerate(alike) if same(row, other, tolerance)), None)
        if place is None:
            missing.append(row)
        else:
            alike.pop(place)
    added = [row for rows in by_text.values() for row in rows]
    for row in missing:
        place = next((place for place, other in enumerate(added) if same(row, other, tolerance)), None)
        if place is None:
            lines.append(f"- {json.dumps(row)}")
        else:
            added.pop(place)
    return lines + [f"+ {json.dumps(row)}" for row in added]


def compared(directory: Path, folder: Path, output: Path, epoch_records: int | None = None) -> bool:
    """Prints what DuckDB makes of a dataflow and what differs; whether nothing does."""
    dataflow = Dataflow(directory)
    db = connect(dataflow, folder, epoch_records)
    agrees = True
    for sink in dataflow.sinks:
        want = expected(db, dataflow, sink)
        got = written(output, sink, want)
        lines = differences(want, got, dataflow.relations[sink.name].tolerance)
        print(f"{sink.name}: {'differs' if lines else f'{len(got)} rows agree'}")
        print("".join(f"  {line}\n" for line in lines), end="")
        agrees &= not lines
    return agrees


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
    # Any number of dataflows: starting Python takes longer than most of them.
    arguments, epoch_records, agrees = sys.argv[1:], None, True
    while arguments:
        if arguments[0] == "--epoch-records":
            epoch_records, arguments = int(arguments[1]), arguments[2:]
            continue
        agrees &= compared(*map(Path, arguments[:3]), epoch_records)
        arguments = arguments[3:]
    return 0 if agrees else 1


if __name__ == "__main__":
    sys.exit(main())
