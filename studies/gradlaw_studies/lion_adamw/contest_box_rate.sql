-- One row: one logged step of one run of Lion with constant lr and weight decay; value: by how much weight_decay *
-- max |theta| exceeds 1 + excess at the start * exp(-$speed * lr * weight_decay * step), 0 where it does not.
WITH starts AS (
    SELECT trial_id, arg_min(parameter_max, step) AS parameter_max FROM metrics GROUP BY trial_id
)
SELECT
    t.seed,
    greatest(
        0,
        t.weight_decay * m.parameter_max - 1
        - greatest(0, t.weight_decay * s.parameter_max - 1) * exp(-$speed * t.lr * t.weight_decay * m.step)
    )::DOUBLE AS value
FROM trials AS t
JOIN metrics AS m USING (trial_id)
JOIN starts AS s USING (trial_id)
WHERE t.rule LIKE 'lion@%'
    AND t.schedule LIKE 'constant@%'
    AND t.weight_decay > 0
    AND t.lr * t.weight_decay <= 1
    AND m.parameter_max IS NOT NULL
