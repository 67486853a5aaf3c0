-- One row: modulus, width, weight decay and order (10: ten and more); the share of frequencies that have it at
-- the end, over all networks, with the number of networks and of those that converged.
-- $width, $weight_decay: 0 takes any.
WITH arms AS (
    SELECT t.modulus, t.width, t.weight_decay, count(*) AS num_networks, count_if(n.converged) AS num_converged
    FROM networks AS n
    JOIN trials AS t USING (trial_id)
    WHERE n.step = t.steps AND t.task LIKE 'modular_addition@%' AND t.labels = 'sum'
    GROUP BY ALL
)
SELECT
    t.modulus,
    t.width,
    t.weight_decay,
    least(f.order_absolute, 10) AS "order",
    count(*) / (any_value(a.num_networks) * (t.modulus - 1) / 2) AS share,
    any_value(a.num_networks) AS num_networks,
    any_value(a.num_converged) AS num_converged
FROM frequencies AS f
JOIN trials AS t USING (trial_id)
JOIN arms AS a USING (modulus, width, weight_decay)
WHERE f.step = t.steps
    AND t.task LIKE 'modular_addition@%'
    AND t.labels = 'sum'
    AND $width IN (0, t.width)
    AND $weight_decay IN (0, t.weight_decay)
GROUP BY t.modulus, t.width, t.weight_decay, "order"
ORDER BY ALL
