"""Where ghost text ends, in the code that people write."""

from __future__ import annotations

import random
import time
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import botframework
from botframework.worker.brackets import BEFORE_CHARS, Brackets, Match
from botframework.worker.endings import Endings

EOG = ""
"""The model ended by itself: no rule did."""


class Case(NamedTuple):
    """One file with the cursor at ``|``, what the model would write, and what is shown of it."""

    name: str
    file: str
    generated: str
    shown: str
    ending: str
    one_line: bool = False
    late: bool = False


def run(case: Case, *, chunks: list[int] | None = None, around: tuple[str, str] | None = None) -> tuple[str, str]:
    """Feed a case's text in chunks of the given sizes (the rest at once), and flush if no rule ended it."""
    prefix, suffix = around or case.file.split("|", 1)
    endings = Endings(prefix, suffix, one_line=case.one_line)
    text, shown, ending = case.generated, "", ""
    for size in [*(chunks or []), len(text)]:
        sure, ending = endings.feed(text[:size], late=case.late)
        shown += sure
        text = text[size:]
        if ending:
            break
    return shown + endings.flush(), ending


PYTHON = [
    Case(
        "a docstring whose end is there already",
        'def f():\n    """Do.\n\n    |\n    """\n    return 1\n',
        'Or do not.\n    """\n    return 1\n',
        "Or do not.",
        "suffixLine",
    ),
    Case(
        "arguments whose last line is there already",
        "f(\n    a,\n    |\n    c, d)\n",
        "b,\n    c, d)\ng()\n",
        "b,",
        "suffixLine",
    ),
    Case(
        "the body of a function, and the next function is not shown",
        "def area(w, h):\n    |\n",
        "return w * h\n\n\ndef volume(w, h, d):\n    return w * h * d\n",
        "return w * h",
        "blankLine",
    ),
    Case(
        "a body leaves the function without a blank line",
        "class A:\n    def f(self):\n        |\n",
        "return 1\n    def g(self):\n        return 2\n",
        "return 1",
        "dedent",
    ),
    Case(
        "a body typed behind its head ends with its block",
        "def area(w, h):|\n",
        "\n    size = w * h\n    return size\nprint(area(1, 2))\n",
        "\n    size = w * h\n    return size",
        "dedent",
    ),
    Case(
        "an else belongs to the if that the cursor's line opened",
        "    if a:|\n",
        "\n        b()\n    else:\n        c()\n    d()\n",
        "\n        b()\n    else:\n        c()",
        "dedent",
    ),
    Case(
        "try, except and finally stay together",
        "    try:|\n",
        "\n        f()\n    except OSError as error:\n        log(error)\n    finally:\n        g()\n    elsewhere()\n",
        "\n        f()\n    except OSError as error:\n        log(error)\n    finally:\n        g()",
        "dedent",
    ),
    Case(
        "inside an if-block the code behind it is not repeated",
        "def f(a):\n    if a:\n        |\n    return a\n",
        "a = a + 1\n    return a\n",
        "a = a + 1",
        "dedent",
    ),
    Case(
        "the next line of the file",
        "def f(a):\n    |\n    return a\n",
        "a = a + 1\n    return a\n",
        "a = a + 1",
        "suffixLine",
    ),
    Case(
        "the cursor's own line becomes the next one",
        "def f(a):\n    ret|\n    return a\n",
        "urn a\n",
        "",
        "suffixLine",
    ),
    Case(
        "a line that only begins like the next one stays",
        "def f(a):\n    |\n    return a\n",
        "return a.b\n",
        "return a.b",
        EOG,
    ),
    Case(
        "the same words, indented deeper, are another line",
        "def f(a):\n    |\n    return a\n",
        "if a:\n        return a\n    b = a\n    return a",
        "if a:\n        return a\n    b = a",
        EOG,
    ),
    Case(
        "blank lines inside a class",
        "|\n",
        "class A:\n    x = 1\n\n    def f(self):\n        return self.x\n\n\nclass B:\n    pass\n",
        "class A:\n    x = 1\n\n    def f(self):\n        return self.x",
        "blankLine",
    ),
    Case(
        "blank lines inside a call",
        "|",
        "f(\n    a,\n\n    b,\n)\ng()\n\nh()",
        "f(\n    a,\n\n    b,\n)\ng()",
        "blankLine",
    ),
    Case(
        "an argument in a call that the editor closed",
        "print(|)\n",
        '"hello", name)\n',
        '"hello", name)',
        EOG,
    ),
    Case(
        "an argument before others",
        "print(|, file=out)\n",
        '"hello", name)\n',
        '"hello", name',
        "closer",
        one_line=True,
    ),
    Case(
        "an argument list over lines, closed below",
        "x = f(\n    a,\n    |\n)\n",
        "b,\n    c,\n)\ny = 1\n",
        "b,\n    c,",
        "closer",
    ),
    Case(
        "an argument list at the end of the file, not closed",
        "x = f(\n    a,\n    |",
        "b,\n    c,\n)\ny = 1\n",
        "b,\n    c,\n)",
        "dedent",
    ),
    Case(
        "a smile in a string closes nothing",
        "print(|)",
        '":) :]")\n',
        '":) :]")',
        EOG,
    ),
    Case(
        "brackets in a comment are no brackets",
        "x = 1  # see (a\n|\n",
        "y = 2  # or b)\nz = 3\n\n",
        "y = 2  # or b)\nz = 3",
        "blankLine",
    ),
    Case(
        "a string over lines may leave the indentation",
        "def f():\n    |",
        'sql = """\nselect *\n\nfrom t\n"""\n    return run(sql)\n\nx = 1',
        'sql = """\nselect *\n\nfrom t\n"""\n    return run(sql)',
        "blankLine",
    ),
    Case(
        "a cursor in column 0 of a body",
        "class A:\n    x = 1\n|",
        "    y = 2\nz = A()\n",
        "    y = 2",
        "dedent",
    ),
    Case(
        "two blank lines before a new function are shown",
        "def f():\n    return 1\n|",
        "\n\ndef g():\n    return 2\n\n\n\n",
        "\n\ndef g():\n    return 2",
        "blankLine",
    ),
    Case(
        "nothing but line ends",
        "x = 1\n|",
        "\n\n\n\n\n\n",
        "",
        "blankLine",
    ),
    Case(
        "a finished line is followed by nothing",
        "x = 1|\n",
        "\n\ny = 2\n",
        "",
        "blankLine",
    ),
    Case(
        "statements follow each other",
        "    a = 1|\n",
        "\n    b = 2\n    c = 3\n\n    d = 4\n",
        "\n    b = 2\n    c = 3",
        "blankLine",
    ),
    Case(
        "the same line three times",
        "|",
        "print(1)\nprint(1)\nprint(1)\nprint(1)\n",
        "print(1)\nprint(1)",
        "repetition",
    ),
    Case(
        "the same two lines three times",
        "|",
        "a = b\nb = a\na = b\nb = a\na = b\nb = a\n",
        "a = b\nb = a\na = b\nb = a",
        "repetition",
    ),
    Case(
        "the lines above the cursor again and again",
        "import os\nimport sys\n|",
        "import os\nimport sys\nimport os\nimport sys\n",
        "import os\nimport sys",
        "repetition",
    ),
    Case(
        "a unit that repeats inside a line",
        "rows = |",
        '{"prefix":"a"}' * 30,
        '{"prefix":"a"}' * 2,
        "repetition",
    ),
    Case(
        "a list of zeros is no repetition",
        "x = |",
        "[0, 0, 0, 0, 0, 0]\n",
        "[0, 0, 0, 0, 0, 0]",
        EOG,
    ),
    Case(
        "a ruler is no repetition",
        "# |",
        "-" * 76 + "\n",
        "-" * 76,
        EOG,
    ),
    Case("one line", "x = |\n", "f(1)\ny = 2\n", "f(1)", "lineEnd", one_line=True),
    Case("one line that stays empty", "x = 1|\n", "\ny = 2\n", "", "lineEnd", one_line=True),
    Case("the time is over at a line end", "|", "a = 1\nb = 2\nc = 3\n", "a = 1", "time", late=True),
    Case(
        "the time is over, but there is nothing yet",
        "def f():|",
        "\n    return 1\n    x\n",
        "\n    return 1",
        "time",
        late=True,
    ),
    Case(
        "a decorator and a method in a class",
        "class A:\n    |\n",
        "@property\n    def x(self):\n        return 1\n\n    @property\n",
        "@property\n    def x(self):\n        return 1",
        "blankLine",
    ),
    Case(
        "a dict at the end of the file",
        "SIZES = {|",
        '\n    "a": 1,\n    "b": 2,\n}\nNAMES = []\n',
        '\n    "a": 1,\n    "b": 2,\n}',
        "dedent",
    ),
    Case("the rest of the line is not written twice", "x = foo(|, bar)\n", "a, bar)\n", "a", "closer", one_line=True),
    Case(
        "a comparison before the rest of the line",
        "if |== other:\n",
        "self.name == other:\n",
        "self.name ",
        "lineEnd",
        one_line=True,
    ),
    Case("a blank before the rest of the line stays", "f(|b)\n", "a, ", "a, ", EOG, one_line=True),
]

