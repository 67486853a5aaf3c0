-- One row: one network; whether it collapsed: at its end it fits fewer than half of its training pairs.
SELECT t.seed, (n.train_accuracy < 0.5)::INTEGER AS successes, 1 AS total
FROM networks AS n
JOIN trials AS t USING (trial_id)
WHERE n.step = t.steps
    AND t.task LIKE 'modular_addition@%'
    AND t.labels = 'sum'
    AND t.modulus = $modulus
    AND t.width = $width
    AND t.weight_decay = $weight_decay
