"""The claims on networks made up so that the answer is known: each can be supported and refuted."""

import math
from dataclasses import replace
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pytest

import gradlaw_studies.modular_addition
from gradlaw.claim import Outcome
from gradlaw_analysis.decide import Evidence, decide
from gradlaw_analysis.sample_sql import bind
from gradlaw_analysis.stats.evaluate import claim_rng, evaluate
from gradlaw_analysis.stats.power import check_decidable
from gradlaw_studies.modular_addition.algebra.norms import cheapest_split, norm2_formula
from gradlaw_studies.modular_addition.claims import CLAIMS, TOTAL_VARIATION
from gradlaw_studies.modular_addition.claims_landscape import LANDSCAPE_CLAIMS
from gradlaw_studies.modular_addition.landscape.measurements import ConnectingPath
from gradlaw_studies.modular_addition.published import KINDS, MODULI, NOT_FACTORABLE, published_shares

FOLDER = Path(gradlaw_studies.modular_addition.__file__).parent
ADDITION = "modular_addition@2"
NUM_SEEDS = 8
OF_NETWORKS = [claim for claim in CLAIMS if claim not in LANDSCAPE_CLAIMS]
ORDERS = {"nu_i*xi": 4, "nu_i*syn_ab": 6, "nu*syn": 6, "other": 4}
DECAYS = (1e-5, 5e-5, 1e-4, 2e-4, 5e-4)


class MadeUp:
    """Tables of networks with orders and kinds as told; before training their orders are anything."""

    def __init__(self):
        self.rng = np.random.default_rng(20)
        self.trials, self.frequencies, self.networks = [], [], []

    def add(self, seed, modulus, kinds, *, width=512, weight_decay=5e-5, labels="sum", **network):
        """One network; a kind is one of KINDS, or an order that is not factorable."""
        name = f"{len(self.trials)}"
        self.trials.append({
            "trial_id": name, "seed": seed, "state": "done", "task": ADDITION, "labels": labels, "steps": 10,
            "modulus": modulus, "width": width, "weight_decay": weight_decay,
        })  # fmt: skip
        orders = [ORDERS.get(kind, kind) for kind in kinds]
        for kind, order in zip(kinds, orders, strict=True):
            factorable = kind in ORDERS
            self._frequency(name, 10, order, factorable, kind if factorable else "other")
        for order in self.rng.integers(8, 14, len(kinds)):
            self._frequency(name, 0, order, factorable=False, kind="other")
        four, six = orders.count(4), orders.count(6)
        formula = norm2_formula(four, six, modulus) if six else 1.0
        whole = {
            "converged": labels == "sum", "num_order_4": four, "num_order_6": six,
            "num_other_orders": len(orders) - four - six, "train_accuracy": 1.0, "top_share": 0.99,
            "mean_residual": 0.01 + 0.002 * self.rng.random(),
            "weight_norm2": formula * (1 + 0.002 * self.rng.normal()),
        }  # fmt: skip
        start = {**whole, "converged": False, "top_share": 0.3, "mean_residual": 0.6}
        self.networks += [
            {"trial_id": name, "step": 0, **start},
            {"trial_id": name, "step": 10, **whole, **network},
        ]

    def _frequency(self, name, step, order, factorable, kind):
        self.frequencies.append({
            "trial_id": name, "step": step, "order_absolute": int(order), "factorable": factorable,
            "residual": 0.1 if factorable or order == 4 else None, "kind": kind,
        })  # fmt: skip

    def drawn(self, shares, number):
        """Kinds of a network's frequencies, as near the shares as whole numbers go, rounded at random."""
        names = [*KINDS, 4]
        counts = np.floor(np.array(list(shares.values())) * number).astype(int)
        rest = np.array(list(shares.values())) * number - counts
        left = number - counts.sum()
        counts += np.bincount(
            self.rng.choice(len(names), left, replace=False, p=rest / rest.sum()), minlength=5
        )
        return [name for name, count in zip(names, counts, strict=True) for _ in range(count)]

    def verdicts(self, claims=OF_NETWORKS):
        """Outcome and controls of claims, by name, as a plan of these networks would have them."""
        tables = {name: pd.DataFrame(getattr(self, name)) for name in ("trials", "frequencies", "networks")}
        with duckdb.connect() as connection:
            for name, frame in tables.items():
                connection.register(f"all_{name}", frame)
            evidence = [self._evidence(connection, claim) for claim in claims]
        decisions = decide(evidence, num_seeds=NUM_SEEDS, declared_seeds=NUM_SEEDS)
        return {decision.claim: decision for decision in decisions}

    def _evidence(self, connection, claim):
        def effect(part):
            sample = connection.execute(bind((FOLDER / part.sql).read_text(), part.parameters, part.sql)).df()
            return None if sample.empty else evaluate(part.test, sample, rng=claim_rng(claim))

        def cut(condition):
            for name in ("trials", "frequencies", "networks"):
                connection.execute(
                    f"CREATE OR REPLACE TEMP VIEW {name} AS SELECT * FROM all_{name} WHERE {condition}"
                )

        cut("true")
        controls = {control.name: effect(control) for control in claim.controls}
        gate = bind((FOLDER / claim.gate.sql).read_text(), claim.gate.parameters, claim.gate.sql)
        passed = connection.execute(gate).df().query("passed")["trial_id"]
        connection.register("passed", pd.DataFrame({"trial_id": passed}))
        cut("trial_id IN (SELECT trial_id FROM passed)")
        return Evidence(claim=claim, effect=effect(claim), controls=controls, gate_seeds=NUM_SEEDS)