BRACES = [
    Case(
        "TypeScript: a body that the editor closed below",
        "function f(a: number) {\n  |\n}\n",
        "return a + 1;\n}\n\nfunction g() {\n",
        "return a + 1;",
        "closer",
    ),
    Case(
        "TypeScript: a body at the end of the file, not closed",
        "function f(a: number) {\n  |",
        "return a + 1;\n}\n\nfunction g() {\n",
        "return a + 1;\n}",
        "blankLine",
    ),
    Case(
        "TypeScript: a head whose brace the editor closed behind the cursor",
        "function f(a: number) {|}\n",
        "\n  return a + 1;\n}\nfunction g() {\n",
        "\n  return a + 1;\n}",
        "dedent",
    ),
    Case(
        "TypeScript: a callback",
        "items.forEach((item) => {|",
        "\n  use(item);\n});\ndone();\n",
        "\n  use(item);\n});",
        "dedent",
    ),
    Case(
        "TypeScript: inside a callback, closed below",
        "items.forEach((item) => {\n  |\n});\n",
        "use(item);\n});\ndone();\n",
        "use(item);",
        "closer",
    ),
    Case(
        "TypeScript: a method, the next one is not shown",
        "class A {\n  |\n}\n",
        "get x(): number {\n    return this._x;\n  }\n\n  set x(v: number) {\n",
        "get x(): number {\n    return this._x;\n  }",
        "blankLine",
    ),
    Case(
        "TypeScript: else behind a brace",
        "  if (a) {|\n",
        "\n    b();\n  } else {\n    c();\n  }\n  d();\n",
        "\n    b();\n  } else {\n    c();\n  }",
        "dedent",
    ),
    Case(
        "TypeScript: inside an if-block with an else below",
        "  if (a) {\n    |\n  } else {\n    c();\n  }\n",
        "b();\n  } else {\n",
        "b();",
        "closer",
    ),
    Case(
        "TypeScript: a condition inside its brackets",
        "if (|) {\n",
        "a > 0 && b) {\n",
        "a > 0 && b",
        "closer",
        one_line=True,
    ),
    Case("TypeScript: a template string with brackets", "const s = |;\n", "`${a} :) ${b}`;\n", "`${a} :) ${b}`;", EOG),
    Case("TypeScript: an object's last line", "const o = {\n  a: 1,\n  |\n};\n", "b: 2,\n};\n", "b: 2,", "closer"),
    Case(
        "TypeScript: imports",
        'import a from "a";\n|\n',
        'import b from "b";\nimport c from "c";\n\nconst',
        'import b from "b";\nimport c from "c";',
        "blankLine",
    ),
    Case(
        "C: a loop in a function",
        "int f(int n) {\n    int s = 0;\n    |\n    return s;\n}\n",
        "for (int i = 0; i < n; i++) {\n        s += i;\n    }\n    return s;\n}\n",
        "for (int i = 0; i < n; i++) {\n        s += i;\n    }",
        "suffixLine",
    ),
    Case(
        "C: nested braces at the end of the file",
        "int f(int n) {\n    if (n) {\n        |",
        "return 1;\n    }\n    return 0;\n}\n",
        "return 1;\n    }",
        "dedent",
    ),
    Case(
        "C: only braces are missing",
        "int f(int n) {\n    if (n) {\n        |",
        "return 1;\n    }\n}\nint g;\n",
        "return 1;\n    }\n}",
        "dedent",
    ),
    Case("C: a brace on its own line", "int f(void)\n{\n    |\n}\n", "return 0;\n}\n", "return 0;", "closer"),
    Case(
        "C: a case ends before the next",
        "switch (x) {\n    case 1:\n        |\n    case 2:\n        break;\n}\n",
        "f();\n        break;\n    case 2:\n",
        "f();\n        break;",
        "dedent",
    ),
    Case("C: a character literal with a bracket", "while (c != |)\n", "')')\n", "')')", EOG),
    Case(
        "C: CRLF",
        "int f() {\r\n    |\r\n}\r\n",
        "int a = 1;\r\n    return a;\r\n}\r\n",
        "int a = 1;\r\n    return a;",
        "closer",
    ),
    Case("C: a struct initialiser with bare braces", "int m[] = {|};\n", "1, 2, 3};\n", "1, 2, 3};", EOG),
    Case(
        "Go: a function body with tabs",
        "func f() error {\n\t|\n}\n",
        "if err := g(); err != nil {\n\t\treturn err\n\t}\n\treturn nil\n}\n",
        "if err := g(); err != nil {\n\t\treturn err\n\t}\n\treturn nil",
        "closer",
    ),
    Case(
        "Go: a switch whose cases are not indented",
        "func f(x int) {\n\t|\n}\n",
        "switch x {\n\tcase 1:\n\t\tg()\n\n\tcase 2:\n\t\th()\n\t}\n\n\ti()\n",
        "switch x {\n\tcase 1:\n\t\tg()\n\n\tcase 2:\n\t\th()\n\t}",
        "blankLine",
    ),
    Case("Go: a struct literal's fields", "return &A{\n\t|\n}\n", "X: 1,\n\tY: 2,\n}\n", "X: 1,\n\tY: 2,", "closer"),
    Case(
        "Rust: lifetimes are no strings",
        "fn f<'a>(x: &'a str) -> Option<&'a str> {\n    |\n}\n",
        "match x.len() {\n        0 => None,\n        _ => Some(x),\n    }\n}\n",
        "match x.len() {\n        0 => None,\n        _ => Some(x),\n    }",
        "closer",
    ),
    Case(
        "Rust: a chain of calls",
        "    let v = xs|\n",
        "\n        .iter()\n        .map(|x| x + 1)\n        .collect();\n    v\n".replace("||", "|"),
        "\n        .iter()\n        .map(|x| x + 1)\n        .collect();",
        "dedent",
    ),
    Case(
        "Rust: an impl block",
        "impl A {\n    |\n}\n",
        "pub fn new() -> Self {\n        Self { x: 0 }\n    }\n\n    pub fn x(&self)",
        "pub fn new() -> Self {\n        Self { x: 0 }\n    }",
        "blankLine",
    ),
]

