"""Our SQL in DuckDB's dialect: the one place that knows where the two differ.

A query is cut into tokens and brackets, and every SELECT into its clauses. What is not named here means the same in
both; `/` is one of the SETTINGS. Beside its text a query has

- an origin, as long as rows are only added: a hidden column `_origin` that says where a row came from, since ties
  and the order of string_agg and array_agg follow it;
- for each column how far doubles may differ: 0 where nothing was rounded on the way.
"""

import re
from dataclasses import dataclass, field, replace

import oracle_from
import oracle_lateness
import oracle_windows

SUM_ERROR = 1e-12  # sum and avg of doubles
VARIANCE_ERROR = 1e-9  # var and stddev
ROUNDED = {"sum": SUM_ERROR, "avg": SUM_ERROR, "mean": SUM_ERROR} | dict.fromkeys(
    ["var", "variance", "var_samp", "var_pop", "var_sample", "stddev", "stddev_samp", "stddev_pop"], VARIANCE_ERROR
)
# approx_distinct against the exact number: five standard errors of 1.6 %.
APPROXIMATE_ERROR = 0.08
ROUNDED["approx_distinct"] = APPROXIMATE_ERROR
ROUNDED |= dict.fromkeys(["median", "percentile_cont", "quantile_cont", "sigma_clipped_percentile"], SUM_ERROR)
ROUNDED |= dict.fromkeys(
    ["corr", "covar_pop", "covar_samp", "covar", "regr_slope", "regr_intercept", "regr_r2", "regr_avgx", "regr_avgy"]
    + ["regr_sxx", "regr_sxy", "regr_syy", "regr_count"],
    VARIANCE_ERROR,
)
# approx_percentile_cont against percentile_cont, up to 4096 buckets.
ROUNDED["approx_percentile_cont"] = 2**-8

TOKEN = re.compile(
    r"""'(?:[^']|'')*' | "[^"]*" | \d+(?:\.\d+)?(?:[eE][+-]?\d+)? | \w+ | ::|->>|->|<=|>=|<>|!=|\|\||!~\*|!~|~\* | \S""",
    re.X,
)
# A whole number beside one of them is a value: elsewhere it may be a place in GROUP BY, or say how a function works.
BESIDE_VALUES = ("+", "-", "*", "/", "%", "THEN", "ELSE", "AS")
CLAUSES = ("SELECT", "FROM", "WHERE", "GROUP", "HAVING", "QUALIFY", "ORDER", "LIMIT")
# Functions with OVER that number rows.
PLACES = ("ROW_NUMBER", "RANK", "DENSE_RANK")
SETTINGS = ["SET integer_division = true", "SET TimeZone = 'UTC'"]
TYPES = {"TEXT": "VARCHAR", "STRING": "VARCHAR", "JSON": "VARCHAR", "TIMESTAMP": "TIMESTAMP_NS"}
# What a CAST means to us: a DOUBLE is cut, not rounded, and a text is a number only if it looks like one.
CASTS = {
    "BIGINT": "_bigint",
    "INT": "_int",
    "INTEGER": "_int",
    "DOUBLE": "_double",
    "TEXT": "_text",
    "STRING": "_text",
    "VARCHAR": "_text",
}
WHOLE = r"[+-]?[0-9]+"


def cast_macro(name: str, kind: str) -> list[str]:
    """CAST and TRY_CAST to an integer."""
    number = "trunc(TRY_CAST(x AS DOUBLE))"
    text = f"regexp_full_match(TRY_CAST(x AS VARCHAR), '{WHOLE}')"
    body = (
        "CASE WHEN x IS NULL THEN NULL WHEN typeof(x) = 'DOUBLE' THEN {cast}({number} AS {kind}) "
        "WHEN typeof(x) = 'VARCHAR' AND NOT {text} THEN {bad} ELSE {cast}(x AS {kind}) END"
    )
    strict = body.format(cast="CAST", number=number, kind=kind, text=text, bad=f"CAST(error('no {kind}') AS {kind})")
    lenient = body.format(cast="TRY_CAST", number=number, kind=kind, text=text, bad="NULL")
    return [f"CREATE MACRO {name}(x) AS {strict}", f"CREATE MACRO _try{name}(x) AS {lenient}"]


