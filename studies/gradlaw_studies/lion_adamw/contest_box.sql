-- One row: one run of $rule on the plan's own seeds; value: weight_decay * max |theta| at its end, 1 at the face of the box. $part: 'decayed',
-- runs with weight decay; 'free', runs without, against the box of a weight decay of $nominal.
WITH ends AS (
    SELECT trial_id, arg_max(parameter_max, step) AS parameter_max FROM metrics GROUP BY trial_id
)
SELECT t.seed, (e.parameter_max * CASE $part WHEN 'free' THEN $nominal ELSE t.weight_decay END)::DOUBLE AS value
FROM trials AS t
JOIN ends AS e USING (trial_id)
WHERE t.rule LIKE $rule || '@%'
    AND t.trial_id NOT IN (SELECT trial_id FROM plans WHERE role = 'tuning')
    AND e.parameter_max IS NOT NULL
    AND CASE $part WHEN 'free' THEN t.weight_decay = 0 WHEN 'decayed' THEN t.weight_decay > 0 END
