"""jail.conf(5) as the model reads it: one block per jail, parameters, lists, and ``${name}``."""

from __future__ import annotations

import re

_TOKEN = re.compile(
    r"""\s+|\#[^\n]*|//[^\n]*|/\*.*?\*/"""
    r"""|(?P<text>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')"""
    r"""|(?P<mark>\+=|[={};,])"""
    r"""|(?P<word>[^\s"'{}=;,\#+]+|\+)""",
    re.DOTALL,
)
_VARIABLE = re.compile(r"\$\{([\w.]+)\}|\$(\w+)")

Parameters = dict[str, list[str]]


class ConfigurationRefused(Exception):
    """jail(8) cannot read the file; the text is what it says after the file's name."""


def read_configuration(text: str, jail: str) -> Parameters | None:
    """The parameters of ``jail``; a flag is an empty list. None: the file does not name it."""
    tokens = _tokens(text)
    found: Parameters | None = None
    everywhere: Parameters = {}
    while tokens:
        name = tokens.pop(0)
        if tokens and tokens[0] == "{":
            tokens.pop(0)
            block = _block(tokens)
            if name in (jail, "*"):
                found = {**(found or {}), **block}
        else:
            _parameter(name, tokens, everywhere)
    if found is None:
        return None
    return _expanded({**everywhere, **found}, jail)


def _block(tokens: list[str]) -> Parameters:
    parameters: Parameters = {}
    while True:
        if not tokens:
            raise ConfigurationRefused("unexpected EOF")
        name = tokens.pop(0)
        if name == "}":
            return parameters
        _parameter(name, tokens, parameters)


def _parameter(name: str, tokens: list[str], into: Parameters) -> None:
    values = []
    is_added = tokens[:1] == ["+="]
    if tokens[:1] in (["="], ["+="]):
        tokens.pop(0)
        while tokens and tokens[0] not in (";", "{", "}"):
            values.append(tokens.pop(0))
    if not tokens:
        raise ConfigurationRefused("unexpected EOF")
    if tokens.pop(0) != ";":
        raise ConfigurationRefused(f"syntax error near {name}")
    values = [value for value in values if value != ","]
    into[name] = [*into.get(name, []), *values] if is_added else values


def _tokens(text: str) -> list[str]:
    tokens = []
    position = 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise ConfigurationRefused("unexpected EOF")
        position = match.end()
        if match["text"]:
            tokens.append(re.sub(r"\\(.)", r"\1", match["text"][1:-1]))
        elif match["mark"] or match["word"]:
            tokens.append(match["mark"] or match["word"])
    return tokens


def _expanded(parameters: Parameters, jail: str) -> Parameters:
    known = {"name": jail, **{key: ", ".join(values) for key, values in parameters.items()}}

    def value_of(match: re.Match[str]) -> str:
        return known.get(match[1] or match[2], "")

    return {
        key: [_VARIABLE.sub(value_of, value) for value in values]
        for key, values in parameters.items()
    }