# JSON is text behind a mark, that tells it from other text in the comparison.
JSON_MARK = "\x01json:"
FIELDS = {"->": "_field", "->>": "_field_text"}
MACROS = [
    *cast_macro("_bigint", "BIGINT"),
    *cast_macro("_int", "INTEGER"),
    "CREATE MACRO _double(x) AS CAST(x AS DOUBLE)",
    "CREATE MACRO _try_double(x) AS TRY_CAST(x AS DOUBLE)",
    "CREATE MACRO _text(x) AS CASE WHEN typeof(x) IN ('TIMESTAMP', 'TIMESTAMP_NS') "
    "THEN replace(CAST(x AS VARCHAR), ' ', 'T') "
    "WHEN typeof(x) = 'DOUBLE' AND isnan(TRY_CAST(x AS DOUBLE)) THEN 'NaN' ELSE CAST(x AS VARCHAR) END",
    "CREATE MACRO _try_text(x) AS _text(x)",
    # DuckDB 2.0 does not find its own nullif in some groupings.
    "CREATE MACRO _nullif(x, y) AS CASE WHEN x = y THEN NULL ELSE x END",
    "CREATE MACRO _no_nan(x) AS CASE WHEN isnan(x) THEN NULL ELSE x END",
    "CREATE MACRO btrim(x) AS trim(x)",
    "CREATE MACRO char_length(x) AS length(x)",
    "CREATE MACRO character_length(x) AS length(x)",
    "CREATE MACRO signum(x) AS sign(x)",
    "CREATE MACRO to_timestamp_millis(x) AS make_timestamp_ns(x * 1000000)",
    "CREATE MACRO to_timestamp_seconds(x) AS make_timestamp_ns(x * 1000000000)",
    # One value has no deviation, and is its own mean. Ours rounds nothing: what is just at the limit counts, as equal
    # values do, which a rounded mean misses.
    "CREATE MACRO _near(l, k) AS list_filter(l, lambda v: abs(v - list_avg(l)) "
    "<= k * coalesce(list_stddev_samp(l), 0) + 1e-12 * greatest(abs(v), abs(list_avg(l))))",
    f"CREATE MACRO _field(x, k) AS '{JSON_MARK}' || json_extract(substr(x, {len(JSON_MARK) + 1}), k)",
    f"CREATE MACRO _field_text(x, k) AS json_extract_string(substr(x, {len(JSON_MARK) + 1}), k)",
]
RENAMED = {"nullif": "_nullif", "var": "var_samp", "var_sample": "var_samp", "mean": "avg", "covar": "covar_samp", "approx_percentile_cont": "quantile_cont"}
# These have a form with WITHIN GROUP, which DuckDB has for percentile_cont only.
PERCENTILES = ("approx_percentile_cont", "sigma_clipped_percentile")


class Group(list):
    """What stands between brackets."""


class Raw(str):
    """What is in DuckDB's dialect already."""


@dataclass
class Relation:
    """What is known of a relation once its query is translated."""

    text: str
    has_origin: bool
    # By column; of `*` where the columns are not named.
    tolerance: dict[str, float] = field(default_factory=dict)
    # What its only SELECT reads: late rows have these columns.
    read: str | None = None
    # Its time attributes, and by how much (in nanoseconds) their watermark is behind.
    times: list[str] = field(default_factory=list)
    delay: int = 0
    # The columns of its DISTINCT ON: an upsert sink has the last row of each.
    key: list[str] = field(default_factory=list)
    # Whether it is made of tables alone: a stream that is joined with it keeps its origin.
    table: bool = False
    # The sources whose watermarks are its own, where rows can be late.
    made_of: list[int] = field(default_factory=list)
    # The rows that come too late for it.
    late: str | None = None


Scope = dict[str, Relation]


def translated(select: str, scope: Scope, clock: str, options: dict[str, str], sessions: list) -> Relation:
    """A query over the relations of `scope`; `clock` is what now() is, `options` are those of the view.

    `sessions` takes what has to be known of sessions to which rows can be late, before the query is run.
    """
    select = re.sub(r"\bFOR\s+SYSTEM_TIME\s+AS\s+OF\s+PROCTIME\s*\(\s*\)", "", select, flags=re.IGNORECASE)
    return Query(scope, clock, options, sessions).query(tree([named(token) for token in TOKEN.findall(select)]))


def scalar(expression: str, clock: str) -> str:
    """An expression over the columns of one relation."""
    return Query({}, clock, {}, []).expression(tree([named(token) for token in TOKEN.findall(expression)]))


def named(token: str) -> str:
    """A token, in quotes where only DuckDB has the word for itself."""
    return f'"{token.lower()}"' if is_word(token, "AT") else token


def tree(tokens: list[str]) -> Group:
    levels = [Group()]
    for token in tokens:
        if token == "(":
            levels.append(Group())
        elif token == ")":
            done = levels.pop()
            levels[-1].append(done)
        else:
            levels[-1].append(token)
    (whole,) = levels
    return whole


def is_word(token, *words: str) -> bool:
    return isinstance(token, str) and token.upper() in words


def cut(tokens: list, *words: str) -> list[list]:
    """Cuts at words, which are dropped."""
    parts = [[]]
    for token in tokens:
        if is_word(token, *words):
            parts.append([])
        else:
            parts[-1].append(token)
    return parts


def joined(parts: list[list]) -> list:
    """What [`cut`] has cut at commas."""
    return [token for number, part in enumerate(parts) for token in ([","] if number else []) + part]


def is_window(group: list) -> bool:
    called = len(group) == 2 and isinstance(group[1], Group) and isinstance(group[0], str)
    return called and group[0].lower() in oracle_windows.WINDOWS


def places_in(tokens: list) -> bool:
    """Whether rows are numbered."""
    for token in tokens:
        is_query = isinstance(token, Group) and bool(token) and is_word(token[0], "SELECT", "WITH")
        if (isinstance(token, Group) and not is_query and places_in(token)) or (isinstance(token, str) and is_word(token, *PLACES)):
            return True
    return False


