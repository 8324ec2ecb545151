"""Settings: where values come from, which win, what is refused and how it is said."""

from __future__ import annotations

import itertools
import math
import os
import stat
import subprocess
import sys
from typing import TYPE_CHECKING, Any, get_args

import msgspec
import pytest

from botframework import config
from botframework.config import Layer, Settings, Source, merge
from botframework.config.merge import MAX_PROBLEMS_PER_LAYER, tree
from botframework.config.settings import MODEL_FILES
from botframework.config.sources import MAX_FILE_BYTES
from botframework.errors import ConfigError, ModelNotFound
from botframework.manager.load import choose
from botframework.wire import messages

if TYPE_CHECKING:
    from pathlib import Path

SOURCES = list(Source)
TRUSTED = SOURCES[:4]
WORKSPACE = SOURCES[4:]
LEAVES = sorted(tree()[0])


def value_of(settings: Settings, name: str) -> Any:
    """The value of a setting by its dotted wire name."""
    found: Any = msgspec.to_builtins(settings)
    for part in name.split("."):
        found = found[part]
    return found


def check(layers: list[Layer], name: str, expected: object, *problems: str) -> None:
    """Merge, compare one setting, and find each text in the problem of its place."""
    merged = merge(layers)

    assert value_of(merged.settings, name) == expected
    assert len(merged.problems) == len(problems)
    for problem, text in zip(merged.problems, problems, strict=True):
        assert text in f"{problem.key}: {problem.message}"


# --- precedence -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("nothing", [None, {}, [], {"completion": None}, {"completion": {}}, {"model": None}])
def test_nothing_means_defaults(nothing: object) -> None:
    """Missing, null and empty all mean defaults; Neovim's empty Lua table arrives as a list."""
    for source in Source:
        assert merge([Layer(source, nothing)]) == (Settings(), ())


@pytest.mark.parametrize(("weaker", "stronger"), list(itertools.pairwise(SOURCES)))
def test_each_source_beats_the_one_before(weaker: Source, stronger: Source) -> None:
    """The order of the sources decides, not the order in which they are given."""
    low = Layer(weaker, {"completion.maxTokens": "11" if weaker.name in {"ENVIRONMENT", "COMMAND_LINE"} else 11})
    high = Layer(stronger, {"completion.maxTokens": "22" if stronger.name in {"ENVIRONMENT", "COMMAND_LINE"} else 22})

    check([low, high], "completion.maxTokens", 22)
    check([high, low], "completion.maxTokens", 22)


def test_layers_merge_setting_by_setting() -> None:
    """A section in a stronger layer does not hide the rest of that section in a weaker one."""
    layers = [
        Layer(Source.USER_FILE, {"chat": {"temperature": 0.1, "topK": 7}}),
        Layer(Source.INITIALIZATION_OPTIONS, {"chat": {"topK": 8}}),
    ]

    assert merge(layers).settings.chat == config.Chat(temperature=0.1, top_k=8)


def test_dotted_keys() -> None:
    """Editors that keep flat settings may send them flat, also inside a section."""
    layers = [Layer(Source.INITIALIZATION_OPTIONS, {"chat.topK": 3, "completion": {"topK": 4}})]

    check(layers, "chat.topK", 3)
    check(layers, "completion.topK", 4)


def test_settings_change_at_run_time() -> None:
    """A new answer to workspace/configuration takes the old one's place, and nothing of the old one stays."""
    layers: tuple[Layer, ...] = (Layer(Source.USER_FILE, {"chat": {"topK": 5}}),)
    layers = config.replaced(layers, Layer(Source.WORKSPACE_CONFIGURATION, {"chat": {"topK": 6, "trim": False}}))
    assert merge(layers).settings.chat == config.Chat(top_k=6, trim=False)

    layers = config.replaced(layers, Layer(Source.WORKSPACE_CONFIGURATION, {"chat": {"trim": False}}))
    assert merge(layers).settings.chat == config.Chat(top_k=5, trim=False)


# --- trust ------------------------------------------------------------------------------------------------------------

MACHINE = [name for name in LEAVES if name.startswith(config.MACHINE_SETTINGS)]


