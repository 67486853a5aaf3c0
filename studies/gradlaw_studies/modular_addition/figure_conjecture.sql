-- One row: one network, at least 4d wide, that converged with every frequency at order 4 or 6 and at least
-- one at each; how many frequencies it has and of which order, and its squared norm over the conjecture's
-- and over that of the same construction with every node scaled to its least norm ("balanced").
SELECT
    t.modulus,
    t.seed,
    (t.modulus - 1) / 2 AS num_frequencies,
    n.num_order_4,
    n.num_order_6,
    n.weight_norm2 * (2 * t.modulus) ** (2 / 3) / (6 * t.modulus) / (
        4 ** (1 / 3) * n.num_order_4
        + 6 ** (1 / 3) * n.num_order_6 * (1 + n.num_order_4 / (6 * n.num_order_6 ** 2))
    ) AS norm_ratio,
    n.weight_norm2 * (2 * t.modulus) ** (2 / 3) / (6 * t.modulus) / (
        4 ** (1 / 3) * n.num_order_4
        + 6 ** (1 / 3) * n.num_order_6 * (1 + n.num_order_4 / (2 * n.num_order_6 ** 2)) ** (1 / 3)
    ) AS balanced_ratio
FROM networks AS n
JOIN trials AS t USING (trial_id)
WHERE n.step = t.steps
    AND n.converged
    AND n.num_other_orders = 0
    AND n.num_order_4 > 0
    AND n.num_order_6 > 0
    AND t.task LIKE 'modular_addition@%'
    AND t.labels = 'sum'
    AND t.weight_decay = $weight_decay
    AND t.width >= 4 * t.modulus
ORDER BY ALL