def orders_of(tokens: list) -> list[str]:
    """The columns by which the windows of `lag` are ordered."""
    found = []
    for place, token in enumerate(tokens):
        if isinstance(token, Group):
            is_query = bool(token) and is_word(token[0], "SELECT", "WITH")
            found += [] if is_query else orders_of(token)
        elif is_word(token, "OVER") and not is_word(tokens[place - 2], *PLACES):
            found.append(tokens[place + 1][-1])
    return found


def name_of(token: str) -> str:
    return token[1:-1] if token.startswith('"') else token.lower()


def names_in(tokens: list):
    for token in tokens:
        if isinstance(token, Group):
            yield from names_in(token)
        elif not token.startswith("'"):
            yield name_of(token)


@dataclass
class Sessions:
    """Rows that are put into sessions, or are late to all, which SQL alone cannot tell: see oracle_lateness.py."""

    number: int
    source: str
    where: str
    time: str
    keys: list[str]
    mark: str
    lengths: tuple[int, int]  # the gap, and the lateness that is allowed

    def rows(self) -> str:
        keys = ", ".join(["0", *self.keys])
        kept = f"{self.time} IS NOT NULL" + (f" AND ({self.where})" if self.where else "")
        columns = f"_origin, epoch_ns({self.time}), {oracle_lateness.epoch('_origin')}, {self.mark}"
        return f"SELECT {columns}, {keys} FROM {self.source} WHERE {kept}"

    def joined(self, alias: str) -> str:
        edges = "make_timestamp_ns(_first) AS _window_start, make_timestamp_ns(_end) AS _window_end"
        return f"(SELECT _rows.*, {edges} FROM (SELECT * FROM {self.source}) AS _rows JOIN _sessions{self.number} ON _origin = _of) AS {alias}"

    def late(self) -> str:
        return f"SELECT * EXCLUDE (_origin) FROM {self.source} WHERE _origin IN (SELECT _of FROM _late{self.number})"