def test_machine_settings_are_the_dangerous_ones() -> None:
    """Everything that chooses files or decides what stays in memory is named as such; behaviour is not."""
    behaviour = set(LEAVES) - set(MACHINE)

    machine = {"model", "models", "workspaceTrusted", "engine", "worker", "sessions"}
    assert {name.partition(".")[0] for name in MACHINE} == machine
    assert {name.partition(".")[0] for name in behaviour} == {
        "completion",
        "chat",
        "edit",
        "sessions",
        "log",
        "heartbeatS",
    }
    assert {name for name in behaviour if name.startswith("sessions.")} == config.ONLY_OFF == {"sessions.snapshots"}


@pytest.mark.parametrize("source", WORKSPACE)
@pytest.mark.parametrize("name", sorted(config.ONLY_OFF))
def test_workspace_may_only_switch_off(source: Source, name: str) -> None:
    """What writes the user's text to disk is the user's decision; a workspace may ask for less, never for more."""
    off, on = Layer(Source.USER_FILE, {name: False}), Layer(source, {name: True})

    check([Layer(source, {name: False})], name, False)
    check([off, on], name, False, f"{name}: can only be switched off")
    check([on], name, True)
    check(
        [Layer(Source.WORKSPACE_FILE, {name: False}), Layer(Source.WORKSPACE_CONFIGURATION, {name: True})],
        name,
        False,
        name,
    )


@pytest.mark.parametrize("source", WORKSPACE)
@pytest.mark.parametrize("name", MACHINE)
def test_workspace_may_not_set(source: Source, name: str) -> None:
    """What came with a workspace changes behaviour only, nested or dotted."""
    section, _, key = name.rpartition(".")
    default = value_of(Settings(), name)

    for values in ({name: 1}, {section: {key: 1}} if section else {name: "/m.gguf"}):
        check([Layer(source, values)], name, default, f"{name}: cannot be set by a workspace")


@pytest.mark.parametrize("source", TRUSTED)
def test_user_may_set_everything(source: Source) -> None:
    """The user's own sources reach every setting."""
    defaults = msgspec.to_builtins(Settings())
    defaults["model"] = "/models/a.gguf"
    defaults["models"] = dict.fromkeys(("folder", "fim", "chat", "embed", "rerank"), "/models") | {"diskGib": 8.0}
    if source.name in {"ENVIRONMENT", "COMMAND_LINE"}:
        values: dict[str, Any] = {name: str(value_of(msgspec.convert(defaults, Settings), name)) for name in LEAVES}
        values = {name: "0" if text == "None" else text for name, text in values.items() if text}
        values["engine.nThreads"] = "4"
    else:
        values = defaults

    assert merge([Layer(source, values)]).problems == ()


# --- bad values -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("completion.maxTokens", 0, "must be an integer from 1 to 1024"),
        ("completion.maxTokens", 1_025, "must be an integer from 1 to 1024"),
        ("completion.maxTokens", 2**63, "must be an integer from 1 to 1024"),
        pytest.param("completion.maxTokens", 16**5_000, "a huge integer is refused", id="huge"),
        ("completion.maxTokens", "64", "must be an integer"),
        ("completion.maxTokens", True, "must be an integer"),
        ("completion.maxTokens", 1.5, "must be an integer"),
        ("completion.maxTokens", {"a": 1}, "dict is refused"),
        ("completion.temperature", math.nan, "must be a number from 0 to 5"),
        ("completion.temperature", math.inf, "must be a number from 0 to 5"),
        ("completion.temperature", -0.1, "must be a number from 0 to 5"),
        ("completion.enabled", 1, "must be true or false"),
        ("engine.kvType", "q4_0", "must be one of 'f16', 'q8_0'"),
        ("engine.nThreads", 0, "must be an integer from 1 to 512"),
        ("chat.systemPrompt", "x" * 40_000, "must be a text of at most 32768 characters"),
        ("completion.minLogprob", 0.1, "must be a number from -100 to 0"),
        ("engine.fimTyped", "between", "must be one of 'after', 'auto', 'before'"),
        ("sessions.diskMib", 0, "must be an integer from 1 to"),
    ],
)
def test_bad_value_keeps_the_weaker_one(name: str, value: object, message: str) -> None:
    """A value of a wrong type or out of its limits is reported with the limits; the weaker layer's stays."""
    check([Layer(Source.INITIALIZATION_OPTIONS, {name: value})], name, value_of(Settings(), name), message)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("", "must be a text"),
        ("./evil.gguf", "a relative path"),
        ("evil.gguf", "a relative path"),
        ("qwen", "a relative path"),
        ("~nobody-of-us/m.gguf", "a relative path"),
        ("/a\0b", "NUL"),
        (5, "must be a text"),
    ],
)
def test_a_refused_model_is_not_replaced_by_another(value: object, message: str) -> None:
    """Who named a model hears that it cannot be used; neither a weaker layer's nor the embedded one takes its place."""
    layers = [Layer(Source.USER_FILE, {"model": "/other.gguf"}), Layer(Source.INITIALIZATION_OPTIONS, {"model": value})]
    merged = merge(layers)

    assert message in merged.problems[0].message
    with pytest.raises((ConfigError, ModelNotFound)):
        choose(merged.settings)


