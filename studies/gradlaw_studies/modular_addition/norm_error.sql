-- One row: one network at least 4d wide; how far its squared norm is from the conjecture's, in code scale:
-- |norm^2 / formula - 1|. With n4 and n6 frequencies of order 4 and 6 the formula is
-- (2d)^(-2/3) (6d (4^(1/3) n4 + 6^(1/3) n6) + 6^(1/3) d n4 / n6).
-- $order_six_everywhere takes the formula of a network with order 6 at each of those frequencies instead.
WITH counted AS (
    SELECT
        t.seed,
        t.modulus AS d,
        n.weight_norm2 AS norm2,
        CASE WHEN $order_six_everywhere THEN 0 ELSE n.num_order_4 END AS n4,
        CASE WHEN $order_six_everywhere THEN n.num_order_4 + n.num_order_6 ELSE n.num_order_6 END AS n6
    FROM networks AS n
    JOIN trials AS t USING (trial_id)
    WHERE n.step = t.steps
        AND t.task LIKE 'modular_addition@%'
        AND t.labels = 'sum'
        AND t.weight_decay = $weight_decay
        AND t.width >= 4 * t.modulus
        AND n.num_other_orders = 0
        AND n.num_order_6 > 0
)
SELECT
    seed,
    abs(
        norm2
        / ((2 * d) ** (-2 / 3) * d * (6 * (4 ** (1 / 3) * n4 + 6 ** (1 / 3) * n6) + 6 ** (1 / 3) * n4 / n6))
        - 1
    ) AS value
FROM counted
