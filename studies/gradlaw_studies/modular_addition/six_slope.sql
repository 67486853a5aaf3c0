-- One row: one network; the log of how many frequencies have order $order (4 or 6) against the log of how many
-- there are, n = (d - 1) / 2; $order 0 puts the law 1.148 sqrt(n) itself in their place.
SELECT
    t.seed,
    ln((t.modulus - 1) / 2) AS x,
    ln(
        CASE $order
            WHEN 0 THEN 1.148 * sqrt((t.modulus - 1) / 2)
            WHEN 4 THEN n.num_order_4
            WHEN 6 THEN n.num_order_6
        END
    ) AS y
FROM networks AS n
JOIN trials AS t USING (trial_id)
WHERE n.step = t.steps
    AND t.task LIKE 'modular_addition@%'
    AND t.labels = 'sum'
    AND t.weight_decay = $weight_decay
    AND n.num_order_4 > 0
    AND n.num_order_6 > 0