def true_world():
    """Networks of which every claim is true."""
    world = MadeUp()
    for seed in range(NUM_SEEDS):
        for modulus in MODULI:
            n, shares = (modulus - 1) // 2, published_shares(modulus)
            for width in (256, 512, 1024):
                world.add(seed, modulus, world.drawn(shares, n), width=width)
            for rank, weight_decay in enumerate(DECAYS):
                sixes = (3 * n) // 4 - rank * (n // 5)
                kinds = ["nu*syn"] * max(sixes, 0) + ["nu_i*xi"] * (n - max(sixes, 0))
                if weight_decay == 5e-4:
                    world.add(
                        seed, modulus, [0] * n, weight_decay=weight_decay, converged=False, train_accuracy=0.1
                    )
                elif weight_decay != 5e-5:
                    world.add(seed, modulus, kinds, weight_decay=weight_decay)
        world.add(seed, 23, [20] * 11, width=256, labels="shuffled", top_share=0.4)
    return world


def scaling_world(exponent, factor=1.0):
    """Networks with 1.5 n^exponent frequencies of order 6, and ``factor`` times the formula's norm."""
    world = MadeUp()
    for seed in range(NUM_SEEDS):
        for modulus in (11, 17, 23, 31, 47, 71, 97, 127):
            n = (modulus - 1) // 2
            six = max(1, min(n - 1, int(1.5 * n**exponent + world.rng.random())))
            kinds = ["nu*syn"] * six + ["nu_i*xi"] * (n - six)
            world.add(seed, modulus, kinds, weight_norm2=factor * norm2_formula(n - six, six, modulus))
        world.add(seed, 23, [20] * 11, width=256, labels="shuffled")
    return world


@pytest.fixture(scope="module")
def true_verdicts():
    return true_world().verdicts()


def outcomes(verdicts, *, but=()):
    return {name: verdict.outcome for name, verdict in verdicts.items() if name not in but}


def test_what_is_true_is_supported_and_every_control_comes_out(true_verdicts):
    broken = {
        (name, control.name): control.outcome
        for name, verdict in true_verdicts.items()
        for control in verdict.controls
        if control.outcome != control.expected
    }
    assert broken == {}
    laws = {"six_grows_as_root"}  # the published shares themselves grow as n^0.35
    assert set(outcomes(true_verdicts, but=laws).values()) == {Outcome.SUPPORTED}


def test_the_published_shares_refute_the_conjectured_exponent(true_verdicts):
    verdict = true_verdicts["six_grows_as_root"]
    assert verdict.estimate == pytest.approx(0.35, abs=0.06)
    assert verdict.outcome == Outcome.REFUTED


def test_a_root_law_is_found_and_a_steeper_one_refuted():
    laws = [claim for claim in OF_NETWORKS if claim.family == "conjecture"]
    assert set(outcomes(scaling_world(0.5).verdicts(laws)).values()) == {Outcome.SUPPORTED}
    assert set(outcomes(scaling_world(0.75, factor=1.03).verdicts(laws)).values()) == {Outcome.REFUTED}


