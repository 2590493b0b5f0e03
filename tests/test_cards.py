"""Weights and their card: written together, read only together, and refused with a reason."""

import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from gatescope.files import code_digest, sha256_of
from gatescope.formats.facts import check_files, read_card, seal, write_card
from gatescope.models import Cell, GestureNetwork, NetworkConfig
from gatescope.models.cards import write_weights
from gatescope.paths import DATA

LIBRARY = Path(__file__).resolve().parent.parent / "lib"
CONFIG = NetworkConfig.small("a", num_classes=3, width=1 / 32)

# Saves two networks in turn over one another until it is ended.
SAVER = """
import sys
import torch
from gatescope.models import GestureNetwork, NetworkConfig
networks = []
for seed in (0, 1):
    torch.manual_seed(seed)
    networks.append(GestureNetwork(NetworkConfig.small("a", num_classes=3, width=1 / 32)))
while True:
    for seed, network in enumerate(networks):
        network.save(sys.argv[1], seed=seed)
        print("saved", flush=True)
"""


def make_network(config=CONFIG, seed=0):
    torch.manual_seed(seed)
    return GestureNetwork(config)


def save_two(folder):
    """The paths of two networks' weights."""
    paths = []
    for seed in (0, 1):
        paths.append(folder / f"{seed}.safetensors")
        make_network(seed=seed).save(paths[-1], seed=seed)
    return paths


def same_weights(one, other):
    one, other = one.state_dict(), other.state_dict()
    return one.keys() == other.keys() and all(torch.equal(tensor, other[name]) for name, tensor in one.items())


@pytest.mark.parametrize("cell", ["convlstm", "b", Cell(i="conv", f="pooled", o="attention", candidate="separable")])
def test_a_network_comes_back_as_it_was(tmp_path, cell):
    network = make_network(NetworkConfig.small(cell, num_classes=3, width=1 / 32, conventions="authors"))
    x = torch.randn(2, 3, 4, 16, 16)
    network(x)  # so that the running statistics are the network's own
    network.save(tmp_path / "new" / "network.safetensors")
    back = GestureNetwork.load(tmp_path / "new" / "network.safetensors")
    assert back.config == network.config and same_weights(back, network)
    assert not back.training
    with torch.no_grad():
        assert torch.equal(back(x), network.eval()(x))


def test_a_network_in_float64_comes_back_in_float64(tmp_path):
    network = make_network().double()
    network.save(tmp_path / "network.safetensors")
    back = GestureNetwork.load(tmp_path / "network.safetensors")
    assert back.head.weight.dtype == torch.float64 and same_weights(back, network)


def test_the_card_says_what_the_weights_are(tmp_path):
    path = tmp_path / "network.safetensors"
    metrics, warning = {"top1": 0.81}, "These weights have seen rendered people only."
    network = make_network()
    card = network.save(path, data="rendered gestures", seed=7, metrics=metrics, warning=warning)
    assert card == {
        "config": CONFIG.to_json(),
        "data": "rendered gestures",
        "seed": 7,
        "metrics": metrics,
        "code": code_digest(),
        "warning": warning,
        "weights_sha256": sha256_of(path),
        "facts_sha256": card["facts_sha256"],
    }
    assert json.loads(path.with_suffix(".json").read_text()) == card
    assert GestureNetwork.load(path).card == network.card == card


def test_a_fact_cannot_take_the_place_of_the_cards_own(tmp_path):
    with pytest.raises(ValueError, match="config, weights_sha256"):
        make_network().save(tmp_path / "network.safetensors", weights_sha256="0", config={})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("metrics", [{"top1": float("nan")}, {"top1": torch.tensor(0.5)}])
def test_a_fact_that_cannot_stand_in_json_leaves_the_old_files_alone(tmp_path, metrics):
    path = tmp_path / "network.safetensors"
    network = make_network()
    network.save(path)
    with pytest.raises((ValueError, TypeError), match="JSON"):
        make_network(seed=1).save(path, metrics=metrics)
    assert same_weights(GestureNetwork.load(path), network)