OTHERS = [
    Case(
        "YAML: a mapping's children",
        "services:|\n",
        "\n  web:\n    image: nginx\nvolumes:\n  data:\n",
        "\n  web:\n    image: nginx",
        "dedent",
    ),
    Case(
        "YAML: items of a list",
        "steps:\n  - |\n",
        "name: build\n    run: make\n  - name: test\n    run: make test\n\non:",
        "name: build\n    run: make",
        "dedent",
    ),
    Case("YAML: the next key is there already", "a:\n  b: 1\n  |\nc: 2\n", "d: 3\nc: 2\n", "d: 3", "dedent"),
    Case("YAML: the next sibling is there already", "a: 1\n|\nc: 2\n", "b: 2\nc: 2\n", "b: 2", "suffixLine"),
    Case(
        "Markdown: a paragraph",
        "# Title\n\n|\n",
        "Some text that\ngoes on (see [1]).\n\n## Next\n",
        "Some text that\ngoes on (see [1]).",
        "blankLine",
    ),
    Case(
        "Markdown: an apostrophe",
        "|",
        "It doesn't matter (really), isn't it?\n\nNo.",
        "It doesn't matter (really), isn't it?",
        "blankLine",
    ),
    Case("Markdown: a numbered list", "1) one\n|\n3) three\n", "2) two\n3) three\n", "2) two", "suffixLine"),
    Case(
        "Markdown: a table's border",
        "| a | b |\n|".replace("| a | b |", "¦ a ¦ b ¦"),
        "¦-----------¦-----------¦-----------¦\n¦ 1 ¦ 2 ¦ 3 ¦\n\n",
        "¦-----------¦-----------¦-----------¦\n¦ 1 ¦ 2 ¦ 3 ¦",
        "blankLine",
    ),
    Case(
        "Markdown: a fence with blank lines",
        "|",
        "```python\na = 1\n\nb = 2\n```\n\nText",
        "```python\na = 1\n\nb = 2\n```",
        "blankLine",
    ),
    Case(
        "HTML: an element's children",
        "<ul>\n  |\n</ul>\n",
        "<li>a</li>\n  <li>b</li>\n</ul>\n<p>\n",
        "<li>a</li>\n  <li>b</li>",
        "dedent",
    ),
    Case("HTML: an element and its end", "<ul>|\n", "\n  <li>a</li>\n</ul>\n<p>\n", "\n  <li>a</li>\n</ul>", "dedent"),
    Case("HTML: the text of an element", "<li>|</li>\n", "one</li>\n", "one", "lineEnd", one_line=True),
    Case(
        "Shell: a case closes nothing",
        "case $1 in\n  |\nesac\n",
        "start)\n    run\n    ;;\n  stop)\n    halt\n    ;;\nesac\n",
        "start)\n    run\n    ;;\n  stop)\n    halt\n    ;;",
        "dedent",
    ),
    Case("Shell: an if and its fi", "if [ -f a ]; then|\n", "\n  rm a\nfi\necho done\n", "\n  rm a\nfi", "dedent"),
    Case("Ruby: a method and its end", "def f|\n", "\n  1\nend\ng\n", "\n  1\nend", "dedent"),
    Case("Ruby: the end is there already", "def f\n  |\nend\n", "1\nend\n", "1", "dedent"),
    Case(
        "Lua: a block inside a block",
        "function f()\n  |\nend\n",
        "if a then\n    b()\n  end\nend\n",
        "if a then\n    b()\n  end",
        "dedent",
    ),
    Case("SQL: a list of columns", "SELECT |\nFROM t;\n", "a,\n       b\nFROM t;\n", "a,\n       b", "dedent"),
    Case(
        "JSON: an array's items",
        '{"a": [\n    |\n]}\n',
        '{"x": 1},\n    {"x": 2}\n]}\n',
        '{"x": 1},\n    {"x": 2}',
        "closer",
    ),
    Case("JSON: a closer that matches nothing", "|\n", "}\n", "", "closer"),
    Case("CSS: a rule", "a {|\n", "\n  color: #fff;\n}\nb {\n", "\n  color: #fff;\n}", "dedent"),
    Case("an empty file", "|", "hello\n", "hello", EOG),
    Case("no text at all", "x = |", "", "", EOG),
    Case("emoji", "s = |", '"🙂 (ok)"\n', '"🙂 (ok)"', EOG),
]
CASES = [*PYTHON, *BRACES, *OTHERS]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_ghost_text_ends_where_a_person_would_look_up(case: Case) -> None:
    """In files of many languages the shown text and the rule that ended it are these."""
    assert run(case) == (case.shown, case.ending)


