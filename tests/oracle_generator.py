#!/usr/bin/env python3
"""Random dataflows for the oracle: random data, and queries that must be accepted and give the same rows in DuckDB.

    oracle_generator.py write SEED COUNT FOLDER
    oracle_generator.py coverage SEED TESTS COUNT

The first writes FOLDER/0 .. FOLDER/<COUNT-1>, each with a dataflow.sql of some views and QUERIES sinks, its input, the
same input in another order (`shuffled`), and `features.json`: for each sink what it is made of, and whether its rows may
depend on the order of the input. The same seed gives the same files. The second counts what the queries of the seeds
SEED.0 .. SEED.<TESTS-1> are made of, and fails where that is less than FEATURES demands.

What is generated keeps to what both engines compute alike (the rest is the business of other tests): integers whose
arithmetic cannot overflow, doubles whose sums round nowhere or do not cancel out, order by time only where ties are
decided by origin or do not exist.
"""

import json
import random
import re
import sys
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path

import oracle_data
from oracle_data import BIG, Column, Source

QUERIES = 10
# How many queries of a run have to be made of what, at least.
FEATURES = {
    "queries": 300,
    "source": 40,
    "date": 5,
    "row_errors": 3,
    "abs": 3,
    "aggregate_distinct": 20,
    "aggregate_of_aggregate": 20,
    "aggregate_of_expression": 20,
    "aggregate_of_rows": 20,
    "arithmetic": 20,
    "avg": 20,
    "between": 3,
    "bits": 20,
    "bool_aggregate": 20,
    "case": 20,
    "case_of_text": 3,
    "cast": 20,
    "cast.double_to_integer": 3,
    "coalesce": 20,
    "concat": 3,
    "count": 20,
    "cte": 20,
    "date_trunc": 3,
    "distinct": 20,
    "division": 3,
    "exists": 3,
    "filter": 20,
    "first_value": 20,
    "full_join": 3,
    "group_by": 20,
    "group_by_expression": 20,
    "having": 20,
    "in_list": 3,
    "in_select": 3,
    "interval": 3,
    "is_distinct_from": 3,
    "is_null": 3,
    "join": 3,
    "join_condition": 3,
    "json": 3,
    "last_value": 20,
    "left_join": 3,
    "length": 3,
    "like": 3,
    "list": 2,
    "logic": 20,
    "max": 20,
    "min": 20,
    "modulo": 3,
    "no_group_by": 20,
    "null_keys": 20,
    "nullif": 3,
    "ordered": 3,
    "over_updating": 20,
    "pad": 3,
    "percentile": 3,
    "projection": 20,
    "ranked": 10,
    "ranked_all": 3,
    "regexp": 3,
    "repeat": 3,
    "replace": 3,
    "reverse": 3,
    "rounding": 3,
    "several_keys": 20,
    "split_part": 3,
    "sqrt": 3,
    "star": 3,
    "subquery": 20,
    "substr": 3,
    "sum": 20,
    "sum.double": 20,
    "ties_by_origin": 20,
    "trim": 3,
    "union": 10,
    "union_all": 20,
    "variance": 20,
    "view": 20,
    "view_over_view": 20,
    "where": 20,
}
SAFE = 1 << 52  # integers up to here are added and multiplied, and are exact as doubles
WORDS = ["'a'", "'B'", "''", "'é'", "'ab'", "'12'", "' x '", "'it''s'", "'a%b'", "'naïve'", "'🚗'", "' '"]


@dataclass
class Relation:
    """What a query can be made over."""

    text: str  # what stands behind FROM
    columns: list[Column]
    rows: int  # at most
    updating: bool = False
    unique: str | None = None  # a column whose values do not repeat
    origin: bool = True  # whether its rows have one, which decides ties
    ordered: bool = False  # whether its rows depend on the order of the input
    stream: bool = False  # whether its rows are only added, without end: it is not joined
    features: frozenset = frozenset()
    tables: bool = False  # whether it is made of tables alone
    keys: list[str] = field(default_factory=list)  # columns that name its rows: of a table, or beside a window
    head: str = ""  # WITH


@dataclass
class Value:
    """An expression, and what is known of its values."""

    text: str
    kind: str
    bound: int = 0  # of integers
    sums: str = ""  # of doubles: 'exact', 'positive', or '' where sums could round differently
    fuzzy: bool = False  # differs in the last digits: may be written, not compared or grouped
    time: str = ""  # as that of a column


@dataclass
class Query:
    text: str
    columns: list[Column]
    rows: int
    updating: bool
    unique: str | None
    ordered: bool
    features: set[str] = field(default_factory=set)
    origin: bool = True
    stream: bool = False
    window: bool = False  # whether it has one itself
    deduplicated: bool = False
    tables: bool = False
    keys: list[str] = field(default_factory=list)
    options: str = ""  # what the view has to say
    judges: bool = False  # whether rows may be late to it