def test_weights_are_refused_wherever_a_bit_of_them_flips(tmp_path):
    path = tmp_path / "network.safetensors"
    make_network().save(path)
    good = path.read_bytes()
    for place in range(0, len(good), len(good) // 40):
        path.write_bytes(good[:place] + bytes([good[place] ^ 1]) + good[place + 1 :])
        with pytest.raises(ValueError, match="SHA-256"):
            GestureNetwork.load(path)


@pytest.mark.parametrize("kept", [0, 7, 1000, -1])
def test_weights_that_were_cut_off_are_refused(tmp_path, kept):
    path = tmp_path / "network.safetensors"
    make_network().save(path)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(ValueError, match="damaged, replaced, or left by a save that was cut off"):
        GestureNetwork.load(path)


@pytest.mark.parametrize("swapped", [".safetensors", ".json"])
def test_weights_beside_another_networks_card_are_refused(tmp_path, swapped):
    one, other = save_two(tmp_path)
    shutil.copy(other.with_suffix(swapped), one.with_suffix(swapped))
    with pytest.raises(ValueError, match=r"0\.safetensors does not hold the weights that its card 0\.json"):
        GestureNetwork.load(one)


@pytest.mark.slow
def test_whenever_a_save_is_cut_off_what_stands_there_is_one_network_or_none(tmp_path):
    path = tmp_path / "network.safetensors"
    environment = os.environ | {"PYTHONPATH": str(LIBRARY)}
    saver = subprocess.Popen([sys.executable, "-c", SAVER, str(path)], stdout=subprocess.PIPE, env=environment)
    networks = [make_network(seed=seed) for seed in (0, 1)]
    found = set()
    try:
        saver.stdout.readline()
        for moment in range(30):
            # Stopped, it leaves on disk what a kill would.
            saver.send_signal(signal.SIGSTOP)
            copy = tmp_path / f"copy-{moment}.safetensors"
            for suffix in (".safetensors", ".json"):
                shutil.copy(path.with_suffix(suffix), copy.with_suffix(suffix))
            saver.send_signal(signal.SIGCONT)
            try:
                loaded = GestureNetwork.load(copy)
            except ValueError as error:
                assert "SHA-256" in str(error)
                continue
            assert same_weights(loaded, networks[loaded.card["seed"]])
            found.add(loaded.card["seed"])
    finally:
        saver.kill()
        saver.communicate()
    assert found


def test_missing_files_are_named(tmp_path):
    path = tmp_path / "network.safetensors"
    with pytest.raises(FileNotFoundError, match=r"network\.safetensors, the weights, is missing"):
        GestureNetwork.load(path)
    make_network().save(path)
    path.with_suffix(".json").unlink()
    with pytest.raises(FileNotFoundError, match=r"network\.json, the card, is missing"):
        GestureNetwork.load(path)


def test_only_safetensors_are_written_and_read(tmp_path):
    for name in ("network.pt", "network"):
        with pytest.raises(ValueError, match="a .safetensors file"):
            make_network().save(tmp_path / name)
        with pytest.raises(ValueError, match="a .safetensors file"):
            GestureNetwork.load(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_a_foreign_file_is_refused_even_if_a_card_vouches_for_it(tmp_path):
    path = tmp_path / "network.safetensors"
    torch.save(make_network().state_dict(), path)
    card = {"config": CONFIG.to_json(), "weights_sha256": sha256_of(path)}
    write_card(path.with_suffix(".json"), card)
    with pytest.raises(ValueError, match="is not a safetensors file"):
        GestureNetwork.load(path)


@pytest.mark.parametrize(
    "text", ["", "{", "[1]", "{}", "null", "[" * 100_000, '{"facts_sha256": 7}', "\ud800", "1e999"]
)
def test_a_card_that_is_none_is_refused(tmp_path, text):
    path = tmp_path / "network.safetensors"
    make_network().save(path)
    path.with_suffix(".json").write_bytes(text.encode(errors="surrogatepass"))
    with pytest.raises(ValueError, match=r"network\.json "):
        GestureNetwork.load(path)


@pytest.mark.parametrize(
    "config", [None, {}, {"cells": ["a", "a"]}, {**CONFIG.to_json(), "cells": ["a", "of a later version"]}]
)
def test_a_card_without_a_config_is_refused(tmp_path, config):
    path = tmp_path / "network.safetensors"
    card = make_network().save(path)
    write_card(path.with_suffix(".json"), {**card, "config": config})
    with pytest.raises(ValueError, match=r"network\.safetensors has no config"):
        GestureNetwork.load(path)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"width": 1 / 16}, r"res3d\.stem\.weight is \(2, 3, 3, 7, 7\) in the file, \(4, 3, 3, 7, 7\) in the network"),
        ({"num_classes": 12}, r"head\.weight is \(3, 32\) in the file, \(12, 32\) in the network"),
        (
            {"cells": ("c", "a")},
            r"layer1\.gates\.i\.input_to_state\.depthwise\.weight is missing in the file, \(8, 1, 3, 3\) in",
        ),
        ({"conventions": "authors"}, r"mobilenet\.blocks\.1a\.conv\.pointwise\.bias is missing in the file, \(8,\) in"),
    ],
)
def test_loading_into_another_config_names_the_first_mismatch(tmp_path, changes, says):
    path = tmp_path / "network.safetensors"
    make_network().save(path)
    with pytest.raises(ValueError, match=says):
        GestureNetwork.load(path, replace(CONFIG, **changes))