SIGNS = ["    ", "  ", "\t", "\n", "\r\n", "\r", "\n\n", *"()[]{}\"'`#\\", '"""', "//", "};", "</p>"]
PHRASES = ["if x:", "else", "end", "a = 1", "return a", "f(x)", ", ", "0, ", '{"a":1}', "ab" * 9, "é", "🙂", "don't"]
TEXT = st.lists(st.sampled_from([*SIGNS, *PHRASES]), max_size=30).map("".join)


@given(
    around=st.tuples(TEXT, TEXT),
    text=TEXT,
    sizes=st.lists(st.integers(0, 7), max_size=40),
    how=st.tuples(st.booleans(), st.booleans()),
)
@example(around=("", ""), text="a\r\n\r\n", sizes=[2, 1], how=(False, False))
def test_it_does_not_matter_how_the_text_is_cut(
    around: tuple[str, str], text: str, sizes: list[int], how: tuple[bool, bool]
) -> None:
    """Any chunking shows the same text with the same ending; what is shown begins the generated text, byte for byte."""
    one_line, late = how
    case = Case("", "", text, "", "", one_line, late)

    whole = run(case, around=around)

    assert run(case, chunks=sizes, around=around) == whole
    assert run(case, chunks=[1] * len(text), around=around) == whole
    assert text.startswith(whole[0])
    assert not whole[0].endswith(("\n", "\r"))