def test_what_is_false_is_refuted():
    world = MadeUp()
    decayed = {1e-5: 4, 1e-4: 20, 2e-4: 21, 5e-4: 22}
    for seed in range(NUM_SEEDS):
        for modulus, fours, sixes in ((23, 0.2, 0.0), (71, 0.0, 0.2), (127, 0.0, 0.3)):
            n = (modulus - 1) // 2
            kinds = (
                ["nu_i*xi"] * int(fours * n) + ["nu*syn"] * int(sixes * n) + ["other"] * (n // 2 + seed % 2)
            )
            for width in (256, 512, 1024):
                rest = [7] * (n - len(kinds) - width // 256) + [30] * (width // 256)
                world.add(
                    seed, modulus, kinds + rest, width=width, top_share=0.5, mean_residual=0.3 + 0.01 * seed
                )
            for weight_decay, order in decayed.items():
                world.add(seed, modulus, [order] * n, weight_decay=weight_decay)
        world.add(seed, 23, [20] * 11, width=256, labels="shuffled")
    verdicts = world.verdicts()
    unasked = {"six_grows_as_root", "norm_is_formula"}  # no network has all its frequencies at order 4 or 6
    wrong = {name for name, found in outcomes(verdicts, but=unasked).items() if found != Outcome.REFUTED}
    assert wrong == set()


def test_a_preset_without_their_networks_leaves_claims_without_data():
    world = MadeUp()
    for seed in range(NUM_SEEDS):
        world.add(seed, 23, world.drawn(published_shares(23), 11))
        world.add(seed, 23, [20] * 11, width=256, labels="shuffled")
    verdicts = world.verdicts()
    decided = {name for name, found in outcomes(verdicts).items() if found != Outcome.NO_DATA}
    assert decided == {
        "orders_d23", "constructions_d23", "kinds_d23", "norm_is_formula", "nodes_have_one_frequency",
        "weights_lose_their_mean",
    }  # fmt: skip


def test_networks_that_did_not_converge_are_no_evidence(true_verdicts):
    world = true_world()
    for network in world.networks:
        network["converged"] = False
    verdicts = world.verdicts()
    gated = {claim.name for claim in OF_NETWORKS if claim.gate.sql != "finished_gate.sql"}
    assert {verdicts[name].outcome for name in gated} == {Outcome.NO_DATA}
    assert {verdicts[f"collapse_d{d}"].outcome for d in MODULI} == {Outcome.SUPPORTED}


def test_the_reference_is_the_published_table():
    for modulus in MODULI:
        assert math.fsum(published_shares(modulus).values()) == pytest.approx(1.0)
    assert published_shares(23) == pytest.approx(
        {"nu_i*xi": 0.4707, "nu_i*syn_ab": 0.1131, "nu*syn": 0.398, "other": 0.0182, NOT_FACTORABLE: 0.0}
    )
    shares = published_shares(127)
    assert shares[NOT_FACTORABLE] / (shares[NOT_FACTORABLE] + shares["nu_i*xi"]) == pytest.approx(0.015)
    assert shares["nu*syn"] / shares["nu_i*syn_ab"] == pytest.approx(14.13 / 2.25)


def test_the_margins_of_distributions_are_beyond_what_sampling_does():
    """Five networks and five, both drawn from the published row of d = 23: 0.108 on average, 0.218 at 95%."""
    rng = np.random.default_rng(3)

    def variation(modulus):
        shares, number = list(published_shares(modulus).values()), 5 * (modulus - 1) // 2
        one, two = (rng.multinomial(number, shares, 20_000) / number for _ in range(2))
        return np.abs(one - two).sum(axis=1) / 2

    assert variation(23).mean() == pytest.approx(0.108, abs=0.004)
    assert np.quantile(variation(23), 0.95) == pytest.approx(0.218, abs=0.004)
    for modulus, margin in TOTAL_VARIATION.items():
        largest = np.quantile(variation(modulus), 0.95)
        assert largest < margin < 1.5 * largest


def test_the_constant_of_the_root_law_is_where_the_norm_is_least():
    n = 10**4
    grid = np.linspace(0.5, 2.0, 3001) * math.sqrt(n)
    norms = [norm2_formula(n - six, six, 2 * n + 1) for six in grid]
    assert grid[int(np.argmin(norms))] / math.sqrt(n) == pytest.approx(1.148, abs=0.01)
    assert cheapest_split(2 * n + 1) == pytest.approx(114.8, abs=1)


def test_a_claim_that_no_seeds_could_decide_would_be_refused():
    from gradlaw.errors import UndecidableError

    (collapse,) = (claim for claim in CLAIMS if claim.name == "collapse_d23")
    with pytest.raises(UndecidableError, match="collapse_d23"):
        check_decidable([replace(collapse, alpha=0.025)], 5)


def test_paths_that_are_measured_bear_out_their_claims_and_controls():
    measured = [pd.DataFrame(ConnectingPath().measure({"modulus": d}, 3)["connecting_path"]) for d in (5, 7)]
    path = pd.concat([frame.assign(trial_id=f"{d}") for d, frame in enumerate(measured)])
    of_paths = [claim for claim in LANDSCAPE_CLAIMS if claim.sql.startswith("path_")]
    assert len(of_paths) == 5
    with duckdb.connect() as connection:
        connection.register("connecting_path", path)
        connection.register("trials", pd.DataFrame({"trial_id": ["0", "1"], "seed": 3}))
        for claim in of_paths:
            (control,) = claim.controls
            for part, holds in ((claim, 0.0), (control, 1.0)):
                sql = bind((FOLDER / part.sql).read_text(), part.parameters, part.sql)
                sample = connection.execute(sql).df()
                assert evaluate(part.test, sample, rng=claim_rng(claim)).p_claim == holds
