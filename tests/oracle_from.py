"""Windows in FROM, for the oracle: rows with the windows that hold them, as DuckDB computes them."""

import oracle_windows


def plain(tokens: list) -> list:
    """The tokens of a FROM without what only Flink writes: TABLE(TUMBLE(TABLE t, DESCRIPTOR(x), ...)). What PARTITION BY
    names stands behind the other arguments."""
    out = []
    for index, token in enumerate(tokens):
        if isinstance(token, list) and is_call(token) and out and out[-1] == "TABLE":
            out[-1:] = plain(token)
        elif isinstance(token, list) and index and is_window(tokens[index - 1]):
            out.append(type(token)(arguments(token)))
        else:
            out.append(token)
    return out


def is_window(token) -> bool:
    return isinstance(token, str) and token.lower() in oracle_windows.WINDOWS


def is_call(group: list) -> bool:
    return len(group) == 2 and is_window(group[0])


def arguments(tokens: list) -> list:
    out, keys, index = [], [], 0
    while index < len(tokens):
        token = tokens[index]
        if token == "TABLE":
            index += 1
        elif token == "PARTITION":
            end = index + 2 + next(n for n, one in enumerate(tokens[index + 2 :]) if one == "DESCRIPTOR") - 1
            keys = [",", *tokens[index + 2 : end]]
            index = end
        elif token == "DESCRIPTOR":
            out += tokens[index + 1]
            index += 2
        else:
            out.append(token)
            index += 1
    return [*out, *keys]


def rows(kind: str, relation: str, parts: list[list], expression) -> str:
    """What stands in FROM instead of a window of `relation`; `parts` are its other arguments."""
    kind, count = kind.lower(), 2 if kind.lower() in ("hop", "cumulate") else 1
    time, lengths = expression(parts[0]), [oracle_windows.nanos(part) for part in parts[1 : count + 1]]
    edges = "_window_start AS window_start, _window_end AS window_end"
    if kind == "session":
        keys = [expression(part) for part in parts[count + 1 :]]
        of_rows = oracle_windows.sessions(relation, "", time, lengths[0], keys, "_rows")
        hidden = ", ".join(["_time", "_begins", "_session", "_window_start", "_window_end", *(f"_key{n}" for n in range(len(keys)))])
        return f"(SELECT * EXCLUDE ({hidden}), {edges} FROM {of_rows})"
    return f"(SELECT _rows.*, {edges} FROM {relation} AS _rows{oracle_windows.of_time(kind, f'_rows.{time}', lengths)})"