@given(before=TEXT, behind=TEXT, text=TEXT)
def test_one_line_is_one_line(before: str, behind: str, text: str) -> None:
    """Whatever surrounds the cursor, text that was asked for one line has no line end."""
    shown, _ = run(Case("", f"{before}|{behind}", text, "", "", one_line=True))

    assert not set("\r\n") & set(shown)


@given(before=TEXT, behind=TEXT, text=TEXT)
def test_what_is_certain_is_never_taken_back(before: str, behind: str, text: str) -> None:
    """Text is given out once, in order, and after the ending nothing follows."""
    endings = Endings(before, behind, one_line=False)
    shown, ended = "", ""
    for char in text:
        sure, ending = endings.feed(char)
        if ended:
            assert (sure, ending) == ("", ended)
        shown, ended = shown + sure, ended or ending
        assert text.startswith(shown)
    rest = endings.flush()

    assert text.startswith(shown + rest)
    assert not (ended and rest)
    assert endings.flush() == ""


def test_text_flows_while_it_is_generated() -> None:
    """A line that nothing speaks against is not held until it is complete."""
    endings = Endings("def f():\n    ", "\n    return 1\n", one_line=False)

    assert endings.feed("x = ") == ("x =", "")
    assert endings.feed("2\n    ") == (" 2", "")
    assert endings.feed("ret") == ("", "")  # It may become the next line.
    assert endings.feed("ry()") == ("\n    retry()", "")


