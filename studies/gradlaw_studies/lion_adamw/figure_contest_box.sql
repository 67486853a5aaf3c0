-- One row: one rule, weight decay and logged step of the runs with constant lr; largest over seeds of weight_decay * max
-- |theta|, against time in units of 1 / (lr weight_decay).
SELECT
    split_part(t.rule, '@', 1) AS rule,
    t.weight_decay,
    m.step,
    any_value(t.lr * t.weight_decay * m.step) AS time,
    max(t.weight_decay * m.parameter_max) AS reach
FROM trials AS t
JOIN metrics AS m USING (trial_id)
WHERE t.schedule LIKE 'constant@%' AND t.weight_decay > 0 AND m.parameter_max IS NOT NULL
GROUP BY t.rule, t.weight_decay, m.step
ORDER BY t.rule, t.weight_decay, m.step