def test_loading_into_a_network_with_less_names_what_it_has_no_place_for(tmp_path):
    path = tmp_path / "network.safetensors"
    make_network(replace(CONFIG, conventions="authors")).save(path)
    with pytest.raises(ValueError, match=r"1a\.conv\.pointwise\.bias is \(8,\) in the file, missing in"):
        GestureNetwork.load(path, CONFIG)


def test_weights_serve_another_size_and_stem_stride(tmp_path):
    path = tmp_path / "network.safetensors"
    network = make_network()
    network.save(path)
    larger = replace(CONFIG, size=112, stem_stride=3)
    back = GestureNetwork.load(path, larger)
    assert back.config == larger and same_weights(back, network)


TAMPERED = {
    "names reversed": lambda card: card["data"]["names"].reverse(),
    "another mean": lambda card: card["config"].update(mean=[0.0, 0.0, 0.0]),
    "a better accuracy": lambda card: card["metrics"].update(top1=0.9999),
    "a number in its last digit": lambda card: card["metrics"].update(top1=0.8000000000000002),
    "another seed": lambda card: card.update(seed=4),
    "a fact more": lambda card: card.update(warning=None),
    "a fact less": lambda card: card.pop("code"),
    "truth for a number": lambda card: card.update(seed=True),
    "no digest": lambda card: card.pop("facts_sha256"),
    "another digest": lambda card: card.update(facts_sha256=["0" * 64]),
}


@pytest.fixture
def told(tmp_path):
    """The path of weights whose card tells much."""
    path = tmp_path / "network.safetensors"
    make_network().save(path, data={"names": ["a", "b", "c"]}, seed=1, metrics={"top1": 0.8, "é": 1e-300})
    return path


@pytest.mark.parametrize("how", TAMPERED)
def test_a_card_that_was_changed_is_refused_and_says_so(told, how):
    card = json.loads(told.with_suffix(".json").read_text())
    assert GestureNetwork.load(told).card == card
    TAMPERED[how](card)
    told.with_suffix(".json").write_text(json.dumps(card))
    with pytest.raises(
        ValueError, match=r"network\.json (was changed after it was written|has no facts_sha256)"
    ) as raised:
        GestureNetwork.load(told)
    assert "\n" not in str(raised.value)
    seal(told.with_suffix(".json"))  # whoever trusts it says so
    GestureNetwork.load(told)


def test_a_card_set_in_another_way_says_the_same(told):
    card = json.loads(told.with_suffix(".json").read_text())
    told.with_suffix(".json").write_text(json.dumps(dict(reversed(card.items())), indent=7))
    assert GestureNetwork.load(told).card == card