@pytest.mark.parametrize("name", sorted(MODEL_FILES - {"model"}))
def test_a_refused_model_of_a_role_is_not_replaced_either(name: str) -> None:
    """What was named stays named, and fails where it is loaded."""
    merged = merge([Layer(Source.USER_FILE, {name: "/other.gguf"}), Layer(Source.COMMAND_LINE, {name: "here.gguf"})])

    assert "absolute path" in merged.problems[0].message
    assert value_of(merged.settings, name) == "here.gguf"


EXTREMES = [math.nan, math.inf, -math.inf, -1, 2**31, 2**63, -(2**63), "", [], {}]
LIMITED = [name for name in LEAVES if "Meta" in repr(tree()[0][name].type) and name not in MODEL_FILES]
WITHIN = [("chat.systemPrompt", ""), ("completion.minLogprob", -1)]


@pytest.mark.parametrize(
    ("name", "value"), [pair for pair in itertools.product(LIMITED, EXTREMES) if pair not in WITHIN]
)
def test_extremes_are_refused(name: str, value: object) -> None:
    """Check 30, for settings: no limited setting takes an extreme, a NaN or a wrong type."""
    check([Layer(Source.USER_FILE, {name: value})], name, value_of(Settings(), name), "must be")


def test_quantised_cache_needs_flash_attention() -> None:
    """llama.cpp refuses the pair: it is mended here, where there is somebody to tell."""
    layers = [
        Layer(Source.USER_FILE, {"engine": {"kvType": "q8_0"}}),
        Layer(Source.ENVIRONMENT, {"engine.flashAttention": "false"}),
    ]

    check(layers[:1], "engine.kvType", "q8_0")
    check(layers, "engine.kvType", "f16", "needs engine.flashAttention")


@pytest.mark.parametrize(
    ("key", "hint"),
    [
        ("completion.maxToken", "did you mean completion.maxTokens?"),
        ("completion.max_tokens", "did you mean completion.maxTokens?"),
        ("Completion.Enabled", "did you mean completion.enabled?"),
        ("heartbeat", "did you mean heartbeatS?"),
        ("keepAliveS", "did you mean worker.keepAliveS?"),
        ("completions.maxTokens", "did you mean completion.maxTokens?"),
        ("zzzzzzzzzz", "unknown setting"),
    ],
)
def test_unknown_key_names_the_nearest(key: str, hint: str) -> None:
    """A misspelt key is reported with the name that was probably meant, or with none."""
    (problem,) = merge([Layer(Source.USER_FILE, {key: 1})]).problems

    assert problem.source is Source.USER_FILE
    assert problem.key == key
    assert problem.message.endswith(hint)


@pytest.mark.parametrize(
    ("section", "hint"),
    [
        ("completions", "did you mean completion?"),
        ("Engine", "did you mean engine?"),
        ("session", "did you mean sessions?"),
        ("zzzzzzzzzz", "unknown setting"),
    ],
)
def test_unknown_section_names_the_nearest(section: str, hint: str) -> None:
    """A misspelt section is reported once, with the section that was probably meant."""
    (problem,) = merge([Layer(Source.USER_FILE, {section: {"maxTokens": 1, "x": 2}})]).problems

    assert problem.key == section
    assert problem.message.endswith(hint)