def test_the_time_counts_from_when_it_is_over() -> None:
    """Lines that ended in time stay; the next line end is the last."""
    endings = Endings("", "", one_line=False)

    assert endings.feed("a = 1\nb") == ("a = 1\nb", "")
    assert endings.feed(" = 2\nc", late=True) == (" = 2", "time")


def test_a_held_line_is_given_out_at_the_end() -> None:
    """A generation that stops in the middle of what might have been the next line keeps it."""
    endings = Endings("def f():\n    ", "\n    return 1\n", one_line=False)

    assert endings.feed("x = 2\n    retu") == ("x = 2", "")
    assert endings.flush() == "\n    retu"


@pytest.mark.parametrize(
    ("before", "behind", "text", "closer", "match"),
    [
        ("f(", "", "", ")", Match.TYPED),
        ("f(", ")", "", ")", Match.NOTHING),
        ("f(", ")", "g(", ")", Match.GENERATED),
        ("", "", "", ")", Match.STRAY),
        ("f(", ")", '":', ")", Match.TEXT),
        ("f('", "')", "a", ")", Match.TEXT),
        ("{\n  {\n", "\n}", "", "}", Match.TYPED),  # The one below is not indented: it closes the outer one.
        ("{\n  {\n", "\n  }\n}", "", "}", Match.NOTHING),
        ("// see (\n", "", "", ")", Match.TEXT),  # Whether the comment counts, nobody knows.
        ("f(a, // :)\n", "", "", ")", Match.TYPED),
        ("max((int) 1, b", "\nc = d(e, f))", "", ")", Match.TYPED),  # The next line is no longer inside.
        ("f(\n    g(a", "\n    b)", "", ")", Match.TYPED),
        ("f(a,", "\n  b)", "", ")", Match.NOTHING),
        ("if (a) {\n  b", "\nc\n}", "", "}", Match.TYPED),
        ("namespace a {\nint b;\n", "\nint c;\n}", "", "}", Match.NOTHING),
        ("switch a {\ncase 1:\n  b", "\ncase 2:\n}", "", "}", Match.NOTHING),
        ("#" * BEFORE_CHARS + "\n  {a", "\n  {b}\n}", "", "}", Match.TYPED),
        ("fn f<'a>(x: &'a str) {\n", "\n}", "", "}", Match.NOTHING),
        ("x = f(a, [b", "])", "", "]", Match.NOTHING),
        ("f(a) {", "", "b[0]", "}", Match.TYPED),
        ("(" + "\n" * BEFORE_CHARS, "", "", ")", Match.TEXT),  # The opener is too far away to be seen.
        ("(" + "\n" * BEFORE_CHARS, "\n)", "", ")", Match.NOTHING),
    ],
)
def test_what_a_closer_closes(before: str, behind: str, text: str, closer: str, match: Match) -> None:
    """Only what is open before the cursor and not closed behind it may be closed; in doubt the closer is let be."""
    assert Brackets(before, behind).closes(text, closer)[0] is match


