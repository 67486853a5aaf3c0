-- One row: modulus and threshold, absolute or relative; the mean over converged networks of the share of
-- frequencies of order 4 and of order 6 at the end.
SELECT
    t.modulus,
    s.relative,
    s.threshold,
    avg(s.num_order_4 / ((t.modulus - 1) / 2)) AS share_4,
    avg(s.num_order_6 / ((t.modulus - 1) / 2)) AS share_6,
    count(*) AS num_networks
FROM order_sensitivity AS s
JOIN trials AS t USING (trial_id)
JOIN networks AS n ON n.trial_id = s.trial_id AND n.step = s.step
WHERE s.step = t.steps
    AND n.converged
    AND t.task LIKE 'modular_addition@%'
    AND t.labels = 'sum'
    AND t.width = $width
    AND t.weight_decay = $weight_decay
GROUP BY t.modulus, s.relative, s.threshold
ORDER BY ALL
