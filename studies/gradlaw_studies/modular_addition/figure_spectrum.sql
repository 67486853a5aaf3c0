-- One row: one parameter (W_a, W_b or W_c) of one network at one step at which it was kept: the network of the
-- lowest seed with this modulus, width and weight decay.
SELECT t.seed, t.modulus, t.width, w.step, w.name, w.dtype, w.shape, w."values" AS bytes
FROM weights AS w
JOIN trials AS t USING (trial_id)
WHERE t.task LIKE 'modular_addition@%'
    AND t.labels = 'sum'
    AND t.modulus = $modulus
    AND t.width = $width
    AND t.weight_decay = $weight_decay
    AND w.step IN (0, t.steps)
QUALIFY t.seed = min(t.seed) OVER ()
ORDER BY w.step, w.name