class Generator:
    FEATURES = FEATURES
    # Whether the first rows of keys are asked for: with windows that is another relation, see docs/sql.md.
    RANKED = True

    def __init__(self, seed: str):
        self.random = random.Random(seed)
        self.names = 0
        self.features: set[str] = set()
        self.ordered = False

    # -- small things

    def chance(self, probability: float) -> bool:
        return self.random.random() < probability

    def pick(self, options):
        return options[self.random.randrange(len(options))]

    def name(self) -> str:
        self.names += 1
        return f'"Col {self.names}"' if self.chance(0.1) else f"c{self.names}"

    def use(self, *features: str) -> None:
        self.features.update(features)

    # -- expressions

    def column(self, relation: Relation, kind: str, fuzzy: bool = False) -> Value | None:
        found = [c for c in relation.columns if c.kind == kind and (fuzzy or not c.fuzzy)]
        if not found:
            return None
        column = self.pick(found)
        return Value(column.name, kind, column.bound, column.sums, column.fuzzy, column.time)

    def value(self, relation: Relation, kind: str, depth: int) -> Value:
        if depth <= 0 or self.chance(0.35):
            column = self.column(relation, kind)
            if column and self.chance(0.9):
                return column
            return self.literal(kind)
        if self.chance(0.15):
            return self.case(relation, kind, depth)
        if self.chance(0.12):
            self.use("coalesce")
            first, second = self.value(relation, kind, depth - 1), self.value(relation, kind, 0)
            return self.joined(f"coalesce({first.text}, {second.text})", first, second)
        return getattr(self, f"some_{kind.lower()}")(relation, depth)

    def literal(self, kind: str) -> Value:
        if kind == "BIGINT":
            number = self.pick([0, 1, 2, 3, -1, -2, 10, 100, 500, -400])
            return Value(str(number) if number >= 0 else f"({number})", kind, abs(number))
        if kind == "INT":
            return Value(f"CAST({self.random.randrange(9)} AS INT)", kind, 9)
        if kind == "DOUBLE":
            return Value(f"CAST({self.pick(['0.5', '1.25', '2.0', '100.0', '0.0'])} AS DOUBLE)", kind, sums="exact")
        if kind == "BOOLEAN":
            return Value(self.pick(["TRUE", "FALSE"]), kind)
        if kind == "DATE":
            return Value(f"CAST('{self.pick(['1969-12-31', '1970-01-01', '1970-06-15'])}' AS DATE)", kind)
        if kind == "TIMESTAMP":
            moment = self.pick(["1969-07-20T20:17:40Z", "1970-01-02T00:00:00Z", "2022-02-28T12:00:00.5Z"])
            return Value(f"CAST('{moment}' AS TIMESTAMP)", kind)
        return Value(self.pick(WORDS), kind)

    def joined(self, text: str, *values: Value) -> Value:
        """What is known of a value that is one of several."""
        sums = {value.sums for value in values}
        return Value(
            text,
            values[0].kind,
            max(value.bound for value in values),
            sums.pop() if len(sums) == 1 else "",
            any(value.fuzzy for value in values),
        )

    def case(self, relation: Relation, kind: str, depth: int) -> Value:
        self.use("case")
        condition = self.condition(relation, depth - 1)
        first, second = self.value(relation, kind, depth - 1), self.value(relation, kind, depth - 1)
        if self.chance(0.3):
            return self.joined(f"CASE WHEN {condition} THEN {first.text} END", first)
        return self.joined(f"CASE WHEN {condition} THEN {first.text} ELSE {second.text} END", first, second)

    def some_bigint(self, relation: Relation, depth: int) -> Value:
        form = self.random.randrange(8)
        inner = self.value(relation, "BIGINT", depth - 1)
        small = self.pick([2, 3, 5, 10])
        if form < 3 and inner.bound < SAFE:
            other = self.value(relation, "BIGINT", depth - 1)
            operator = self.pick("+-*")
            bound = inner.bound * other.bound if operator == "*" else inner.bound + other.bound
            if max(bound, other.bound) < SAFE:
                self.use("arithmetic")
                return Value(f"({inner.text} {operator} {other.text})", "BIGINT", bound)
        if form == 3:
            self.use("modulo")
            return Value(f"({inner.text} % {small})", "BIGINT", small)
        if form == 4:
            self.use("division")
            return Value(f"({inner.text} / {small})", "BIGINT", inner.bound // small)
        if form == 5:
            text = self.value(relation, "TEXT", depth - 1)
            self.use("length")
            return Value(f"CAST({self.pick(['length', 'char_length'])}({text.text}) AS BIGINT)", "BIGINT", 1 << 12)
        if form == 6:
            number = self.column(relation, "INT") or self.literal("INT")
            self.use("cast")
            return Value(f"CAST({number.text} AS BIGINT)", "BIGINT", number.bound)
        number = self.value(relation, "DOUBLE", depth - 1)
        if number.sums == "exact":
            self.use("cast", "cast.double_to_integer")
            return Value(f"CAST({number.text} AS BIGINT)", "BIGINT", 1 << 40)
        if inner.bound < BIG:
            self.use("abs")
            return Value(f"abs({inner.text})", "BIGINT", inner.bound)
        return inner

    def some_int(self, relation: Relation, depth: int) -> Value:
        return self.column(relation, "INT") or self.literal("INT")

    def some_double(self, relation: Relation, depth: int) -> Value:
        inner = self.value(relation, "DOUBLE", depth - 1)
        form = self.random.randrange(7)
        if form == 0 and inner.sums:
            self.use("arithmetic")
            return Value(f"({inner.text} * {self.pick(['0.5', '2.0', '4.0'])})", "DOUBLE", sums=inner.sums)
        if form == 1 and inner.sums == "exact":
            other = self.value(relation, "DOUBLE", 0)
            if other.sums == "exact":
                self.use("arithmetic")
                return Value(f"({inner.text} {self.pick('+-')} {other.text})", "DOUBLE", sums="exact")
        if form == 2:
            integer = self.value(relation, "BIGINT", depth - 1)
            if integer.bound < SAFE:
                self.use("cast")
                sums = "exact" if integer.bound < 1 << 40 else ""
                return Value(f"CAST({integer.text} AS DOUBLE)", "DOUBLE", sums=sums)
        if form in (3, 4):
            self.use("rounding")
            return Value(f"{self.pick(['floor', 'ceil', 'abs'])}({inner.text})", "DOUBLE", sums=inner.sums)
        if form == 5:
            self.use("sqrt")
            return Value(f"sqrt(abs({inner.text}))", "DOUBLE")
        return inner

    def some_text(self, relation: Relation, depth: int) -> Value:
        inner = self.value(relation, "TEXT", depth - 1).text
        start, length = self.random.randrange(1, 4), self.random.randrange(0, 4)
        integer = self.value(relation, "BIGINT", depth - 1)
        boolean = self.column(relation, "BOOLEAN") or self.literal("BOOLEAN")
        forms = [
            ("concat", f"({inner} || {self.pick(WORDS)})"),
            ("concat", f"concat({inner}, {self.value(relation, 'TEXT', 0).text})"),
            ("case_of_text", f"upper({inner})"),
            ("case_of_text", f"lower({inner})"),
            ("trim", f"{self.pick(['trim', 'btrim', 'ltrim', 'rtrim'])}({inner})"),
            ("substr", f"substr({inner}, {start}, {length})"),
            ("substr", f"{self.pick(['left', 'right'])}({inner}, {length})"),
            ("replace", f"replace({inner}, 'a', {self.pick(WORDS)})"),
            ("pad", f"{self.pick(['lpad', 'rpad'])}({inner}, {length + 2}, '.-')"),
            ("reverse", f"reverse({inner})"),
            ("repeat", f"repeat({inner}, {length})"),
            ("split_part", f"split_part({inner}, ' ', {start})"),
            ("nullif", f"nullif({inner}, {self.pick(WORDS)})"),
            ("cast", f"CAST({integer.text} AS TEXT)"),
            ("cast", f"CAST({boolean.text} AS TEXT)"),
            ("regexp", f"regexp_replace({inner}, '[0-9]+', '#')"),
        ]
        document = self.column(relation, "JSON")
        if document and self.chance(0.5):
            way = self.pick(["->> 'a'", "-> 'b' ->> 'c'", "->> 0", "-> 'a' ->> 'b'", "-> 'a' ->> 1", "->> -1"])
            forms = [("json", f"({document.text} {way})")]
        feature, text = self.pick(forms)
        self.use(feature)
        return Value(text, "TEXT")

    def some_timestamp(self, relation: Relation, depth: int) -> Value:
        inner = self.value(relation, "TIMESTAMP", depth - 1).text
        if self.chance(0.6):
            self.use("date_trunc")
            unit = self.pick(["second", "minute", "hour", "day", "month", "year", "week"])
            return Value(f"date_trunc('{unit}', {inner})", "TIMESTAMP")
        self.use("interval")
        span = self.pick(["1 second", "90 minutes", "1 day", "500 milliseconds"])
        return Value(f"({inner} {self.pick('+-')} INTERVAL '{span}')", "TIMESTAMP")

    def some_date(self, relation: Relation, depth: int) -> Value:
        if self.chance(0.5):
            self.use("date")
            return Value(f"CAST({self.value(relation, 'TIMESTAMP', depth - 1).text} AS DATE)", "DATE")
        return self.column(relation, "DATE") or self.literal("DATE")

    def some_boolean(self, relation: Relation, depth: int) -> Value:
        return Value(f"({self.condition(relation, depth)})", "BOOLEAN")

    def condition(self, relation: Relation, depth: int) -> str:
        if depth > 0 and self.chance(0.35):
            self.use("logic")
            left, right = self.condition(relation, depth - 1), self.condition(relation, depth - 1)
            return f"({left} {self.pick(['AND', 'OR', 'OR'])} {right})" if self.chance(0.8) else f"(NOT {left})"
        kinds = [c.kind for c in relation.columns if c.kind != "JSON" and not c.fuzzy]
        if not kinds:
            return "TRUE"
        kind = self.pick(kinds)
        value = self.column(relation, kind)
        if self.chance(0.4):
            value = self.value(relation, kind, depth)
        if kind == "BOOLEAN":
            return self.pick([value.text, f"{value.text} IS NOT TRUE", f"{value.text} IS FALSE", f"NOT {value.text}"])
        form = self.random.randrange(10)
        if form == 0:
            self.use("is_null")
            return f"{value.text} IS {self.pick(['NULL', 'NOT NULL'])}"
        other = self.value(relation, kind, depth - 1)
        if other.text == value.text and self.chance(0.9):
            other = self.literal(kind)
        if form == 1:
            self.use("is_distinct_from")
            return f"{value.text} IS {self.pick(['', 'NOT '])}DISTINCT FROM {other.text}"
        if form == 2 and (kind in ("BIGINT", "TEXT") or self.chance(0.3)):
            self.use("in_list")
            listed = ", ".join(self.literal(kind).text for _ in range(self.random.randrange(1, 6)))
            return f"{value.text} {self.pick(['', 'NOT '])}IN ({listed})"
        if form == 3:
            self.use("between")
            return f"{value.text} BETWEEN {self.literal(kind).text} AND {other.text}"
        if form in (4, 5) and kind == "TEXT":
            self.use("like")
            pattern = self.pick(["'a%'", "'%é%'", "'_'", "'%1_'", "'%'", "'日%'"])
            return f"{value.text} {self.pick(['', 'NOT '])}{self.pick(['LIKE', 'ILIKE'])} {pattern}"
        # Equality is seldom true, and rows that are all gone tell little.
        often = ["<>", "<", "<=", ">", ">="]
        return f"{value.text} {self.pick(['=', *often, *often])} {other.text}"

    # -- queries

    def query(self, pool: list[Relation], depth: int) -> Query:
        """Some query over relations of `pool`."""
        outer, self.features, self.ordered = (self.features, self.ordered), set(), False
        forms = [self.projection] * 3 + [self.grouping] * 5 + [self.distinct, self.whole]
        forms += [self.ranked] * self.RANKED
        if depth > 0:
            forms += [self.union, self.union, self.common, self.nested]
            forms += [self.join, self.join, self.half_join]
        query = self.pick(forms)(pool, depth)
        query.features |= self.features
        query.ordered |= self.ordered
        self.features, self.ordered = outer
        return query

    def over(self, relation: Relation) -> None:
        """A query reads this."""
        self.use(*relation.features)
        self.ordered |= relation.ordered
        if relation.updating:
            self.use("over_updating")

    def where(self, relation: Relation) -> str:
        if self.chance(0.8 if relation.updating or "where" in relation.features else 0.5):
            return ""
        self.use("where")
        return f" WHERE {self.condition(relation, 2)}"

    def items(self, relation: Relation, count: int) -> list[tuple[Value, str]]:
        kinds = ["BIGINT", "DOUBLE", "TEXT", "TEXT", "BOOLEAN", "TIMESTAMP", "INT", "DATE"]
        items = []
        for _ in range(count):
            if self.chance(0.4):
                column = self.pick(relation.columns)
                value = Value(column.name, column.kind, column.bound, column.sums, column.fuzzy, column.time)
            else:
                value = self.value(relation, self.pick(kinds), 2)
            items.append((value, self.name()))
        return items

    def projection(self, pool: list[Relation], depth: int) -> Query:
        relation = self.pick(pool)
        self.over(relation)
        self.use("projection")
        if self.chance(0.1):
            self.use("star")
            columns, unique = relation.columns, relation.unique
            return self.made(relation, "*", columns, relation.rows, relation.updating, unique)
        items = self.items(relation, self.random.randrange(1, 5))
        unique = None
        if relation.unique and self.chance(0.6):
            kept = next(c for c in relation.columns if c.name == relation.unique)
            # Once: the first column that shows it is the key.
            items = [item for item in items if item[0].text != kept.name]
            items.append((Value(kept.name, kept.kind, kept.bound), self.name()))
            unique = items[-1][1]
        columns = [as_column(value, name) for value, name in items]
        text = ", ".join(f"{value.text} AS {name}" for value, name in items)
        return self.made(relation, text, columns, relation.rows, relation.updating, unique)

    def made(self, relation, text, columns, rows, updating, unique, rest="", where=True) -> Query:
        condition = self.where(relation) if where else ""
        whole = f"{relation.head}SELECT {text} FROM {relation.text}{condition}{rest}"
        origin = relation.origin and not updating
        stream = relation.stream and not updating
        return Query(whole, columns, rows, updating, unique, relation.ordered, origin=origin, stream=stream, tables=relation.tables)

    def distinct(self, pool: list[Relation], depth: int) -> Query:
        relation = self.pick(pool)
        self.over(relation)
        self.use("distinct")
        items = [item for item in self.items(relation, self.pick([1, 2, 3])) if item[0].kind != "JSON" and not item[0].fuzzy]
        items = items or [(self.value(relation, "BIGINT", 1), self.name())]
        columns = [replace(as_column(value, name), time="") for value, name in items]
        text = "DISTINCT " + ", ".join(f"{value.text} AS {name}" for value, name in items)
        unique = columns[0].name if len(columns) == 1 else None
        query = self.made(relation, text, columns, relation.rows, relation.updating, unique)
        return replace(query, origin=False, stream=False)

    def ranked(self, pool: list[Relation], depth: int) -> Query:
        """The first rows of each key, in an order in which only `rank` and `dense_rank` have ties."""
        relations = [r for r in pool if r.unique and not r.head and not r.stream]
        if not relations:
            return self.projection(pool, depth)
        updating = [r for r in relations if r.updating]
        relation = self.pick(updating if updating and self.chance(0.5) else relations)
        self.over(relation)
        self.use("ranked")
        function = self.pick(["rank", "dense_rank"]) if relation.updating and self.chance(0.3) else "row_number"
        comparable = [c for c in relation.columns if not c.fuzzy and c.kind != "JSON"]
        keys = [c for c in comparable if c.few or self.chance(0.2)] or comparable
        keys = [] if self.chance(0.3) else [self.pick(keys).name]
        orders = [self.pick(comparable).name for _ in range(self.pick([1, 1, 2]))] + [relation.unique] * (function == "row_number")
        orders = [f"{name}{self.pick([' ASC', ' DESC', ''])} NULLS {self.pick(['FIRST', 'LAST'])}" for name in orders]
        over = f"PARTITION BY {', '.join(keys)} " if keys else ""
        call = f"{function}() OVER ({over}ORDER BY {', '.join(orders)})"
        most = self.pick([1, 1, 2, 3, 5])
        condition = self.pick([f"<= {most}", f"< {most + 1}", f"BETWEEN 1 AND {most}"] + ["= 1"] * (most == 1))
        shown = self.random.sample(relation.columns, self.random.randrange(1, min(4, len(relation.columns)) + 1))
        items = [(Value(c.name, c.kind, c.bound, c.sums, c.fuzzy), self.name()) for c in shown]
        unique = next((name for value, name in items if value.text == relation.unique), None)
        text = ", ".join(f"{value.text} AS {name}" for value, name in items)
        columns = [as_column(value, name) for value, name in items]
        place = self.name()
        if self.chance(0.3):
            whole = f"SELECT {text} FROM {relation.text}{self.where(relation)} QUALIFY {call} {condition}"
        else:
            if self.chance(0.5):
                shown = self.name()
                text, columns = f"{text}, {place} AS {shown}", [*columns, Column(shown, "BIGINT", bound=relation.rows)]
            # Of what is replaced as many rows are there as there are keys: all of them can be numbered.
            everything = relation.updating and self.chance(0.4)
            self.use(*["ranked_all"] * everything)
            where = "" if everything else f" WHERE {place} {condition}"
            inner = f"SELECT *, {call} AS {place} FROM {relation.text}{self.where(relation)}"
            whole = f"SELECT {text} FROM ({inner}) AS q{self.names}{where}"
        return Query(whole, columns, relation.rows, True, unique, relation.ordered, origin=False, tables=relation.tables)

    def whole(self, pool: list[Relation], depth: int) -> Query:
        """Aggregates without GROUP BY."""
        relation = self.pick(pool)
        self.over(relation)
        self.use("no_group_by", "aggregate_of_aggregate" if relation.updating else "aggregate_of_rows")
        items = [(self.aggregate(relation), self.name()) for _ in range(self.random.randrange(1, 5))]
        columns = [as_column(value, name) for value, name in items]
        text = ", ".join(f"{value.text} AS {name}" for value, name in items)
        rest = self.having(relation) if self.chance(0.2) else ""
        first = columns[0]
        unique = None if first.fuzzy or first.kind == "JSON" else first.name
        return self.made(relation, text, columns, 1, True, unique, rest)

    def grouping(self, pool: list[Relation], depth: int) -> Query:
        relation = self.pick(pool)
        self.over(relation)
        self.use("group_by", "aggregate_of_aggregate" if relation.updating else "aggregate_of_rows")
        keys = [(self.key(relation), self.name()) for _ in range(self.pick([1, 1, 1, 2, 2, 3]))]
        if len(keys) > 1:
            self.use("several_keys")
        aggregates = [(self.aggregate(relation), self.name()) for _ in range(self.random.randrange(1, 6))]
        # The windows of a view with windows: their rows are final, too.
        given = any(value.time == "end" for value, _ in keys)
        columns = [as_column(value, name) for value, name in keys + aggregates]
        if not given:
            columns = [replace(column, time="") for column in columns]
        text = ", ".join(f"{value.text} AS {name}" for value, name in keys + aggregates)
        by = ", ".join(value.text if self.chance(0.7) else str(place + 1) for place, (value, _) in enumerate(keys))
        rest = f" GROUP BY {by}"
        if self.chance(0.3):
            rest += self.having(relation)
        unique = keys[0][1] if len(keys) == 1 else None
        query = self.made(relation, text, columns, relation.rows, not given, unique, rest)
        if given:
            self.use("window_given")
            query = replace(query, origin=False, stream=True)
        return query

    def key(self, relation: Relation) -> Value:
        columns = [c for c in relation.columns if not c.fuzzy and c.kind != "JSON"]
        if columns and self.chance(0.65):
            few = [c for c in columns if c.few] or columns
            column = self.pick(few if self.chance(0.7) else columns)
            if column.nulls:
                self.use("null_keys")
            return Value(column.name, column.kind, column.bound, column.sums, time=column.time)
        self.use("group_by_expression")
        while True:
            value = self.value(relation, self.pick(["BIGINT", "TEXT", "BOOLEAN", "TIMESTAMP"]), 2)
            # A constant is no expression of the group, and a number would be the place of a column.
            if names(value.text, relation) or not columns:
                return value if columns else Value("coalesce(NULL, 'one')", "TEXT")

    def having(self, relation: Relation) -> str:
        self.use("having")
        first = f"count(*) {self.pick(['> 1', '< 4', '<> 2', '>= 2', '> 0', '<= 8'])}"
        column = self.column(relation, "BIGINT")
        if column and self.chance(0.5):
            operator, bound = self.pick(["<", ">", "IS NOT NULL OR"]), self.literal("BIGINT").text
            second = f"{self.pick(['min', 'max'])}({column.text}) {operator} "
            second += f"{bound}" if operator in "<>" else "count(*) > 1"
            return f" HAVING {first} {self.pick(['AND', 'OR'])} ({second})"
        return f" HAVING {first}"

    # -- aggregates

    def aggregate(self, relation: Relation) -> Value:
        forms = ["count_star", "count", "sum", "sum", "sum_double", "avg", "extreme", "extreme", "end", "end"]
        forms += ["spread", "all", "bits", "distinct", "list", "middle"]
        return getattr(self, f"aggregate_{self.pick(forms)}")(relation)

    def aggregate_spread(self, relation: Relation) -> Value:
        kind = self.pick(["BIGINT", "DOUBLE"])
        argument = self.argument(relation, kind)
        if (kind == "DOUBLE" and argument.sums != "exact") or argument.bound > 1 << 30:
            return self.aggregate_count(relation)
        self.use("variance")
        names = ["var_pop", "var_samp", "stddev_pop", "stddev_samp", "stddev", "variance"]
        return Value(self.filtered(f"{self.pick(names)}({argument.text})", relation), "DOUBLE", fuzzy=True)

    def aggregate_all(self, relation: Relation) -> Value:
        self.use("bool_aggregate")
        text = f"{self.pick(['bool_and', 'bool_or'])}({self.argument(relation, 'BOOLEAN').text})"
        return Value(self.filtered(text, relation), "BOOLEAN")

    def aggregate_bits(self, relation: Relation) -> Value:
        self.use("bits")
        argument = self.argument(relation, "BIGINT")
        text = f"{self.pick(['bit_and', 'bit_or', 'bit_xor'])}({argument.text})"
        return Value(self.filtered(text, relation), "BIGINT", BIG)

    def aggregate_distinct(self, relation: Relation) -> Value:
        if self.chance(0.7):
            value = self.any_argument(relation).text
            if not names(value, relation):
                return self.aggregate_count(relation)  # DISTINCT of a constant is refused
            self.use("aggregate_distinct")
            function = self.pick(["count(DISTINCT ", "count(DISTINCT ", "approx_distinct("])
            text = f"{function}{value})"
            return Value(self.filtered(text, relation), "BIGINT", relation.rows, fuzzy=function[0] == "a")
        argument = self.column(relation, "BIGINT")
        if argument is None or argument.bound * relation.rows >= SAFE:
            return self.aggregate_count(relation)
        self.use("aggregate_distinct")
        text = self.filtered(f"sum(DISTINCT {argument.text})", relation)
        return Value(text, "BIGINT", argument.bound * relation.rows)

    def aggregate_list(self, relation: Relation) -> Value:
        if not relation.updating or relation.unique is None:
            return self.aggregate_end(relation)
        self.use("list")
        way = self.pick(["", " DESC"])
        order = f"ORDER BY {relation.unique}{way}"
        if self.chance(0.5):
            text = f"string_agg({self.argument(relation, 'TEXT').text}, ', ' {order})"
            return Value(self.filtered(text, relation), "TEXT")
        argument = self.any_argument(relation, ("BIGINT", "TEXT", "BOOLEAN"))
        return Value(self.filtered(f"array_agg({argument.text} {order})", relation), "JSON")

    def aggregate_middle(self, relation: Relation) -> Value:
        kind = self.pick(["BIGINT", "DOUBLE"])
        argument = self.argument(relation, kind)
        if argument.bound > SAFE:
            return self.aggregate_extreme(relation)
        functions = ["median({})", "quantile_cont({}, 0.25)", "sigma_clipped_percentile({}, 0.9, 1.7)"]
        if not relation.updating:
            functions = []
        # Of more values it is one that is near, which says little of a value near 0.
        if relation.updating or relation.rows <= 256:
            functions.append("approx_percentile_cont({}, 0.75)")
        if not functions:
            return self.aggregate_extreme(relation)
        self.use("percentile")
        text = self.pick(functions).format(argument.text)
        return Value(self.filtered(text, relation), "DOUBLE", fuzzy=True)

    def filtered(self, text: str, relation: Relation) -> str:
        if self.chance(0.3):
            self.use("filter")
            return f"{text} FILTER (WHERE {self.condition(relation, 1)})"
        return text

    def argument(self, relation: Relation, kind: str, fuzzy: bool = False) -> Value:
        if self.chance(0.25) and kind != "JSON":
            self.use("aggregate_of_expression")
            return self.value(relation, kind, 2)
        return self.column(relation, kind, fuzzy) or self.value(relation, kind if kind != "JSON" else "TEXT", 1)

    def any_argument(self, relation: Relation, kinds=("BIGINT", "DOUBLE", "TEXT", "TIMESTAMP", "BOOLEAN", "DATE")) -> Value:
        present = [c.kind for c in relation.columns if c.kind in kinds] or list(kinds)
        return self.argument(relation, self.pick(present))

    def aggregate_count_star(self, relation: Relation) -> Value:
        self.use("count")
        return Value(self.filtered("count(*)", relation), "BIGINT", relation.rows)

    def aggregate_count(self, relation: Relation) -> Value:
        self.use("count")
        return Value(self.filtered(f"count({self.any_argument(relation).text})", relation), "BIGINT", relation.rows)

    def aggregate_sum(self, relation: Relation) -> Value:
        argument = self.argument(relation, "BIGINT")
        if argument.bound * relation.rows >= SAFE:
            return self.aggregate_avg(relation)
        self.use("sum")
        return Value(self.filtered(f"sum({argument.text})", relation), "BIGINT", argument.bound * relation.rows)

    def aggregate_sum_double(self, relation: Relation) -> Value:
        argument = self.argument(relation, "DOUBLE", fuzzy=True)
        if not argument.sums:
            return self.aggregate_count(relation)
        self.use("sum", "sum.double")
        exact = argument.sums == "exact"
        text = self.filtered(f"sum({argument.text})", relation)
        return Value(text, "DOUBLE", sums="" if exact else "positive", fuzzy=not exact)

    def aggregate_avg(self, relation: Relation) -> Value:
        kind = self.pick(["BIGINT", "DOUBLE"])
        argument = self.argument(relation, kind, fuzzy=True)
        if kind == "DOUBLE" and not argument.sums:
            return self.aggregate_count(relation)
        self.use("avg")
        # Of integers near the limits the sums cancel out, and DuckDB's average of them is not the nearest double.
        if kind == "BIGINT" and argument.bound >= SAFE:
            argument = Value(f"({argument.text} / 1000000)", kind, argument.bound // 1_000_000)
        return Value(self.filtered(f"avg({argument.text})", relation), "DOUBLE", fuzzy=True)

    def aggregate_extreme(self, relation: Relation) -> Value:
        argument = self.any_argument(relation)
        function = self.pick(["min", "max"])
        self.use(function)
        return replace(argument, text=self.filtered(f"{function}({argument.text})", relation), time="")

    def aggregate_end(self, relation: Relation) -> Value:
        """first_value, last_value."""
        argument = self.any_argument(relation, ("BIGINT", "DOUBLE", "TEXT", "TIMESTAMP", "BOOLEAN", "JSON", "DATE"))
        function = self.pick(["first_value", "last_value"])
        order = relation.unique
        if relation.origin and not relation.updating and self.chance(0.6):
            kind = self.pick(["TIMESTAMP", "BIGINT"])
            by = self.column(relation, kind)
            if by:
                order = by.text
                self.ordered = True
                self.use("ties_by_origin")
        if order is None:
            return self.aggregate_extreme(relation)
        self.use(function)
        text = self.filtered(f"{function}({argument.text} ORDER BY {order})", relation)
        return replace(argument, text=text, time="")

    # -- queries of queries

    def sides(self, pool: list[Relation]) -> tuple[Relation, Relation, Column, Column] | None:
        """Two relations that can be joined, and a column of each that can be equal."""
        kept = [r for r in pool if not r.head and not r.stream and (r.updating or not r.origin) and r.unique]
        pairs = [
            (left, right, one, other)
            for left in kept
            for right in kept
            # What is only added to would be looked up in a table, by its whole key.
            if left.tables == right.tables or (left.updating and right.updating)
            for one in left.columns
            for other in right.columns
            if one.kind == other.kind and one.kind != "JSON" and not one.fuzzy and not other.fuzzy
        ]
        likely = [pair for pair in pairs if pair[2].few and pair[3].few]
        return self.pick(likely if likely and self.chance(0.7) else pairs) if pairs else None

    def join(self, pool: list[Relation], depth: int) -> Query:
        sides = self.sides(pool)
        if sides is None:
            return self.grouping(pool, depth)
        left, right, one, other = sides
        self.over(left)
        self.over(right)
        word = self.pick(["JOIN", "JOIN", "LEFT JOIN", "FULL JOIN"])
        self.use(word.lower().replace(" ", "_"))
        columns = [replace(c, name=f"a.{c.name}", time="") for c in left.columns]
        columns += [replace(c, name=f"b.{c.name}", nulls=True, time="") for c in right.columns]
        condition = f"a.{one.name} = b.{other.name}"
        tables = left.tables and right.tables
        joined = Relation("", columns, left.rows * right.rows, True, None, False, tables=tables)
        if self.chance(0.3) and word != "FULL JOIN":
            self.use("join_condition")
            condition += f" AND {self.condition(joined, 1)}"
        joined.text = f"{left.text} AS a {word} {right.text} AS b ON {condition}"
        return self.pick([self.projection_of, self.projection_of, self.grouping])([joined], depth)

    def projection_of(self, pool: list[Relation], depth: int) -> Query:
        """A projection that names its columns."""
        (relation,) = pool
        items = self.items(relation, self.random.randrange(1, 5))
        text = ", ".join(f"{value.text} AS {name}" for value, name in items)
        columns = [as_column(value, name) for value, name in items]
        return self.made(relation, text, columns, relation.rows, relation.updating, None)

    def half_join(self, pool: list[Relation], depth: int) -> Query:
        """IN and EXISTS."""
        sides = self.sides(pool)
        if sides is None:
            return self.grouping(pool, depth)
        left, right, one, other = sides
        self.over(left)
        self.over(right)
        inner = f" WHERE {self.condition(right, 1)}" if self.chance(0.4) else ""
        if self.chance(0.5):
            self.use("in_select")
            condition = f"{one.name} IN (SELECT {other.name} FROM {right.text}{inner})"
        else:
            self.use("exists")
            names = {c.name for c in left.columns} & {c.name for c in right.columns}
            # A name that both have would be that of the inner relation, whose type may be another one.
            also = f" AND {self.condition(right, 1)}" if not names and self.chance(0.3) else ""
            where = f"{left.text}.{one.name} = inside.{other.name}{also}"
            not_ = self.pick(["", "NOT "])
            condition = f"{not_}EXISTS (SELECT 1 FROM {right.text} AS inside WHERE {where})"
        items = self.items(left, self.random.randrange(1, 4))
        text = ", ".join(f"{value.text} AS {name}" for value, name in items)
        columns = [as_column(value, name) for value, name in items]
        whole = f"SELECT {text} FROM {left.text} WHERE {condition}"
        tables = left.tables and right.tables
        return Query(whole, columns, left.rows, left.updating, None, left.ordered, origin=False, tables=tables)

    def failing(self, source: Source) -> str:
        """Expressions that fail on some rows, which become dead letters, and such that are guarded."""
        columns = {c.name: c for c in source.columns}
        forms = ["1000 / (id % 5)", "CASE WHEN id % 4 <> 0 THEN 100 / (id % 4) END", "(id - 500) % (id % 3)"]
        forms += ["TRY_CAST(id * 10000000 AS INT)", "CAST(id * 5000000 AS INT)", "id * 18446744073709552"]
        if "s" in columns:
            forms += ["CAST(s AS BIGINT)", "TRY_CAST(s AS BIGINT)", "CASE WHEN s IN ('12', '-5') THEN CAST(s AS BIGINT) END"]
        if "big" in columns:
            forms += ["big + id", "big - 1", "coalesce(big, 1) * 2", "abs(big)"]
        chosen = [self.pick(forms) for _ in range(self.pick([1, 2]))]
        items = ", ".join(["id", *(f"{form} AS {self.name()}" for form in chosen)])
        return f"SELECT {items} FROM {source.name} WHERE id % 2 = {self.pick([0, 1])}"

    def union(self, pool: list[Relation], depth: int) -> Query:
        word = self.pick(["UNION ALL", "UNION ALL", "UNION"])
        self.use(word.lower().replace(" ", "_"))
        kinds = [self.pick(["BIGINT", "DOUBLE", "TEXT", "BOOLEAN", "TIMESTAMP"]) for _ in range(self.pick([1, 2, 3]))]
        names = [self.name() for _ in kinds]
        texts, branches, rows, updating, origins, stream, tables = [], [], 0, False, True, False, True
        for _ in range(self.pick([2, 2, 3])):
            relation = self.pick(pool)
            self.over(relation)
            tables &= relation.tables
            values = [self.value(relation, kind, 2) for kind in kinds]
            items = ", ".join(f"{value.text} AS {name}" for value, name in zip(values, names))
            texts.append(f"SELECT {items} FROM {relation.text}{self.where(relation)}")
            branches.append(values)
            rows += relation.rows
            updating |= relation.updating
            origins &= relation.origin
            stream |= relation.stream and word == "UNION ALL"
        columns = [as_column(self.joined("", *values), name) for values, name in zip(zip(*branches), names)]
        unique = names[0] if word == "UNION" and len(names) == 1 else None
        origin = word == "UNION ALL" and origins and not updating
        text = f" {word} ".join(texts)
        return Query(text, columns, rows, updating, unique, False, origin=origin, stream=stream, tables=tables)

    def common(self, pool: list[Relation], depth: int) -> Query:
        self.use("cte")
        return self.on_top(pool, depth, lambda inner, name: (f"WITH {name} AS ({inner}) ", name))

    def nested(self, pool: list[Relation], depth: int) -> Query:
        self.use("subquery")
        return self.on_top(pool, depth, lambda inner, name: ("", f"({inner}) AS {name}"))

    def on_top(self, pool: list[Relation], depth: int, write) -> Query:
        inner = self.query(pool, depth - 1)
        self.names += 1
        if inner.text.startswith("WITH"):
            inner = self.query(pool, 0)
        head, text = write(inner.text, f"q{self.names}")
        relation = as_relation(inner, text)
        relation.head = head
        return self.pick([self.projection, self.grouping])([relation], depth)

    # -- a file

    def sources(self) -> list[Source]:
        return [oracle_data.source(self.random, f"s{index}") for index in range(self.pick([1, 1, 2]))]

    def read(self, source: Source) -> Relation:
        """What a source is to those who read it."""
        return Relation(source.name, source.columns, len(source.rows), unique="id")

    def query_of_view(self, pool: list[Relation]) -> Query:
        return self.query(pool, 1)

    def decorated(self, query: Query, view: bool) -> tuple[str, Query]:
        """What a statement adds to a query: the options of a view, and the query."""
        return "", query

    def late_rows(self, query: Query, name: str) -> str:
        """The relation of the rows that come too late for a view, if there is to be a sink of them."""
        return ""

    def dataflow(self) -> tuple[str, list[Source], list[dict]]:
        sources = self.sources()
        statements = [source.statement() for source in sources]
        pool = [self.read(source) for source in sources]
        sinks = []
        for number in range(self.random.randrange(2, 6)):
            with_, query = self.decorated(self.query_of_view(pool), view=True)
            kind = self.pick(["VIEW", "MATERIALIZED VIEW"])
            statements.append(f"CREATE {kind} v{number} {with_}AS\n{query.text};\n")
            made_over_view = {"view"} if "view" not in query.features else {"view", "view_over_view"}
            relation = as_relation(query, f"v{number}")
            relation.features = frozenset(query.features | made_over_view)
            pool.append(relation)
            if late := self.late_rows(query, f"v{number}"):
                options = f"connector = 'file', path = 'late{number}.jsonl'"
                statements.append(f"CREATE SINK late{number} FROM {late}\nWITH ({options});\n")
                sinks.append({"name": f"late{number}", "features": ["late"], "ordered": False})
        for number in range(QUERIES):
            _, query = self.decorated(self.query(pool, 2), view=False)
            options = f"connector = 'file', path = 'out{number}.jsonl'"
            statements.append(f"CREATE SINK q{number} AS\n{query.text}\nWITH ({options});\n")
            sinks.append({"name": f"q{number}", "features": sorted(query.features), "ordered": query.ordered})
        if self.chance(0.3):
            options = "connector = 'file', path = 'failing.jsonl'"
            statements.append(f"CREATE SINK failing AS\n{self.failing(sources[0])}\nWITH ({options});\n")
            sinks.append({"name": "failing", "features": ["row_errors"], "ordered": False})
        for source in sources:
            options = f"connector = 'file', path = '{source.name}.jsonl'"
            statements.append(f"CREATE SINK all_{source.name} FROM {source.name}\nWITH ({options});\n")
            sinks.append({"name": f"all_{source.name}", "features": ["source"], "ordered": False})
        return "\n".join(statements), sources, sinks


def as_column(value: Value, name: str) -> Column:
    few = value.kind == "BOOLEAN"
    return Column(name, value.kind, bound=value.bound, sums=value.sums, fuzzy=value.fuzzy, few=few, nulls=True, time=value.time)


def as_relation(query: Query, text: str) -> Relation:
    features = frozenset(query.features)
    shape = (query.columns, query.rows, query.updating, query.unique, query.origin, query.ordered, query.stream)
    keys = query.keys or ([query.unique] if query.tables and query.unique and query.rows != 1 else [])
    return Relation(text, *shape, features, query.tables, keys)


def names(text: str, relation: Relation) -> bool:
    """Whether an expression has a column of a relation in it, not only in its texts."""
    words = set(re.findall(r'(?:\w+\.)?"[^"]*"|[\w.]+', re.sub(r"'(?:[^']|'')*'", "", text)))
    return any(column.name in words for column in relation.columns)


def write(generator: type[Generator], seed: str, index: int, folder: Path) -> list[dict]:
    text, sources, sinks = generator(f"{seed}.{index}").dataflow()
    folder.mkdir(parents=True)
    (folder / "dataflow.sql").write_text(f"-- seed {seed}, dataflow {index}\n\n{text}")
    for source in sources:
        source.write(folder / "input")
        source.write_shuffled(folder / "shuffled", random.Random(f"{seed}.{index} shuffled"))
    (folder / "features.json").write_text(json.dumps(sinks))
    return sinks


def coverage(generator: type[Generator], seed: str, tests: int, count: int) -> int:
    counts: Counter[str] = Counter()
    for test in range(tests):
        for index in range(count):
            _, _, sinks = generator(f"{seed}.{test}.{index}").dataflow()
            for sink in sinks:
                counts.update(["queries", *sink["features"], *(["ordered"] if sink["ordered"] else [])])
    unknown = counts.keys() - generator.FEATURES.keys()
    short = {name: least for name, least in generator.FEATURES.items() if counts[name] < least}
    for name, least in generator.FEATURES.items():
        print(f"{name}: {counts[name]} (at least {least})")
    if unknown or short:
        print(f"without a demand: {sorted(unknown)}; too few: {short}")
    return 1 if unknown or short else 0


def main(generator: type[Generator]) -> int:
    action, seed, *rest = sys.argv[1:]
    if action == "coverage":
        return coverage(generator, seed, *map(int, rest))
    count, folder = int(rest[0]), Path(rest[1])
    for index in range(count):
        write(generator, seed, index, folder / str(index))
    return 0


if __name__ == "__main__":
    sys.exit(main(Generator))
