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
    "deduplicate_horizon": 2,
    "interval_join": 20,
    "interval_left_join": 3,
    "interval_right_join": 1,
    "interval_full_join": 1,
    "interval_condition": 3,
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


class EventTime(Generator):
    # What else the queries are made of is demanded elsewhere.
    FEATURES = dict.fromkeys(oracle_generator.FEATURES, 0) | FEATURES

    def __init__(self, seed: str):
        super().__init__(seed)
        self.step = self.pick(list(PACES))
        self.ends: list[Column] = []  # by which the next grouping groups

    def source(self, name: str) -> oracle_data.Source:
        return oracle_data.timed_source(self.random, name, self.step)

    def query(self, pool: list[Relation], depth: int) -> Query:
        timed = [relation for relation in pool if self.times(relation)]
        # Over little else: deep towers of aggregates are looked at elsewhere.
        forms = [self.windowed] * 12 + [self.union_of_times, self.deduplicated, self.interval_join] * 2 + [self.interval_join, self.given]
        form = self.pick([*forms, None, None, None, None])
        if timed and form:
            return self.alone(form, timed, depth)
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
        return replace(query, origin=False, stream=True, window=True)

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

    def window(self, time: Column, relation: Relation) -> tuple[str, int]:
        """A window, and how many of them hold a row."""
        kinds = ["tumble", "tumble", "hop", "cumulate"]
        # Sessions of rows that are replaced are refused.
        kind = self.pick(kinds if relation.updating else [*kinds, "session", "session"])
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
        keys = ["event", *(self.key(relation).text for _ in range(self.pick([0, 0, 1])))]
        time = next(column for column in relation.columns if column.name == "ts")
        items = self.items(relation, self.random.randrange(1, 4))
        items += [(Value(time.name, time.kind, time=time.time), self.name()), (Value("event", "BIGINT", 1000), self.name())]
        self.random.shuffle(items)
        columns = [as_column(value, name) for value, name in items]
        text = ", ".join(f"{value.text} AS {name}" for value, name in items)
        query = self.made(relation, f"DISTINCT ON ({', '.join(keys)}) {text}", columns, relation.rows, False, None)
        query.deduplicated = True
        return replace(query, ordered=True, stream=True)

    def interval_join(self, pool: list[Relation], depth: int) -> Query:
        """Two streams whose rows are no farther apart than a distance in time."""
        sides = [relation for relation in pool if not relation.updating and not relation.head and relation.rows <= 5000]
        if not sides:
            return self.windowed(pool, depth)
        left, right = self.pick(sides), self.pick(sides)
        self.over(left)
        self.over(right)
        word = self.pick(["JOIN", "JOIN", "LEFT JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN"])
        self.use("interval_join", f"interval_{word.lower().replace(' ', '_')}")
        time, second = self.pick(self.times(left)), self.pick(self.times(right))
        # Times of a side that may be missing are none, and those that are not compared.
        columns = self.columns_of("a", left, time if word in ("JOIN", "LEFT JOIN") else None)
        columns += self.columns_of("b", right, second if word in ("JOIN", "RIGHT JOIN") else None)
        joined = Relation("", columns, min(left.rows * right.rows, 10_000), origin=False, stream=True)
        condition = self.near("a", time, "b", second)
        pairs = [(one, other) for one in left.columns for other in right.columns if self.alike(one, other)]
        few = [pair for pair in pairs if pair[0].few and pair[1].few]
        if pairs and self.chance(0.85):
            one, other = self.pick(few or pairs)
            condition = f"a.{one.name} = b.{other.name} AND {condition}"
        if self.chance(0.4) and word != "FULL JOIN":
            self.use("interval_condition")
            condition += f" AND {self.condition(joined, 1)}"
        joined.text = f"{left.text} AS a {word} {right.text} AS b ON {condition}"
        kept = self.pick([column for column in columns if column.time] or columns)
        items = [*self.items(joined, self.random.randrange(1, 4)), (Value(**self.shown(kept)), self.name())]
        text = ", ".join(f"{value.text} AS {name}" for value, name in items)
        made = [as_column(value, name) for value, name in items]
        query = self.made(joined, text, made, joined.rows, False, None, where=False)
        return replace(query, stream=True)

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
        if query.deduplicated and view and self.chance(0.7):
            query.features.add("deduplicate_horizon")
            length = self.pick([*HORIZONS[self.step], "unbounded"])
            return f"WITH (deduplicate_horizon = '{length}') ", query
        if not query.window or self.chance(0.6 if view else 0.7):
            return "", query
        options = ""
        changed = replace(query, updating=True, stream=False, features=query.features | {"emit_changes"})
        if view and self.chance(0.5):
            options = f"WITH (allowed_lateness = '{self.pick(['1 second', '5 minutes', '2 days'])}') "
            changed.features = query.features | {"allowed_lateness"}
        if not options or self.chance(0.3):
            changed.text += "\nEMIT CHANGES"
        return options, changed


if __name__ == "__main__":
    sys.exit(oracle_generator.main(EventTime))