def test_hostile_layer_is_bounded() -> None:
    """Thousands of bad keys, giant keys and control characters make a short, printable report."""
    values: dict[str, object] = {"chat": {"topK": 9}, "x" * 10**6: 1, "\x1b[31m\n": 1}
    values |= {f"key{number}": number for number in range(10_000)}
    merged = merge([Layer(Source.WORKSPACE_FILE, values)])

    assert merged.settings.chat.top_k == 9
    assert len(merged.problems) == MAX_PROBLEMS_PER_LAYER + 1
    assert all(len(problem.key) < 100 and problem.key.isprintable() for problem in merged.problems)


def test_deep_nesting_is_harmless() -> None:
    """Nesting is not followed below the sections."""
    deep: object = 1
    for _ in range(10_000):
        deep = {"completion": deep}

    assert merge([Layer(Source.INITIALIZATION_OPTIONS, deep)]).settings == Settings()


@pytest.mark.parametrize("values", [1, "x", [1], True])
def test_layer_that_is_no_table(values: object) -> None:
    """A client may send anything at all as its options."""
    merged = merge([Layer(Source.INITIALIZATION_OPTIONS, values), Layer(Source.USER_FILE, {"chat": values})])

    assert merged.settings == Settings()
    assert len(merged.problems) == 2


# --- sources ----------------------------------------------------------------------------------------------------------


def test_environment_mapping() -> None:
    """Each setting has one variable: its name in capitals with underscores."""
    environ = {
        "BOTFRAMEWORK_MODEL": "/m.gguf",
        "BOTFRAMEWORK_COMPLETION_MAX_TOKENS": "64",
        "BOTFRAMEWORK_COMPLETION_ENABLED": "false",
        "BOTFRAMEWORK_ENGINE_N_CTX_FIM": "2048",
        "BOTFRAMEWORK_WORKER_KEEP_ALIVE_S": "1.5",
        "BOTFRAMEWORK_CHAT_TOP_K": "",
        "BOTFRAMEWORK_DEBUG": "llm",
        "BOTFRAMEWORK_RUNTIME_DIR": "/x",
        "PATH": "/bin",
    }
    layer, problems = config.environment_layer(environ)
    merged = merge([layer])

    assert (problems, merged.problems) == ((), ())
    assert merged.settings == Settings(
        model="/m.gguf",
        completion=config.Completion(max_tokens=64, enabled=False),
        engine=config.Engine(n_ctx_fim=2_048),
        worker=config.Worker(keep_alive_s=1.5),
    )


def test_unknown_variable_names_the_nearest() -> None:
    """A misspelt variable is reported, too."""
    layer, (problem,) = config.environment_layer({"BOTFRAMEWORK_COMPLETION_MAXTOKENS": "1"})

    assert layer.values == {}
    assert problem.message.endswith("did you mean BOTFRAMEWORK_COMPLETION_MAX_TOKENS?")


