#!/usr/bin/env python3
"""Random dataflows in event time, for the oracle: windows of sources, of views and of windows, over data with disorder.

    oracle_event_time.py write SEED COUNT FOLDER
    oracle_event_time.py coverage SEED TESTS COUNT

As oracle_generator.py, whose queries stand over and beside the windows. No record is further behind than its source
declares, in `shuffled` neither: nothing is late, whatever the epochs, and DuckDB, which knows no lateness, has the same
rows.
"""

import sys
from dataclasses import replace

import oracle_data
import oracle_generator
from oracle_data import Column
from oracle_generator import Generator, Query, Relation, Value, as_column

# Microseconds between the records of a dataflow, and lengths of windows that fit them.
PACES = {
    100_000: ["700 milliseconds", "1 second", "1.5 seconds", "2 seconds", "5 seconds", "6 seconds"],
    10_000_000: ["10 seconds", "45 seconds", "1 minute", "90 seconds", "2 minutes", "5 minutes", "6 minutes"],
    1_800_000_000: ["1 hour", "90 minutes", "6 hours", "1 day", "3 hours 20 minutes", "7 days"],
}
HORIZONS = {
    100_000: ["1 second", "3 seconds", "1 minute"],
    10_000_000: ["10 seconds", "90 seconds", "20 minutes"],
    1_800_000_000: ["45 minutes", "6 hours", "3 days"],
}
FEATURES = {
    "queries": 300,
    "source": 15,
    "tumble": 30,
    "hop": 8,
    "cumulate": 10,
    "session": 15,
    "window_of_window": 8,
    "window_of_updating": 3,
    "window_given": 1,
    "window_of_view": 10,
    "window_alone": 20,
    "window_column": 60,
    "window_expression": 8,
    "window_having": 5,
    "emit_changes": 15,
    "allowed_lateness": 1,
    "union_of_times": 10,
    "distinct_on": 10,
    "deduplicate_horizon": 1,
    "interval_join": 20,
    "interval_left_join": 3,
    "interval_right_join": 1,
    "interval_full_join": 1,
    "interval_condition": 3,
    "interval_exists": 3,
    "interval_not_exists": 1,
    "interval_in": 1,
    "join_of_windows": 1,
    "window_of_join": 5,
    "retention": 2,
    "retention_unbounded": 1,
    "lag": 10,
    "lag_of_windows": 1,
    "lookup": 10,
    "lookup_left": 3,
    "lookup_exists": 1,
    "lookup_in": 1,
    "lookup_condition": 1,
    "window_of_lookup": 2,
    "table": 10,
    "over_updating": 10,
    "aggregate_of_aggregate": 1,
    "aggregate_of_rows": 60,
    "aggregate_distinct": 5,
    "avg": 10,
    "count": 20,
    "filter": 10,
    "first_value": 5,
    "group_by_expression": 20,
    "having": 10,
    "last_value": 5,
    "list": 1,
    "max": 10,
    "min": 10,
    "null_keys": 10,
    "percentile": 3,
    "several_keys": 10,
    "sum": 10,
    "sum.double": 5,
    "ties_by_origin": 2,
    "variance": 3,
    "where": 20,
}


WINDOWS = {"tumble", "hop", "cumulate", "session"}


