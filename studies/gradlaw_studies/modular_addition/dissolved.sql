-- One row: one network that starts at a construction; of its frequencies ("total") how many have order 4 or 6
-- ("successes"). $moment: 'start' (step 0) or 'end'.
SELECT t.seed, count(*) FILTER (f.order_absolute IN (4, 6)) AS successes, count(*) AS total
FROM frequencies AS f
JOIN trials AS t USING (trial_id)
WHERE f.step = CASE $moment WHEN 'start' THEN 0 WHEN 'end' THEN t.steps END
    AND t.task LIKE 'modular_addition_constructed@%'
    AND t.construction = $construction AND t.weight_decay = $weight_decay
GROUP BY t.seed, f.trial_id