class Query:
    def __init__(self, scope: Scope, clock: str, options: dict[str, str], sessions: list):
        self.scope = dict(scope)
        self.clock = clock
        self.options = options
        self.sessions = sessions
        self.horizon = options.get("deduplicate_horizon")
        self.origin: str | None = None
        self.times: list[str] = []
        self.unique: list[str] = []
        self.tables = False
        self.delay = 0
        self.made_of: list[int] = []
        self.late: str | None = None
        self.judges = False  # whether rows of the streams in FROM can be late

    # -- queries

    def query(self, tokens: list) -> Relation:
        head = ""
        if [token.upper() for token in tokens[-2:] if isinstance(token, str)] == ["EMIT", "CHANGES"]:
            tokens = tokens[:-2]  # early results: the last ones are the same
        if is_word(tokens[0], "WITH"):
            head, tokens = self.common(tokens[1:])
        branches, words = [[]], []
        for token in tokens:
            if is_word(token, "UNION", "EXCEPT", "INTERSECT"):
                words.append(token.upper())
                branches.append([])
            elif is_word(token, "ALL") and words and not branches[-1]:
                words[-1] += " ALL"
            else:
                branches[-1].append(token)
        relations = [self.branch(branch) for branch in branches]
        if len(relations) == 1:
            only = relations[0]
            added = {name: text and head + text for name, text in [("read", only.read), ("late", only.late)]}
            return replace(only, text=head + only.text, **added)
        ordered = all(word == "UNION ALL" for word in words) and all(r.has_origin for r in relations)
        texts = []
        for index, relation in enumerate(relations):
            origin = f", [_origin[1], _origin[2], {index}] || _origin[3:] AS _origin" if ordered else ""
            hidden = " EXCLUDE (_origin)" if relation.has_origin else ""
            texts.append(f"SELECT *{hidden}{origin} FROM ({relation.text})")
        text = texts[0] + "".join(f" {word} {text}" for word, text in zip(words, texts[1:]))
        # Columns match by position and have the names of the first.
        worst = max((max(r.tolerance.values(), default=0.0) for r in relations), default=0.0)
        tolerance = {name: worst for name in relations[0].tolerance} | {"*": worst}
        times = relations[0].times if all(r.times for r in relations) else []
        made_of = sorted({index for relation in relations for index in relation.made_of})
        return Relation(head + text, ordered, tolerance, times=times, delay=max(r.delay for r in relations), made_of=made_of)

    def branch(self, tokens: list) -> Relation:
        if len(tokens) == 1 and isinstance(tokens[0], Group):
            return self.query(tokens[0])
        return self.select(tokens)

    def common(self, tokens: list) -> tuple[str, list]:
        """The relations of a WITH, and what stands behind them."""
        parts = []
        while True:
            name, _, body, *tokens = tokens
            relation = self.query(body)
            self.scope[name_of(name)] = relation
            parts.append(f"{name} AS ({relation.text})")
            if not (tokens and tokens[0] == ","):
                return f"WITH {', '.join(parts)} ", tokens
            tokens = tokens[1:]

    def select(self, tokens: list) -> Relation:
        clauses: dict[str, list] = {}
        for token in tokens:
            if is_word(token, *CLAUSES) and not self.is_inside(token, clauses):
                current = clauses.setdefault(token.upper(), [])
            else:
                current.append(token)
        self.judges |= self.of_stream(clauses.get("WHERE", []))
        source, columns, origin = self.source(clauses.get("FROM", []))
        self.origin = origin
        read = f"SELECT *{' EXCLUDE (_origin)' if origin else ''} FROM {source}" if source else None
        tables = self.tables
        source = self.windowed(clauses, source)
        self.lagging(clauses, source)
        items = clauses["SELECT"]
        distinct = is_word(items[0], "DISTINCT")
        on = items[2] if distinct and is_word(items[1], "ON") else None
        expressions = cut(items[3:] if on else items[1:] if distinct else items, ",")
        distinct = distinct and not on
        grouped = "GROUP" in clauses or any(self.aggregates(item) for item in expressions)
        numbered = places_in(items) or "QUALIFY" in clauses
        kept = origin and not distinct and not grouped and not orders_of(items) and not numbered and not self.subqueries(clauses.get("WHERE", []))
        texts, tolerance = [], {}
        for item in expressions:
            texts.append(self.item(item, origin))
            tolerance |= self.tolerance(item, columns)
        if kept:
            texts.append(f"{origin} AS _origin")
        text = f"SELECT {'DISTINCT ' if distinct else ''}{', '.join(texts)}"
        text += f" FROM {source}" if source else ""
        for word in CLAUSES[2:]:
            if word in clauses:
                text += f" {word} {self.expression(clauses[word])}"
        if on:
            text = self.first_of_each(text, cut(on, ","), expressions)
        # Those of a group are the window, and windows that are grouped by.
        times = [name for item in expressions if not grouped or "GROUP" in clauses for name in self.time(item)]
        key = [name_of(part[-1]) for part in cut(on, ",") if isinstance(part[-1], str)] if on else []
        if not on and all(item == ["*"] for item in expressions):
            key = self.unique
        made_of = self.made_of if kept else []
        return Relation(text, bool(kept), tolerance, read, times, self.delay, key, tables, made_of, self.late)

    def mark(self) -> str | None:
        """The watermark by which the rows of the FROM are judged, if they can be late."""
        return oracle_lateness.judged_by(self.made_of, self.origin) if self.origin and self.made_of else None

    def of_stream(self, tokens: list) -> bool:
        """Whether a condition looks into a stream, by IN or EXISTS: by a distance in time."""
        for group in (token for token in tokens if isinstance(token, Group)):
            if group and is_word(group[0], "SELECT"):
                names = [name_of(b) for a, b in zip(group, group[1:]) if is_word(a, "FROM") and isinstance(b, str)]
                relations = [self.scope[name] for name in names if name in self.scope]
                if any(relation.times and not relation.table for relation in relations):
                    return True
            elif self.of_stream(group):
                return True
        return False

    @staticmethod
    def of_late(source: str, where: str, condition: str) -> str:
        """The rows of a FROM that are late, with the columns that are read."""
        where = f"({where}) AND " if where else ""
        return f"SELECT * EXCLUDE (_origin) FROM {source} WHERE {where}{condition}"

    def lagging(self, clauses: dict[str, list], source: str) -> None:
        """Rows without the time by which `lag` orders them are none; that time is the only one that is left."""
        orders = orders_of(clauses["SELECT"])
        if orders:
            self.times = [name_of(orders[0])]
            present = [orders[0], "IS", "NOT", "NULL"]
            clauses["WHERE"] = [Group(clauses["WHERE"]), "AND", *present] if "WHERE" in clauses else present
            if mark := self.mark():
                time = f"epoch_ns({self.expression(orders[:1])})"
                self.late = self.of_late(source, self.expression(clauses["WHERE"]), f"{time} < {mark}")
                clauses["WHERE"] += ["AND", Raw(f"{time} >= {mark}")]

    def ties(self, over: list) -> str:
        """What decides between rows that are equal in the order of row_number: of the newest ones the later record."""
        if not self.origin:
            return ""
        last = cut(over[next(place for place, token in enumerate(over) if is_word(token, "ORDER")) + 2 :], ",")[-1]
        if not any(is_word(token, "DESC") for token in last):
            return f", {self.origin}"
        by = self.expression(last[: next(place for place, token in enumerate(last) if is_word(token, "DESC"))])
        return f", CASE WHEN typeof({by}) LIKE 'TIMESTAMP%' THEN {self.origin} END DESC, {self.origin}"

    def time(self, item: list) -> list[str]:
        """The names of time attributes that a column of a SELECT shows as they are."""
        if item[-1:] == ["*"]:
            return self.times
        column, name = (item[:-2], item[-1]) if len(item) > 2 and is_word(item[-2], "AS") else (item, item[-1])
        plain = len(column) == 1 or (len(column) == 3 and column[1] == ".")
        plain = plain and isinstance(column[-1], str)
        called = {name_of(column[-1]), "".join(map(name_of, column))} if plain else set()
        return [name_of(name)] if called & set(self.times) else []

    def first_of_each(self, text: str, on: list[list], items: list[list]) -> str:
        """DISTINCT ON, of the query without it."""
        if self.origin is None:
            raise ValueError("DISTINCT ON of rows that come from no record is not understood")
        hidden = [f"_key{number}" for number in range(len(on))]
        added = "".join(f", {self.key(key, items)} AS {name}" for key, name in zip(on, hidden))
        if self.horizon == "unbounded":
            horizon, time = None, "0"
        else:
            horizon = oracle_windows.nanos(["INTERVAL", f"'{self.horizon}'"]) if self.horizon else self.delay
            time = f'epoch_ns("{self.times[0]}")'
        at = text.index(f" AS _origin FROM ") + len(" AS _origin")
        rows, order = f"{text[:at]}{added}, {time} AS _time{text[at:]}", "_origin"
        if self.made_of:
            order = f"list_prepend({oracle_lateness.epoch('_origin')}, _origin)"
        if self.made_of and horizon is not None:
            oldest = f"_time + {horizon} {{}} {oracle_lateness.judged_by(self.made_of, '_origin')}"
            self.late = f"SELECT * EXCLUDE ({', '.join(hidden)}, _time, _origin) FROM ({rows}) WHERE {oldest.format('<')}"
            rows = f"SELECT * FROM ({rows}) WHERE {oldest.format('>=')}"
        return oracle_windows.first_of_each(rows, hidden, horizon, order)

    def windowed(self, clauses: dict[str, list], source: str) -> str:
        """The FROM with a window of GROUP BY; the columns that name it take its place in the clauses."""
        groups = cut(clauses.get("GROUP", [])[1:], ",")
        place = next((place for place, group in enumerate(groups) if is_window(group)), None)
        if place is None:
            return source
        kind, (time, *lengths) = groups[place][0].lower(), cut(groups[place][1], ",")
        lengths = [oracle_windows.nanos(length) for length in lengths]
        items = cut(clauses["SELECT"], ",")
        groups[place : place + 1] = [[name] for name in oracle_windows.EDGES]
        groups = [self.edges(group) for group in groups]
        mark, allowed = self.mark(), self.options.get("allowed_lateness")
        allowed = oracle_windows.nanos(["INTERVAL", f"'{allowed}'"]) if allowed else 0
        if kind == "session":
            keys = [self.key(group, items) for group in groups if group[0] not in oracle_windows.EDGES.values()]
            where = self.expression(clauses.pop("WHERE", []))
            # The name by which columns may be called: of one relation, behind which nothing is joined.
            alias = clauses["FROM"][-1]
            if mark:
                found = Sessions(len(self.sessions), source, where, self.expression(time), keys, mark, (lengths[0], allowed))
                self.sessions.append(found)
                source, self.late = found.joined(alias), found.late()
            else:
                source = oracle_windows.sessions(source, where, self.expression(time), lengths[0], keys, alias)
        else:
            windows = oracle_windows.of_time(kind, self.expression(time), lengths)
            if mark:
                last = f"(SELECT max(epoch_ns(_window_end)) + {allowed} FROM (SELECT 1){windows})"
                self.late = self.of_late(source, self.expression(clauses.get("WHERE", [])), f"{last} <= {mark}")
                windows = oracle_windows.of_time(kind, self.expression(time), lengths, f"_at_end + {allowed} > {mark}")
            source += windows
        clauses["GROUP"] = ["BY", *joined(groups)]
        self.times = list(oracle_windows.EDGES.values())[kind == "session" :]
        named = [[*item, "AS", item[0]] if len(item) == 1 and item[0] in oracle_windows.EDGES else item for item in items]
        clauses["SELECT"] = joined([self.edges(item) for item in named])
        if "HAVING" in clauses:
            clauses["HAVING"] = self.edges(clauses["HAVING"])
        return source

    def edges(self, tokens: list) -> list:
        """The edges of the window; in aggregates, subqueries and behind AS the names are those of columns."""
        out: list = Group() if isinstance(tokens, Group) else []
        for index, token in enumerate(tokens):
            before = tokens[index - 1] if index else None
            if isinstance(token, Group):
                aggregate = isinstance(before, str) and before.lower() in self.AGGREGATES
                query = bool(token) and is_word(token[0], "SELECT", "WITH")
                filtered = is_word(before, "FILTER") or (is_word(before, "GROUP") and index > 1)
                out.append(token if aggregate or query or filtered else self.edges(token))
            elif is_word(token, *map(str.upper, oracle_windows.EDGES)) and not is_word(before, "AS", "."):
                out.append(oracle_windows.EDGES[token.lower()])
            else:
                out.append(token)
        return out

    def key(self, group: list, items: list[list]) -> str:
        """An expression of GROUP BY, which may be the place or the name of one that is selected."""
        if len(group) == 1 and isinstance(group[0], str):
            named = [item for item in items if len(item) > 2 and is_word(item[-2], "AS") and item[-1] == group[0]]
            found = items[int(group[0]) - 1] if group[0].isdigit() else named[0] if named else group
            group = found[:-2] if len(found) > 2 and is_word(found[-2], "AS") else found
        return self.expression(group)

    @staticmethod
    def is_inside(word: str, clauses: dict) -> bool:
        """The FROM of IS DISTINCT FROM, and the GROUP of WITHIN GROUP."""
        last = [None, None, *(list(clauses.values())[-1] if clauses else [])]
        if is_word(word, "GROUP"):
            return is_word(last[-1], "WITHIN")
        return is_word(word, "FROM") and is_word(last[-1], "DISTINCT") and is_word(last[-2], "IS", "NOT")

    def source(self, tokens: list) -> tuple[str, dict[str, float], str | None]:
        """Text of a FROM, the tolerance of its columns, and the expression for the origin of its rows."""
        text, tolerance, origins, rest, found = "", {}, [], [], []
        tokens = oracle_from.plain(tokens)
        joined_names = [name_of(b) for a, b in zip([",", *tokens], tokens) if is_word(a, "JOIN", ",") and isinstance(b, str)]
        streams = [name for name in joined_names if name in self.scope and self.scope[name].times and not self.scope[name].table]
        judges = self.judges or (len(streams) > 1 and self.options.get("state_retention") != "unbounded")
        previous, window = ",", None
        for index, token in enumerate(tokens):
            starts = is_word(previous, "JOIN", ",")
            if starts and oracle_from.is_window(token) and isinstance((tokens[index + 1 :] or [None])[0], Group):
                window = token
                continue
            if window:
                name, *parts = cut(token, ",")
                relation = self.scope[name_of(name[0])]
                part = oracle_from.rows(window, name[0], parts, self.expression)
                if not is_word((tokens[index + 1 :] or [""])[0], "AS"):
                    part += f" AS {name[0]}"
                window = None
            elif starts and isinstance(token, Group):
                relation = self.query(token)
                part = f"({relation.text})"
            elif is_word(previous, "LATE") and isinstance(token, Group):
                view = self.scope[name_of(token[0])]
                late = view.late or f"SELECT * FROM ({view.read}) WHERE FALSE"
                relation = Relation(f"({late})", False)
                rest.pop()
                part = relation.text
            elif starts and name_of(token) in self.scope:
                relation = self.scope[name_of(token)]
                part = token
                if judges and relation.made_of and relation.has_origin:
                    time, mark = relation.times[0], oracle_lateness.judged_by(relation.made_of, "_origin")
                    part = f'(SELECT * FROM {token} WHERE "{time}" IS NULL OR epoch_ns("{time}") >= {mark})'
            else:
                rest.append(token)
                previous = token if isinstance(token, str) else ""
                continue
            text += f" {self.expression(rest)}"
            rest = []
            text += f" {part}"
            origins.append(relation.has_origin)
            found.append(relation)
            tolerance |= {name: max(value, tolerance.get(name, 0.0)) for name, value in relation.tolerance.items()}
            previous = ""
        self.tables = bool(found) and all(relation.table for relation in found)
        alone = bool(found) and all(relation.table for relation in found[1:])
        only = alone and origins[0]
        self.times = found[0].times if alone else []
        rest = self.two_streams(tokens, found, rest)
        self.made_of = found[0].made_of if alone else []
        self.unique = found[0].key if len(found) == 1 else []
        self.delay = max((relation.delay for relation in found), default=0)
        return f"{text} {self.expression(rest)}".strip(), tolerance, "_origin" if only else None

    def two_streams(self, tokens: list, found: list[Relation], rest: list) -> list:
        """Notes the times of a join of two streams. Gives the end of the FROM, where `state_retention` adds to it."""
        if len(found) != 2 or any(relation.table for relation in found) or not any(is_word(token, "ON") for token in rest):
            return rest
        at = max(place for place, token in enumerate(rest) if is_word(token, "ON"))
        condition = rest[at + 1 :]
        names = [tokens[place + 1] for place, token in enumerate(tokens) if is_word(token, "AS")]
        compared = []
        for alias, relation in zip(names, found):
            used = [c for a, dot, c in zip(condition, condition[1:], condition[2:]) if (a, dot) == (alias, ".") and name_of(c) in relation.times]
            compared.append((alias, (used or [f'"{time}"' for time in relation.times] or [None])[0]))
        # Those of a side that may be missing are none.
        kind = next((token.upper() for token in tokens if is_word(token, "LEFT", "RIGHT", "FULL")), "")
        kept = {"": compared, "LEFT": compared[:1], "RIGHT": compared[1:], "FULL": []}[kind]
        self.times = [f"{alias}.{name_of(time)}" for alias, time in kept if time]
        length = self.options.get("state_retention", "unbounded")
        if length == "unbounded":
            return rest
        left, right = [["epoch_ns", Group([alias, ".", time])] for alias, time in compared]
        nanos = oracle_windows.nanos(["INTERVAL", f"'{length}'"])
        return [*rest[: at + 1], Group(condition), "AND", "abs", Group([*left, "-", *right]), "<=", str(nanos)]

    def subqueries(self, tokens: list) -> bool:
        """Whether a condition looks into anything but tables."""
        inner = [token for token in tokens if isinstance(token, Group)]
        return any(self.subqueries(group) if not group or not is_word(group[0], "SELECT", "WITH") else not self.of_table(group) for group in inner)

    def of_table(self, query: Group) -> bool:
        """Whether a subquery reads one table."""
        names = [name_of(b) for a, b in zip(query, query[1:]) if is_word(a, "FROM", "JOIN", ",") and isinstance(b, str)]
        known = [self.scope[name] for name in names if name in self.scope]
        return len(known) == 1 and known[0].table

    # -- columns

    def item(self, tokens: list, origin: str | None) -> str:
        if tokens[-1:] == ["*"] and (len(tokens) == 1 or tokens[-2] == "."):
            return "".join(tokens) + (" EXCLUDE (_origin)" if origin else "")
        text = self.expression(tokens)
        # A call without a name has that of its function.
        rest = tokens[2:]
        called = not rest or (len(rest) == 2 and is_word(rest[0], "FILTER"))
        called = called and len(tokens) > 1 and isinstance(tokens[1], Group) and isinstance(tokens[0], str)
        return f"{text} AS {tokens[0].lower()}" if called and not is_word(tokens[0], *KEYWORDS) else text

    def tolerance(self, tokens: list, columns: dict[str, float]) -> dict[str, float]:
        if tokens[-1:] == ["*"] and (len(tokens) == 1 or tokens[-2] == "."):
            return columns
        worst = 0.0
        for name in names_in(tokens):
            worst = max(worst, columns.get(name, columns.get("*", 0.0) if columns.keys() == {"*"} else 0.0))
        for index, token in enumerate(tokens):
            worst = max(worst, self.rounding(tokens[index:]))
        last = tokens[-1]
        if isinstance(last, Group) and len(tokens) > 1:
            last = tokens[-2]
        return {name_of(last) if isinstance(last, str) else "?": worst}

    def rounding(self, tokens: list) -> float:
        """The error of the aggregates in an expression that begins here."""
        first = tokens[0]
        if isinstance(first, Group):
            return max((self.rounding(first[index:]) for index in range(len(first))), default=0.0)
        called = len(tokens) > 1 and isinstance(tokens[1], Group)
        return ROUNDED.get(name_of(first), 0.0) if called else 0.0

    # -- expressions

    AGGREGATES = {
        *ROUNDED,
        *("count", "min", "max", "first_value", "last_value", "bool_and", "bool_or", "string_agg", "array_agg"),
        *("bit_and", "bit_or", "bit_xor"),
    }

    def aggregates(self, tokens: list) -> bool:
        for index, token in enumerate(tokens):
            if isinstance(token, Group):
                if token and is_word(token[0], "SELECT", "WITH"):
                    continue
                if self.aggregates(token):
                    return True
            elif index + 1 < len(tokens) and isinstance(tokens[index + 1], Group):
                if token.lower() in self.AGGREGATES:
                    return True
        return False

    def expression(self, tokens: list) -> str:
        out: list[str] = []
        index = 0
        while index < len(tokens):
            token = tokens[index]
            following = tokens[index + 1] if index + 1 < len(tokens) else None
            if isinstance(token, Raw):
                out.append(token)
                index += 1
            elif isinstance(token, Group):
                inner = self.inner(token)
                out.append(f"({inner})")
                index += 1
            elif token in FIELDS:
                sign = following == "-"
                key = self.expression(tokens[index + 1 : index + 2 + sign])
                out.append(f"{FIELDS[token]}({out.pop()}, {key})")
                index += 2 + sign
            elif token == "." and out:
                out[-1] += f".{following}"
                index += 2
            elif token == "::":
                out.append(self.converted(out.pop(), following, try_=False))
                index += 2
            elif is_word(token, "OVER"):
                by = f", {self.origin}" if self.origin else ""
                if is_word(tokens[index - 2], *PLACES):
                    by = self.ties(following) if is_word(tokens[index - 2], "ROW_NUMBER") else ""
                out.append(f"OVER ({self.expression(following)}{by})")
                index += 2
            elif isinstance(following, Group) and re.match(r"\w", token) and not is_word(token, *KEYWORDS):
                ignored = [is_word(*pair) for pair in zip(tokens[index + 2 : index + 4], ("IGNORE", "NULLS"))] == [True, True]
                if token.lower() in PERCENTILES and is_word((tokens[index + 2 :] or [""])[0], "WITHIN"):
                    tokens = [*tokens[: index + 1], self.within(following, tokens[index + 4]), *tokens[index + 5 :]]
                    following = tokens[index + 1]
                index += 2 * ignored
                condition, used = self.filter(tokens[index + 2 :])
                if ignored:
                    present = f"({self.ordered(following)[0]}) IS NOT NULL"
                    condition = f"{present} AND ({condition})" if condition else present
                out.append(self.call(token.lower(), following, condition))
                index += 2 + used
            else:
                out.append(f"CAST({token} AS BIGINT)" if self.is_value(tokens, index) else token)
                index += 1
        return " ".join(out)

    @staticmethod
    def is_value(tokens: list, index: int) -> bool:
        """Whether a whole number is a value, which is a BIGINT to us and may be an INTEGER in DuckDB."""
        around = tokens[max(index - 1, 0) : index] + tokens[index + 1 : index + 2]
        return tokens[index].isdigit() and any(is_word(token, *BESIDE_VALUES) for token in around)

    @staticmethod
    def within(constants: Group, order: Group) -> Group:
        """f(p) WITHIN GROUP (ORDER BY x DESC) as f(x, 1 - p)."""
        descending = is_word(order[-1], "DESC")
        argument = order[2:-1] if is_word(order[-1], "ASC", "DESC") else order[2:]
        return Group([*argument, ",", *(["1", "-"] if descending else []), *constants])

    def inner(self, group: Group) -> str:
        if group and is_word(group[0], "SELECT", "WITH"):
            query = Query(self.scope, self.clock, self.options, self.sessions)
            query.judges = self.of_stream([group])
            relation = query.query(group)
            hidden = " EXCLUDE (_origin)" if relation.has_origin else ""
            return f"SELECT *{hidden} FROM ({relation.text})"
        return self.expression(group)

    def filter(self, tokens: list) -> tuple[str | None, int]:
        """The condition of FILTER (WHERE ...), if that is what follows, and how many tokens it takes."""
        if len(tokens) > 1 and is_word(tokens[0], "FILTER") and isinstance(tokens[1], Group):
            return self.expression(tokens[1][1:]), 2
        return None, 0

    def call(self, name: str, group: Group, condition: str | None) -> str:
        if name == "now":
            return f"TIMESTAMP_NS '{self.clock}'"
        if name == "to_timestamp":
            value, form = cut(group, ",")
            return f"CAST(strptime({self.expression(value)}, {self.expression(form)}) AS TIMESTAMP_NS)"
        if name in ("cast", "try_cast"):
            value, kind = cut(group, "AS")
            return self.converted(self.expression(value), kind[0], try_=name == "try_cast")
        arguments, order = self.ordered(group)
        origin = f", {self.origin}" if self.origin else ""
        if name in ("first_value", "last_value"):
            present = f"({self.first_order(group)}) IS NOT NULL"
            condition = f"{present} AND ({condition})" if condition else present
            text = f"{name.removesuffix('_value')}({arguments} ORDER BY {order}{origin})"
        elif name in ("string_agg", "array_agg"):
            # NULL is above all values, as in PostgreSQL; DuckDB puts it last both ways.
            order = order and re.sub(r"\bDESC\b(?! NULLS)", "DESC NULLS FIRST", order)
            by = ", ".join(part for part in (order, self.origin) if part)
            if is_word(group[0], "DISTINCT"):
                by = f"{self.expression(cut(group[1:], ',')[0])} NULLS FIRST"
            text = f"{name}({arguments}{f' ORDER BY {by}' if by else ''})"
        elif name == "approx_distinct":
            # Ours is exact up to 256 values, DuckDB's is not.
            text = f"count(DISTINCT {self.expression(group)})"
        elif name == "sigma_clipped_percentile":
            distinct = "DISTINCT " if is_word(group[0], "DISTINCT") else ""
            parts = [self.expression(part) for part in cut(group[1:] if distinct else group, ",")]
            value, fraction, sigmas = f"CAST({parts[0]} AS DOUBLE)", *parts[1:]
            condition = f"isfinite({value})" + (f" AND ({condition})" if condition else "")
            values = f"list({distinct}{value}) FILTER (WHERE {condition})"
            return f"list_aggregate(_near({values}, {sigmas}), 'quantile_cont', {fraction})"
        else:
            text = f"{RENAMED.get(name, name)}({self.expression(group)})"
        text += f" FILTER (WHERE {condition})" if condition else ""
        if name in ("corr", "regr_slope"):
            # Of values that do not vary; PostgreSQL has NULL, DuckDB NaN.
            text = f"_no_nan({text})"
        return f"('{JSON_MARK}' || to_json({text}))" if name == "array_agg" else text

    def ordered(self, group: Group) -> tuple[str, str | None]:
        """The arguments of a call, and what stands behind ORDER BY in it."""
        for index, token in enumerate(group):
            if is_word(token, "ORDER") and is_word(group[index + 1], "BY"):
                return self.expression(group[:index]), self.expression(group[index + 2 :])
        return self.expression(group), None

    def first_order(self, group: Group) -> str:
        """The first expression behind ORDER BY."""
        first = cut(cut(group, "ORDER")[1][1:], ",")[0]
        return self.expression(first[:-1] if is_word(first[-1], "ASC", "DESC") else first)

    def converted(self, value: str, kind: str, try_: bool) -> str:
        macro = CASTS.get(kind.upper())
        if macro:
            return f"{'_try' if try_ else ''}{macro}({value})"
        return f"{'TRY_CAST' if try_ else 'CAST'}({value} AS {TYPES.get(kind.upper(), kind)})"


KEYWORDS = (
    *("IN", "AND", "OR", "NOT", "WHEN", "THEN", "ELSE", "CASE", "AS", "BETWEEN", "LIKE", "ILIKE", "IS", "FROM", "BY"),
    *("WHERE", "HAVING", "SELECT", "ON", "DISTINCT", "EXISTS", "UNION", "ALL", "FILTER", "JOIN", "USING", "INTERVAL"),
)
