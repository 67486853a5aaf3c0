"""Rules that ship with the platform, a rule or a family to a file, and their registry.

Weight decay is coupled L2 in sgd, heavy_ball, nesterov, adagrad, rmsprop, adam; decoupled in adamw, sign_sgd,
signum, lion, muon; either, by the structural hyperparameter ``decoupled``, in amsgrad and nadam. A rule
without memory has that of the rule it follows, nadam_memoryless the coupled one.
"""

from __future__ import annotations

from gradlaw.rule import Rule
from gradlaw.rules.adagrad import Adagrad
from gradlaw.rules.adam import Adam, AdamW, AMSGrad
from gradlaw.rules.memoryless import FOLLOWERS
from gradlaw.rules.muon import Muon
from gradlaw.rules.nadam import NAdam
from gradlaw.rules.rmsprop import RMSprop
from gradlaw.rules.sgd import SGD, HeavyBall, Nesterov
from gradlaw.rules.sign import Lion, SignSGD, Signum
from gradlaw.rules.twins import AdamWTwin, LionPenalized

_SHIPPED: tuple[type[Rule], ...] = (
    SGD,
    HeavyBall,
    Nesterov,
    Adagrad,
    RMSprop,
    Adam,
    AdamW,
    AMSGrad,
    NAdam,
    SignSGD,
    Signum,
    Lion,
    Muon,
    *FOLLOWERS,
    AdamWTwin,
    LionPenalized,
)

RULES: dict[str, type[Rule]] = {rule.name: rule for rule in _SHIPPED}