def test_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``--model`` and ``--set key=value``; a relative model is the word of who stands in that folder."""
    monkeypatch.chdir(tmp_path)
    layer, problems = config.argument_layer(
        "./m.gguf", ["chat.systemPrompt=a=b", "completion.maxTokens = 5", "nonsense"]
    )
    settings = merge([layer]).settings

    assert (settings.model, settings.chat.system_prompt, settings.completion.max_tokens) == (
        str(tmp_path / "m.gguf"),
        "a=b",
        5,
    )
    assert [problem.key for problem in problems] == ["nonsense"]
    for words in (
        config.argument_layer(None, ["model=m.gguf"]),
        config.environment_layer({"BOTFRAMEWORK_MODEL": "m.gguf"}),
    ):
        assert merge([words[0]]).settings.model == str(tmp_path / "m.gguf")


def test_home_is_expanded(monkeypatch: pytest.MonkeyPatch) -> None:
    """``~`` works in every source that may name a model."""
    monkeypatch.setenv("HOME", "/home/someone")

    check([Layer(Source.USER_FILE, {"model": "~/m.gguf"})], "model", "/home/someone/m.gguf")


def test_user_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The user's file, the environment and the command line make the layers known at start."""
    file = tmp_path / "botframework.toml"
    file.write_text('\ufeffmodel = "/m.gguf"\n[completion]\nmaxTokens = 64\ntopK = 1\n[chat]\ntopP = 1\n')
    monkeypatch.setenv("BOTFRAMEWORK_CONFIG_FILE", str(file))
    layers, problems = config.startup_layers(None, ["completion.topK=3"], {"BOTFRAMEWORK_COMPLETION_TOP_K": "2"})
    merged = merge(layers)

    assert (problems, merged.problems) == ((), ())
    assert merged.settings == Settings(
        model="/m.gguf", completion=config.Completion(max_tokens=64, top_k=3), chat=config.Chat(top_p=1.0)
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[completion]\nmaxTokens = \n", "line 2"),
        (b"a = 1\na = 2\n", "not valid TOML"),
        (b"\xff\xfe", "not valid TOML"),
        (b"a = " + b"[" * 50_000, "not valid TOML"),
        (b"#" * (MAX_FILE_BYTES + 1), "larger than"),
    ],
)
def test_broken_file_is_reported(tmp_path: Path, content: bytes, message: str) -> None:
    """A broken file counts as empty and says where it is broken."""
    file = tmp_path / "botframework.toml"
    file.write_bytes(content)
    layer, (problem,) = config.read_file(file, Source.WORKSPACE_FILE)

    assert layer == Layer(Source.WORKSPACE_FILE, {})
    assert message in problem.message


def test_file_that_is_none(tmp_path: Path) -> None:
    """No file is no problem; a folder, a FIFO or a name with NUL is one, and none of them blocks."""
    os.mkfifo(tmp_path / "fifo")

    assert config.read_file(tmp_path / "absent", Source.USER_FILE)[1] == ()
    for name in (".", "fifo", "a\0b"):
        layer, problems = config.read_file(tmp_path / name, Source.USER_FILE)
        assert (layer.values, len(problems)) == ({}, 1)


# --- the tree ---------------------------------------------------------------------------------------------------------


def test_limits_fit_the_wire() -> None:
    """A value that a setting accepts is accepted by the message that carries it."""
    for sampling in ({"temperature": 5.0}, {"topK": 1_000}, {"topP": 1.0}, {"minP": 1.0}, {"repeatPenalty": 2.0}):
        msgspec.convert(sampling, messages.Sampling)
        for section in ("completion", "chat"):
            assert merge([Layer(Source.USER_FILE, {section: sampling})]).problems == ()
            above = {key: value * 1.001 if isinstance(value, float) else value + 1 for key, value in sampling.items()}
            assert merge([Layer(Source.USER_FILE, {section: above})]).problems
    top = merge([Layer(Source.USER_FILE, {"chat.maxTokens": messages.MAX_TOKENS_LIMIT})])
    assert top.settings.chat.max_tokens == messages.MAX_TOKENS_LIMIT
    assert merge([Layer(Source.USER_FILE, {"chat.deadlineMs": messages.MAX_DEADLINE_MS})]).problems == ()


def test_every_number_and_text_is_limited() -> None:
    """No setting accepts a number or a text without limits."""
    for name, leaf in tree()[0].items():
        kinds = [leaf.type, *get_args(leaf.type)]
        assert not {int, float, str} & set(kinds) or any(hasattr(kind, "__metadata__") for kind in kinds), name


def test_defaults_are_within_their_limits() -> None:
    """The defaults would be accepted from a user."""
    assert msgspec.convert(msgspec.to_builtins(Settings()), Settings) == Settings()


# --- folders ----------------------------------------------------------------------------------------------------------