def test_huge_files_and_lines_cost_no_more() -> None:
    """The text around the cursor is looked at near the cursor only: 50 MB take milliseconds."""
    lines = "    x = f(1)\n" * 4_000_000
    line = "x" * 20_000_000
    began = time.perf_counter()
    for before, behind in ((lines, lines), (line, line), ("(" * 20_000_000, ")" * 20_000_000)):
        endings = Endings(before, behind, one_line=False)
        endings.feed("a = b)\n}\n")

    assert time.perf_counter() - began < 0.5


def test_a_token_costs_microseconds() -> None:
    """A thousand lines of text take well under a second, that is, some microseconds a character."""
    text = "".join(f"    value_{number} = call(argument, [{number}])\n" for number in range(1_000))
    endings = Endings("def f():\n", "", one_line=False)
    began = time.perf_counter()
    for at in range(0, len(text), 4):
        assert endings.feed(text[at : at + 4])[1] == ""

    assert (time.perf_counter() - began) / (len(text) / 4) < 0.000_5


def test_real_code_is_not_cut_short_and_not_written_twice() -> None:
    """Lines taken out of this project's own files: they never end in `closer`, and what stands below stays unsaid."""
    files = [path.read_text(encoding="utf-8") for path in sorted(Path(botframework.__file__).parent.rglob("*.py"))]
    files = [text for text in files if len(text) > 2_000]
    choose = random.Random(1)
    holes = too_long = 0
    for _ in range(400):
        text = choose.choice(files)
        cut = choose.randrange(200, len(text) - 600)
        end = cut
        for _ in range(choose.randint(1, 8)):
            end = text.index("\n", end + 1)
        hole = text[cut:end]
        depths = [sum((char in "([{") - (char in ")]}") for char in hole[:at]) for at in range(len(hole) + 1)]
        if not hole.strip() or depths[-1] > min(depths):
            continue  # It opens what only the text below closes.
        holes += 1

        _, ending = run(Case("", "", hole, "", ""), around=(text[:cut], text[end:]))
        shown, _ = run(Case("", "", hole + text[end : end + 500], "", ""), around=(text[:cut], text[end:]))

        assert ending not in ("closer", "repetition"), (text[cut - 100 : cut], hole)
        too_long += len(shown) > len(hole)

    assert holes > 200
    assert too_long / holes < 0.02
