"""``macula call`` and ``macula register``: ask a program anywhere in the realm, and answer."""

from __future__ import annotations

import json
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Final, NoReturn

import typer

from maculaos.cli.ending import ending_on_signals
from maculaos.cli.mesh import (
    PatienceOption,
    SocketOption,
    TimeoutOption,
    ask,
    json_line,
    parse_value,
    print_json,
    tell,
)
from maculaos.client import caller
from maculaos.errors import MaculaError, UsageError
from maculaos.host.awaited import run_filter
from maculaos.host.filters import Bound
from maculaos.wire.values import MAX_VALUE_SIZE

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import TypeAlias

    from maculaos.client import Mesh, Value

    Handler: TypeAlias = Callable[[Value], Value | Awaitable[Value]]
    from maculaos.host.filters import Filtered

# Whoever writes JSON by hand takes more room than the value does on the wire.
MAX_OUTPUT: Final = 4 * MAX_VALUE_SIZE
MAX_COMPLAINT: Final = 300
# What a program that answers learns besides the value.
CALLER_VARIABLE: Final = "MACULA_CALLER"
METHOD_VARIABLE: Final = "MACULA_METHOD"


class Choice(StrEnum):
    """Which of several programs that answer a method is called."""

    NEAREST = "nearest"
    ROUND_ROBIN = "round-robin"
    RANDOM = "random"
    LEAST_PENDING = "least-pending"


def add_to(app: typer.Typer) -> None:
    """Add the verbs of this module."""
    app.command()(call)
    app.command()(register)


def call(  # noqa: PLR0913  # typer takes one parameter per option
    method: Annotated[str, typer.Argument(help="The method to call.")],
    value: Annotated[str | None, typer.Argument(help="JSON if it parses, else text.")] = None,
    choice: Annotated[
        Choice, typer.Option(help="Whom to call, if several answer.")
    ] = Choice.NEAREST,
    stream: Annotated[
        bool, typer.Option("--stream", help="Print every part of the answer, one on a line.")
    ] = False,
    cast: Annotated[bool, typer.Option("--cast", help="Want no answer.")] = False,
    timeout: TimeoutOption = 5.0,
    socket: SocketOption = None,
) -> None:
    """Call METHOD anywhere in the realm and print the result as JSON (bytes as they are)."""
    given = None if value is None else parse_value(value)
    if stream and cast:
        raise UsageError("--stream and --cast exclude each other", "give one of them")
    if stream:
        ask(socket, lambda mesh: _print_parts(mesh, method, given, timeout, choice))
    elif cast:
        ask(socket, lambda mesh: mesh.cast(method, given, timeout, choice=choice.value))
    else:
        _print(ask(socket, lambda mesh: mesh.call(method, given, timeout, choice=choice.value)))


async def _print_parts(
    mesh: Mesh, method: str, value: Value, timeout_s: float, choice: Choice
) -> None:
    async for part in mesh.stream(method, value, timeout_s, choice=choice.value):
        typer.echo(json_line(part))


def _print(result: Value) -> None:
    if isinstance(result, bytes):
        typer.echo(result, nl=False)
    else:
        print_json(result)


def register(  # noqa: PLR0913  # typer takes one parameter per option
    method: Annotated[str, typer.Argument(help="The method, such as math.add.")],
    command: Annotated[
        list[str] | None,
        typer.Argument(help="-- PROGRAM ARGUMENT...: value as JSON in, result as JSON out."),
    ] = None,
    reply: Annotated[str | None, typer.Option(help="Answer every call with this value.")] = None,
    echo: Annotated[bool, typer.Option("--echo", help="Answer with the value given.")] = False,
    concurrency: Annotated[
        int, typer.Option(min=1, max=1024, help="So many calls at once; more are refused.")
    ] = 8,
    limit: Annotated[
        float, typer.Option(min=0.001, max=3600, help="So many seconds may PROGRAM take.")
    ] = 60.0,
    run: Annotated[bool, typer.Option("--exec", hidden=True)] = False,
    wait: PatienceOption = 0.0,
    socket: SocketOption = None,
) -> None:
    """Answer calls of METHOD until interrupted: by a program, a fixed value, or an echo.

    PROGRAM runs once for each call, and ends when its caller gives up, or this verb does.

    It finds the node that calls in MACULA_CALLER, and the method in MACULA_METHOD.
    """
    if (reply is not None) + echo + bool(command) != 1 or (run and not command):
        raise UsageError(
            "register takes one of -- PROGRAM, --reply VALUE, --echo",
            "for example: macula register math.add -- python3 add.py",
        )
    handle = _handler(method, tuple(command or ()), reply, limit)
    ask(socket, lambda mesh: _serve(mesh, method, handle, concurrency), wait)


def _handler(method: str, program: tuple[str, ...], reply: str | None, limit_s: float) -> Handler:
    """What answers: ``program``, or ``reply``, or the value itself."""
    if program:
        return lambda value: _run(program, method, value, limit_s)
    if reply is None:
        return lambda value: value
    answer = parse_value(reply)
    return lambda _: answer


async def _serve(mesh: Mesh, method: str, handle: Handler, concurrency: int) -> NoReturn:
    # What runs for a call would go on without a caller, and without its limit.
    async with ending_on_signals(), mesh.register(method, handle, concurrency=concurrency):
        tell(f"answering {method} at {mesh.node_name}; Ctrl-C ends it")
        raise await mesh.wait_lost()


async def _run(program: tuple[str, ...], method: str, value: Value, limit_s: float) -> Value:
    given = value if isinstance(value, bytes) else json_line(value).encode()
    variables = {CALLER_VARIABLE: caller(), METHOD_VARIABLE: method}
    done = await run_filter(program, given, Bound(MAX_OUTPUT, limit_s), variables)
    if not done.is_ok:
        raise MaculaError(_complaint(program[0], done))
    if not done.output.strip():
        return None
    try:
        result: Value = json.loads(done.output)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{program[0]} did not print JSON", "print one JSON value") from error
    return result


def _complaint(program: str, done: Filtered) -> str:
    """One line for the caller: what the program said last, if it said anything."""
    last = done.said.strip().splitlines()[-1:] or [""]
    how = f"exit status {done.status}" if done.status is not None else "cut off"
    return f"{program}: {how}: {last[0][:MAX_COMPLAINT]}".rstrip(": ")
