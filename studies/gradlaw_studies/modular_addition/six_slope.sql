-- One row: one network at least 4d wide; the log of how many of its frequencies have order 6 against the log
-- of how many there are, n = (d - 1) / 2. $planted, if not 0, puts 1.148 n to that power in the place of the
-- first.
SELECT
    t.seed,
    ln((t.modulus - 1) / 2) AS x,
    ln(CASE WHEN $planted = 0 THEN n.num_order_6 ELSE 1.148 * ((t.modulus - 1) / 2) ** $planted END) AS y
FROM networks AS n
JOIN trials AS t USING (trial_id)
WHERE n.step = t.steps
    AND t.task LIKE 'modular_addition@%'
    AND t.labels = 'sum'
    AND t.weight_decay = $weight_decay
    AND t.width >= 4 * t.modulus
    AND n.num_order_6 > 0