@pytest.mark.parametrize("missing", ["weights_sha256", "config"])
def test_a_card_that_lacks_what_loading_needs_is_refused(told, missing):
    card = json.loads(told.with_suffix(".json").read_text())
    write_card(told.with_suffix(".json"), {name: value for name, value in card.items() if name != missing})
    with pytest.raises(ValueError, match=missing):
        GestureNetwork.load(told)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("width", 1e308),
        ("width", 1e6),
        ("num_classes", 1 << 62),
        ("num_classes", (1 << 31) - 1),
        ("in_channels", 1 << 30),
        ("stem_stride", 0),
        ("mean", [1e300, 0.0, 0.0]),
        ("cells", [["a"] * 10, "a"]),
    ],
)
def test_a_config_that_asks_for_too_much_is_refused_before_it_is_made(told, field, value):
    card = json.loads(told.with_suffix(".json").read_text())
    write_card(told.with_suffix(".json"), {**card, "config": {**card["config"], field: value}})
    with pytest.raises(ValueError, match=r"network\.safetensors (has no config|does not fit)"):
        GestureNetwork.load(told)


def test_loading_draws_as_many_random_numbers_as_making_the_network(told):
    torch.manual_seed(5)
    GestureNetwork(CONFIG)
    wanted = torch.rand(1)
    torch.manual_seed(5)
    GestureNetwork.load(told)
    assert torch.equal(torch.rand(1), wanted)


WEIGHTS = {
    "whole numbers": (lambda tensor: tensor.to(torch.int32), "all of one type among float32"),
    "truth values": (lambda tensor: tensor > 0, "all of one type among float32"),
    "complex numbers": (lambda tensor: tensor.to(torch.complex64), "all of one type among float32"),
    "eight bits": (lambda tensor: tensor.to(torch.float8_e4m3fn), "all of one type among float32"),
    "NaN": (lambda tensor: torch.full_like(tensor, torch.nan), "is not finite"),
    "infinity": (lambda tensor: torch.full_like(tensor, -torch.inf), "is not finite"),
}


@pytest.mark.parametrize("kind", WEIGHTS)
@pytest.mark.parametrize("changed", [("head.bias",), None])
def test_weights_of_another_type_or_not_finite_are_refused(told, kind, changed):
    change, says = WEIGHTS[kind]
    tensors = {name: tensor for name, tensor in make_network().state_dict().items()}
    chosen = changed or [name for name, tensor in tensors.items() if tensor.is_floating_point()]
    tensors |= {name: change(tensors[name]) for name in chosen}
    write_weights(told, tensors, json.loads(told.with_suffix(".json").read_text()))
    with pytest.raises(ValueError, match=says) as raised:
        GestureNetwork.load(told)
    assert chosen[0] in str(raised.value) and "\n" not in str(raised.value)


@pytest.mark.parametrize("count", [torch.tensor(3.0), torch.tensor(3, dtype=torch.int32)])
def test_a_count_of_another_type_is_refused(told, count):
    tensors = make_network().state_dict()
    name = next(name for name in tensors if name.endswith("num_batches_tracked"))
    write_weights(told, {**tensors, name: count}, json.loads(told.with_suffix(".json").read_text()))
    with pytest.raises(ValueError, match=f"{name} is torch.*int64 is needed"):
        GestureNetwork.load(told)


def test_a_fact_that_utf8_lacks_leaves_no_file(tmp_path):
    with pytest.raises(ValueError, match="surrogates"):
        make_network().save(tmp_path / "network.safetensors", data="\ud800")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("folder", ["checkpoints", "poses", "neurons", "evidence"])
def test_every_committed_card_vouches_for_itself_and_the_files_beside_it(folder):
    cards = [path for name in ("network.json", "card.json") for path in (DATA / folder).rglob(name)]
    assert cards
    for path in cards:
        card = read_card(path)
        # Of one network only the weights are kept.
        if any((path.parent / name).exists() for name in card["files"]):
            check_files(path.parent, card, path)