class EventTime(Generator):
    # What else the queries are made of is demanded elsewhere.
    FEATURES = dict.fromkeys(oracle_generator.FEATURES, 0) | FEATURES
    RANKED = False

    def __init__(self, seed: str):
        super().__init__(seed)
        self.step = self.pick(list(PACES))
        self.ends: list[Column] = []  # by which the next grouping groups
        self.retention = ""  # that of the view of the query, if it may have one,
        self.retains = False  # and whether it is needed

    def sources(self) -> list[oracle_data.Source]:
        sources = [oracle_data.timed_source(self.random, f"s{index}", self.step) for index in range(self.pick([1, 1, 2]))]
        return sources + [oracle_data.table(self.random, f"t{index}") for index in range(self.pick([0, 1, 1, 1, 2]))]

    def read(self, source: oracle_data.Source) -> Relation:
        if not source.keys:
            return super().read(source)
        unique = source.keys[0] if len(source.keys) == 1 else None
        rows = len(source.rows)
        features = frozenset(["table"])
        return Relation(source.name, source.columns, rows, True, unique, False, features=features, tables=True, keys=source.keys)

    def query_of_view(self, pool: list[Relation]) -> Query:
        lengths = [*HORIZONS[self.step], "7 days", *["unbounded"] * 6]
        self.retention = self.pick(lengths) if self.chance(0.35) else ""
        self.retains = False
        query = super().query_of_view(pool)
        query.options = f"state_retention = '{self.retention}'" if self.retains else ""
        self.retention = ""
        return query

    def query(self, pool: list[Relation], depth: int) -> Query:
        timed = [relation for relation in pool if self.times(relation)]
        # Over little else: deep towers of aggregates are looked at elsewhere.
        forms = [self.windowed] * 12 + [self.union_of_times, self.deduplicated, self.interval_join] * 2 + [self.interval_join, self.given]
        forms += [self.deduplicated, self.interval_half_join, self.interval_half_join, self.lagging, self.lagging]
        forms += [self.looked_up] * 5
        if self.retention:
            forms = [self.retained] * 12
        form = self.pick([*forms, None, None, None, None])
        if timed and form:
            return self.alone(form, pool if form == self.looked_up else timed, depth)
        return super().query(pool, depth)

    def alone(self, form, pool: list[Relation], depth: int) -> Query:
        """A query with features of its own."""
        outer, self.features, self.ordered = (self.features, self.ordered), set(), False
        query = form(pool, depth)
        query.features |= self.features
        query.ordered |= self.ordered
        self.features, self.ordered = outer
        return query

    @staticmethod
    def times(relation: Relation) -> list[Column]:
        return [column for column in relation.columns if column.time]

    def windowed(self, pool: list[Relation], depth: int) -> Query:
        relation = self.pick(pool)
        self.over(relation)
        time = self.pick(self.times(relation))
        if relation.stream:
            self.use("window_of_window" if time.time != "time" else "window_of_view")
        elif not relation.text.startswith("s"):
            self.use("window_of_view")
        self.use(*(f"window_of_{below}" for below in ("lookup",) if below in relation.features))
        self.use(*["window_of_join"] * ("interval_join" in relation.features))
        window, repeated = self.window(time, relation)
        # Beside a window these names are its own.
        others = [column for column in relation.columns if not column.name.startswith("window_")]
        keyed = replace(relation, columns=others)
        keys = [(self.key(keyed), self.name()) for _ in range(self.pick([0, 0, 1, 1, 1, 2]) if others else 0)]
        keys = [(replace(value, time=""), name) for value, name in keys if value.time != "end"]
        self.use("aggregate_of_rows", *["window_alone"] * (not keys), *["several_keys"] * (len(keys) > 1))
        # In a window, functions that keep values are accepted as over groups that are replaced.
        kept = replace(relation, updating=True) if self.chance(0.5) and relation.unique else relation
        if relation.updating:
            self.use("window_of_updating")
        aggregates = [(self.aggregate(kept), self.name()) for _ in range(self.random.randrange(1, 4))]
        edges = self.edges(window)
        columns = keys + edges + aggregates
        self.random.shuffle(columns)
        places = {name: place + 1 for place, (_, name) in enumerate(columns)}
        by = [value.text if self.chance(0.7) else str(places[name]) for value, name in keys]
        by.insert(self.random.randrange(len(by) + 1), window)
        rest = f" GROUP BY {', '.join(by)}"
        if self.chance(0.25):
            rest += self.having(relation) if self.chance(0.7) else self.having_of_window()
        text = ", ".join(value.text if value.text == name else f"{value.text} AS {name}" for value, name in columns)
        made = [as_column(value, name) for value, name in columns]
        ends = [name for value, name in edges if value.time == "end"]
        unique = ends[0] if ends and not keys else None
        query = self.made(relation, text, made, relation.rows * repeated, False, unique, rest)
        named = [name for _, name in keys] if ends else []
        return replace(query, origin=False, stream=True, window=True, keys=named, judges=relation.origin)

    def given(self, pool: list[Relation], depth: int) -> Query:
        """The windows of a view once more."""
        ended = [relation for relation in pool if any(column.time == "end" for column in relation.columns)]
        if not ended:
            return self.windowed(pool, depth)
        relation = self.pick(ended)
        self.ends = [column for column in relation.columns if column.time == "end"][:1]
        return self.grouping([relation], depth)

    def key(self, relation: Relation) -> Value:
        if self.ends:
            column = self.ends.pop()
            return Value(column.name, column.kind, time=column.time)
        return super().key(relation)

    def kinds(self, relation: Relation) -> list[str]:
        kinds = ["tumble", "tumble", "hop", "cumulate"]
        # Sessions of rows that are replaced are refused.
        return kinds if relation.updating else [*kinds, "session", "session"]

    def window(self, time: Column, relation: Relation) -> tuple[str, int]:
        """A window, and how many of them hold a row."""
        kind = self.pick(self.kinds(relation))
        self.use(kind)
        length = self.pick(PACES[self.step])
        if kind in ("tumble", "session"):
            return f"{kind}({time.name}, INTERVAL '{length}')", 1
        if kind == "hop":
            slide = self.pick(PACES[self.step][:4])
            return f"hop({time.name}, INTERVAL '{slide}', INTERVAL '{length}')", 200
        number, unit = self.pick(["1 second", "20 seconds", "7 minutes", "1 hour"]).split()
        if self.step < 1_000_000:
            number, unit = self.pick(["250 milliseconds", "1 second", "3 seconds"]).split()
        steps = self.pick([1, 2, 3, 12])
        return f"cumulate({time.name}, INTERVAL '{number} {unit}', INTERVAL '{int(number) * steps} {unit}')", steps

    def edges(self, window: str) -> list[tuple[Value, str]]:
        """Columns that show the window, and expressions of them."""
        edges = []
        for edge in ("start", "end"):
            if self.chance(0.7):
                self.use("window_column")
                name = f"window_{edge}"
                # The start of a session is known late.
                time = "" if window.startswith("session") and edge == "start" else edge
                edges.append((Value(name, "TIMESTAMP", time=time), name if self.chance(0.6) else self.name()))
        if self.chance(0.15):
            self.use("window_expression")
            text = self.pick(["window_end - INTERVAL '1 second'", "date_trunc('hour', window_start)"])
            edges.append((Value(text, "TIMESTAMP"), self.name()))
        return edges

    def having_of_window(self) -> str:
        self.use("having", "window_having")
        edge, other = self.pick([("window_start", "2025-10-01T10:01:00Z"), ("window_end", "1970-01-01T00:00:00Z")])
        return f" HAVING {edge} {self.pick(['<>', '<', '>='])} CAST('{other}' AS TIMESTAMP)"

    def union_of_times(self, pool: list[Relation], depth: int) -> Query:
        """UNION ALL that keeps event time."""
        self.use("union_of_times", "union_all")
        names, kind = [self.name() for _ in range(3)], self.pick(["BIGINT", "TEXT", "DOUBLE"])
        texts, branches, rows, origins, updating = [], [], 0, True, False
        for _ in range(self.pick([2, 2, 3])):
            relation = self.pick([relation for relation in pool if not relation.updating] or pool)
            self.over(relation)
            updating |= relation.updating
            time = self.pick(self.times(relation))
            values = [self.value(relation, kind, 1), Value(time.name, "TIMESTAMP"), self.value(relation, "BIGINT", 1)]
            items = ", ".join(f"{value.text} AS {name}" for value, name in zip(values, names))
            texts.append(f"{relation.head}SELECT {items} FROM {relation.text}{self.where(relation)}")
            branches.append(values)
            rows += relation.rows
            origins &= relation.origin
        columns = [as_column(self.joined("", *values), name) for values, name in zip(zip(*branches), names)]
        columns[1].time = "time"
        origins &= not updating
        return Query(" UNION ALL ".join(texts), columns, rows, updating, None, False, origin=origins, stream=not updating)

    def deduplicated(self, pool: list[Relation], depth: int) -> Query:
        """DISTINCT ON the event, with or without other columns."""
        sources = [relation for relation in pool if relation.unique == "id" and relation.origin and not relation.stream]
        if not sources:
            return self.windowed(pool, depth)
        relation = self.pick(sources)
        self.over(relation)
        self.use("distinct_on")
        time = next(column for column in relation.columns if column.name == "ts")
        plain = [column.name for column in relation.columns if column.kind != "JSON"]
        other = self.pick([self.pick(plain), f"coalesce({self.pick(plain)}, NULL)", f"date_trunc('day', {time.name})"])
        keys = ["event", *[other] * self.pick([0, 0, 1])]
        items = self.items(relation, self.random.randrange(1, 4))
        items += [(Value(time.name, time.kind, time=time.time), self.name()), (Value("event", "BIGINT", 1000), self.name())]
        self.random.shuffle(items)
        columns = [as_column(value, name) for value, name in items]
        text = ", ".join(f"{value.text} AS {name}" for value, name in items)
        query = self.made(relation, f"DISTINCT ON ({', '.join(keys)}) {text}", columns, relation.rows, False, None)
        query.deduplicated = True
        return replace(query, ordered=True, stream=True, judges=True)

    def sides(self, pool: list[Relation]):
        """Of joins that keep both sides: what has a row for each window would be kept for ever."""
        return super().sides([relation for relation in pool if not WINDOWS & relation.features])

    def streams(self, pool: list[Relation]) -> list[Relation]:
        """What can be joined with another stream."""
        return [relation for relation in pool if not relation.updating and not relation.head and relation.rows <= 5000]

    def interval_join(self, pool: list[Relation], depth: int) -> Query:
        """Two streams whose rows are no farther apart than a distance in time."""
        sides = self.streams(pool)
        if not sides:
            return self.windowed(pool, depth)
        left, right = self.pick(sides), self.pick(sides)
        windows = [relation for relation in sides if any(column.time in ("start", "end") for column in relation.columns)]
        if windows and self.chance(0.4):
            left, right = self.pick(windows), self.pick(windows)
        time, second = self.pick(self.times(left)), self.pick(self.times(right))
        self.use(*["join_of_windows"] * (time.time != "time" and second.time != "time"))
        return self.two_streams(left, right, time, second, self.near("a", time, "b", second), 0.85)

    def two_streams(self, left: Relation, right: Relation, time: Column, second: Column, near: str, equal: float) -> Query:
        """A join of two streams, with an equality in so many cases."""
        self.over(left)
        self.over(right)
        word = self.pick(["JOIN", "JOIN", "LEFT JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN"])
        self.use("interval_join", f"interval_{word.lower().replace(' ', '_')}")
        # Times of a side that may be missing are none, and those that are not compared.
        columns = self.columns_of("a", left, time if word in ("JOIN", "LEFT JOIN") else None)
        columns += self.columns_of("b", right, second if word in ("JOIN", "RIGHT JOIN") else None)
        joined = Relation("", columns, min(left.rows * right.rows, 10_000), origin=False, stream=True)
        conditions = [self.equality(left, right)] if self.chance(equal) else []
        conditions = [condition for condition in [*conditions, near] if condition]
        if self.chance(0.4) and word != "FULL JOIN":
            self.use("interval_condition")
            # What compares the times of both could leave no distance, which is refused.
            times = [f"a.{column.name}" for column in self.times(left)] + [f"b.{column.name}" for column in self.times(right)]
            others = [column for column in columns if column.name not in times]
            conditions.append(self.condition(replace(joined, columns=others), 1))
        joined.text = f"{left.text} AS a {word} {right.text} AS b ON {' AND '.join(conditions)}"
        return replace(self.shown_of(joined, None), stream=True)

    def shown_of(self, joined: Relation, unique: str | None) -> Query:
        """Some columns of a join, a time among them if there is one."""
        kept = self.pick([column for column in joined.columns if column.time] or joined.columns)
        items = [*self.items(joined, self.random.randrange(1, 4)), (Value(**self.shown(kept)), self.name())]
        if unique:
            items.append((next(Value(**self.shown(c)) for c in joined.columns if c.name == unique), self.name()))
            unique = items[-1][1]
        text = ", ".join(f"{value.text} AS {name}" for value, name in items)
        made = [as_column(value, name) for value, name in items]
        return self.made(joined, text, made, joined.rows, False, unique, where=joined.origin and self.chance(0.5))

    def equality(self, left: Relation, right: Relation) -> str | None:
        pairs = [(one, other) for one in left.columns for other in right.columns if self.alike(one, other)]
        if not pairs:
            return None
        one, other = self.pick([pair for pair in pairs if pair[0].few and pair[1].few] or pairs)
        return f"a.{one.name} = b.{other.name}"

    def interval_half_join(self, pool: list[Relation], depth: int) -> Query:
        """IN and EXISTS with a stream, within a distance in time."""
        sides = self.streams(pool)
        if not sides:
            return self.windowed(pool, depth)
        left, right = self.pick(sides), self.pick(sides)
        self.over(left)
        self.over(right)
        time, second = self.pick(self.times(left)), self.pick(self.times(right))
        inner = Relation("", self.columns_of("b", right, second), right.rows)
        conditions, equality = [self.near("a", time, "b", second)], self.equality(left, right)
        if self.chance(0.3):
            self.use("interval_condition")
            conditions.append(self.condition(inner, 1))
        if equality and self.chance(0.4):
            self.use("interval_in")
            one, other = equality.split(" = ")
            condition = f"{one} IN (SELECT {other} FROM {right.text} AS b WHERE {' AND '.join(conditions)})"
        else:
            not_ = self.pick(["", "NOT "])
            self.use("interval_not_exists" if not_ else "interval_exists")
            conditions = [equality] * bool(equality and self.chance(0.85)) + conditions
            condition = f"{not_}EXISTS (SELECT 1 FROM {right.text} AS b WHERE {' AND '.join(conditions)})"
        outer = Relation("", self.columns_of("a", left, time), left.rows, origin=False, stream=True)
        outer.text = f"{left.text} AS a WHERE {condition}"
        return replace(self.shown_of(outer, None), stream=True)

    def retained(self, pool: list[Relation], depth: int) -> Query:
        """Two streams that are joined within the retention of their view."""
        sides = self.streams(pool)
        if not sides:
            return self.windowed(pool, depth)
        left, right = self.pick(sides), self.pick(sides)
        equality = self.equality(left, right)
        self.retains = True
        if self.retention == "unbounded":
            return self.kept(left, right, equality)
        self.use("retention")
        time, second = self.pick(self.times(left)), self.pick(self.times(right))
        alone = len(self.times(left)) == len(self.times(right)) == 1
        if alone and equality and self.chance(0.5):
            return self.two_streams(left, right, time, second, "", 1)
        here, there, short = f"a.{time.name}", f"b.{second.name}", self.pick(PACES[self.step][:2])
        ends = [f"{there} >= {here}", f"{here} >= {there}", f"{there} > {here} - INTERVAL '{short}'"]
        ends += [f"{there} - {here} <= INTERVAL '{short}'"]
        return self.two_streams(left, right, time, second, self.pick(ends), 0.7)

    def kept(self, left: Relation, right: Relation, equality: str | None) -> Query:
        """Without a distance: all rows are kept."""
        if equality is None:
            self.retains = False
            return self.windowed([left], 0)
        self.over(left)
        self.over(right)
        self.use("retention_unbounded")
        columns = self.columns_of("a", left, None) + self.columns_of("b", right, None)
        joined = Relation("", columns, min(left.rows * right.rows, 10_000), True, None, False)
        joined.text = f"{left.text} AS a {self.pick(['JOIN', 'LEFT JOIN', 'FULL JOIN'])} {right.text} AS b ON {equality}"
        query = self.shown_of(joined, None)
        return replace(query, updating=True, stream=False, origin=False)

    def lagging(self, pool: list[Relation], depth: int) -> Query:
        """Values of the row before."""
        known = [
            (relation, time)
            for relation in pool
            for time in self.times(relation)
            if not relation.updating and not relation.head and time.time != "start"
            # What has no origin has an order only where no two rows of a key have the same time.
            if relation.origin or relation.unique == time.name or (relation.keys and time.time == "end")
        ]
        if not known:
            return self.windowed(pool, depth)
        ends = [pair for pair in known if pair[1].time == "end"]
        relation, time = self.pick(ends if ends and self.chance(0.5) else known)
        self.over(relation)
        self.use("lag", *["lag_of_windows"] * (time.time == "end"))
        self.ordered |= relation.origin
        keys = [self.key(relation).text for _ in range(self.pick([0, 1, 1, 2]))] if relation.origin else relation.keys
        # DuckDB divides rows by nothing that can fail.
        keys = [key for key in keys if "CAST(" not in key]
        by = f"PARTITION BY {', '.join(keys)} " if keys else ""
        over = f"({by}ORDER BY {time.name})"
        items = [(value, name) for value, name in self.items(relation, self.random.randrange(1, 4))]
        items.append((Value(**self.shown(time)), self.name()))
        items += [(self.before(relation, over), self.name()) for _ in range(self.pick([1, 1, 2]))]
        self.random.shuffle(items)
        columns = [as_column(value, name) for value, name in items]
        columns = [replace(c, time="time" if value.text == time.name else "") for c, (value, _) in zip(columns, items)]
        text = ", ".join(f"{value.text} AS {name}" for value, name in items)
        query = self.made(relation, text, columns, relation.rows, False, None)
        return replace(query, origin=False, stream=True, judges=relation.origin)

    def before(self, relation: Relation, over: str) -> Value:
        column = self.pick([column for column in relation.columns if not column.time] or relation.columns)
        value = Value(**self.shown(replace(column, time="")))
        if self.chance(0.2):
            value = self.value(relation, self.pick(["BIGINT", "TEXT", "BOOLEAN"]), 2)
        text = f"lag({value.text}{self.pick(['', '', ', 2', ', 3'])}) OVER {over}"
        if value.kind == "BIGINT" and value.bound < oracle_generator.SAFE and self.chance(0.3):
            return Value(f"({value.text} - {text})", "BIGINT", 2 * value.bound)
        return replace(value, text=text, time="")

    def looked_up(self, pool: list[Relation], depth: int) -> Query:
        """A stream joined with a table, or with a view that is made of tables."""
        streams = [relation for relation in self.streams(pool) if relation.stream or relation.origin]
        tables = [relation for relation in pool if relation.tables and relation.keys and not relation.head]
        if not streams or not tables:
            return self.windowed([relation for relation in pool if self.times(relation)], depth)
        left, right = self.pick(streams), self.pick(tables)
        keys = [column for column in right.columns if column.name in right.keys]
        found = [self.found(left, key) for key in keys]
        if None in found:
            return self.windowed([relation for relation in pool if self.times(relation)], depth)
        self.over(left)
        self.use(*right.features, "lookup")
        condition = " AND ".join(f"{one} = b.{key.name}" for one, key in zip(found, keys))
        if self.chance(0.4) and len(keys) == 1:
            # What could fail decides nothing by itself in EXISTS.
            return self.looked_up_half(left, right, found[0].removeprefix("(").removesuffix(" % 10)"), keys[0])
        word = self.pick(["JOIN", "LEFT JOIN", "LEFT JOIN"])
        self.use(*["lookup_left"] * (word != "JOIN"))
        columns = [replace(column, name=f"a.{column.name}") for column in left.columns]
        columns += [replace(column, name=f"b.{column.name}", nulls=True, time="") for column in right.columns]
        joined = Relation("", columns, left.rows, origin=left.origin, stream=left.stream, ordered=left.ordered)
        if self.chance(0.3):
            self.use("lookup_condition")
            condition += f" AND {self.condition(joined, 1)}"
        at = self.pick(["", "", " FOR SYSTEM_TIME AS OF PROCTIME()"])
        joined.text = f"{left.text} AS a {word} {right.text}{at} AS b ON {condition}"
        unique = f"a.{left.unique}" if left.unique and self.chance(0.5) else None
        return self.shown_of(joined, unique)

    def found(self, left: Relation, key: Column) -> str | None:
        """A column of a stream, or something like it, by which a table is looked into."""
        columns = [column for column in left.columns if self.alike(column, key)]
        if not columns:
            return None
        column = self.pick([column for column in columns if column.few] or columns)
        return f"(a.{column.name} % 10)" if column.kind == "BIGINT" and self.chance(0.4) else f"a.{column.name}"

    def looked_up_half(self, left: Relation, right: Relation, one: str, key: Column) -> Query:
        inner = Relation("", [replace(column, name=f"b.{column.name}", nulls=True) for column in right.columns], right.rows)
        also = [self.condition(inner, 1)] if self.chance(0.4) else []
        if self.chance(0.4):
            self.use("lookup_in")
            where = f" WHERE {also[0]}" if also else ""
            condition = f"{one} IN (SELECT b.{key.name} FROM {right.text} AS b{where})"
        else:
            self.use("lookup_exists")
            where = " AND ".join([f"b.{key.name} = {one}", *also])
            condition = f"{self.pick(['', 'NOT '])}EXISTS (SELECT 1 FROM {right.text} AS b WHERE {where})"
        columns = [replace(column, name=f"a.{column.name}") for column in left.columns]
        outer = Relation(f"{left.text} AS a WHERE {condition}", columns, left.rows, origin=False, stream=left.stream)
        return self.shown_of(outer, None)

    @staticmethod
    def shown(column: Column) -> dict:
        known = {"bound": column.bound, "sums": column.sums, "fuzzy": column.fuzzy, "time": column.time}
        return {"text": column.name, "kind": column.kind} | known

    @staticmethod
    def columns_of(side: str, relation: Relation, time: Column | None) -> list[Column]:
        def shown(column: Column) -> Column:
            return replace(column, name=f"{side}.{column.name}", nulls=True, time="time" if column is time else "")

        return [shown(column) for column in relation.columns]

    @staticmethod
    def alike(one: Column, other: Column) -> bool:
        return one.kind == other.kind and one.kind != "JSON" and not (one.fuzzy or other.fuzzy or one.time or other.time)

    def near(self, one: str, time: Column, other: str, second: Column) -> str:
        """How far apart two times may be."""
        here, there = f"{one}.{time.name}", f"{other}.{second.name}"
        short, long = self.pick(PACES[self.step][:2]), self.pick(PACES[self.step][:4])
        return self.pick(
            [
                f"{there} BETWEEN {here} - INTERVAL '{long}' AND {here}",
                f"{there} BETWEEN {here} - INTERVAL '{short}' AND {here} + INTERVAL '{long}'",
                f"{there} >= {here} AND {there} < {here} + INTERVAL '{short}'",
                f"{here} > {there} + INTERVAL '{short}' AND {here} <= {there} + INTERVAL '7 days'"
                if self.step > 10_000_000
                else f"{here} > {there} + INTERVAL '500 milliseconds' AND {here} <= {there} + INTERVAL '{long}'",
                f"{here} = {there}",
            ]
        )

    def decorated(self, query: Query, view: bool) -> tuple[str, Query]:
        """With early or corrected results, sometimes: the options of a view, and the query."""
        if query.options:
            return f"WITH ({query.options}) ", query
        if query.deduplicated and view and self.chance(0.7):
            query.features.add("deduplicate_horizon")
            length = self.pick([*HORIZONS[self.step], "unbounded"])
            query.judges = length != "unbounded"
            return f"WITH (deduplicate_horizon = '{length}') ", query
        if not query.window or self.chance(0.6 if view else 0.7):
            return "", query
        options = ""
        changed = replace(query, updating=True, stream=False, features=query.features | {"emit_changes"})
        if view and self.chance(0.65):
            options = f"WITH (allowed_lateness = '{self.pick(['1 second', '5 minutes', '2 days'])}') "
            changed.features = query.features | {"allowed_lateness"}
        if not options or self.chance(0.3):
            changed.text += "\nEMIT CHANGES"
        return options, changed


if __name__ == "__main__":
    sys.exit(oracle_generator.main(EventTime))