def test_folders_follow_the_platform(runtime_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On Linux the XDG folders, each with our name in it."""
    if sys.platform != "linux":
        pytest.skip("the XDG folders are Linux's")
    for name in ("CONFIG_HOME", "DATA_HOME", "STATE_HOME", "RUNTIME_DIR"):
        monkeypatch.setenv(f"XDG_{name}", str(runtime_dir / name))
    monkeypatch.delenv("BOTFRAMEWORK_RUNTIME_DIR", raising=False)
    monkeypatch.delenv("BOTFRAMEWORK_CONFIG_FILE", raising=False)

    assert config.config_file() == runtime_dir / "CONFIG_HOME/botframework/botframework.toml"
    assert config.data_dir() == runtime_dir / "DATA_HOME/botframework"
    assert config.log_dir() == runtime_dir / "STATE_HOME/botframework/log"
    assert config.runtime_dir() == runtime_dir / "RUNTIME_DIR/botframework"


def test_user_without_a_home(runtime_dir: Path) -> None:
    """Nothing that a workspace contains is taken for the user's own folder."""
    code = """
import os
from botframework import config
config.data_dir()  # imports, which nobody may do in another user's folders
os.setuid(54_321)
print(config.config_file(), config.log_dir())
"""
    if os.geteuid() != 0:
        pytest.skip("only root can become nobody")
    os.chown(runtime_dir, 54_321, 54_321)
    environ = {
        "PATH": os.defpath,
        "BOTFRAMEWORK_RUNTIME_DIR": str(runtime_dir),
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    done = subprocess.run(
        [sys.executable, "-c", code], cwd="/", env=environ, capture_output=True, text=True, check=False, timeout=60
    )

    assert done.stdout.split() == [str(runtime_dir / "botframework.toml"), str(runtime_dir)], done.stderr


def test_runtime_folder_is_private(runtime_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is made for this user alone, whatever the umask, and the same one is found again."""
    monkeypatch.setenv("BOTFRAMEWORK_RUNTIME_DIR", str(runtime_dir / "a" / "b"))
    old = os.umask(0)
    try:
        made = config.runtime_dir()
    finally:
        os.umask(old)

    assert stat.S_IMODE(made.stat().st_mode) == 0o700
    assert config.runtime_dir() == made


@pytest.mark.parametrize("mode", [0o755, 0o710, 0o701, 0o777])
def test_open_runtime_folder_is_refused(runtime_dir: Path, mode: int) -> None:
    """A folder that others may enter is not used, and not silently closed either."""
    runtime_dir.chmod(mode)

    with pytest.raises(ConfigError, match=f"open to others.*{mode:04o}"):
        config.runtime_dir()
    assert stat.S_IMODE(runtime_dir.stat().st_mode) == mode


def test_runtime_folder_in_a_foreign_hand_is_refused(runtime_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor a link, a file, a folder of somebody else, or one inside a folder that others can change."""
    (runtime_dir / "real").mkdir(mode=0o700)
    (runtime_dir / "link").symlink_to(runtime_dir / "real")
    (runtime_dir / "file").touch()
    (runtime_dir / "open").mkdir()
    (runtime_dir / "open").chmod(0o777)
    for name, words in (("link", "not a folder"), ("file", "cannot be used"), ("open/x", "changed by others")):
        monkeypatch.setenv("BOTFRAMEWORK_RUNTIME_DIR", str(runtime_dir / name))
        with pytest.raises(ConfigError, match=words):
            config.runtime_dir()

    monkeypatch.setenv("BOTFRAMEWORK_RUNTIME_DIR", str(runtime_dir / "real"))
    monkeypatch.setattr(os, "geteuid", lambda: 12_345)
    with pytest.raises(ConfigError, match="belongs to user"):
        config.runtime_dir()


def test_long_runtime_folder_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name in which no socket would fit is refused where the reason can still be said."""
    monkeypatch.setenv("BOTFRAMEWORK_RUNTIME_DIR", str(tmp_path / ("x" * 100)))

    with pytest.raises(ConfigError, match="too long"):
        config.runtime_dir()


def test_imports_stay_small() -> None:
    """The settings bring neither the engine nor the protocol library with them."""
    code = "import sys, botframework.config; print(*{name.partition('.')[0] for name in sys.modules})"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()

    assert not {"llama_cpp", "pygls", "lsprotocol", "numpy", "asyncio", "platformdirs", "psutil"} & set(loaded)
