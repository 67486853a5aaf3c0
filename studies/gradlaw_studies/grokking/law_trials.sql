-- One row: one trial of the law (residues summed, at moduli with several shares of training rows): the log of its number
-- of training rows, d ln d as scale, and the first logged step at which held-out accuracy is at $accuracy or above.
SELECT
    t.seed,
    t.modulus,
    t.train_share,
    t.steps,
    ln(t.train_share * t.modulus ** 2) AS log_n,
    t.modulus * ln(t.modulus) AS scale,
    e.test_step
FROM trials AS t
JOIN (
    SELECT trial_id, min(step) FILTER (test_accuracy >= $accuracy) AS test_step FROM metrics GROUP BY trial_id
) AS e USING (trial_id)
WHERE t.labels = 'sum' AND t.weight_decay = $weight_decay
QUALIFY min(t.train_share) OVER (PARTITION BY t.modulus) < max(t.train_share) OVER (PARTITION BY t.modulus)
