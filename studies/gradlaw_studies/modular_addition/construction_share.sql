-- One row: one network; of its factorable frequencies ("total") how many are of a construction's kind
-- ("successes"). $all_frequencies: "total" is all its frequencies, factorable or not.
-- $modulus, $width, $weight_decay: 0 takes any. $moment: 'start' (step 0) or 'end'. $task is a LIKE pattern.
SELECT
    t.seed,
    count(*) FILTER (f.factorable AND f.kind <> 'other') AS successes,
    count(*) FILTER ($all_frequencies OR f.factorable) AS total
FROM frequencies AS f
JOIN trials AS t USING (trial_id)
WHERE f.step = CASE $moment WHEN 'start' THEN 0 WHEN 'end' THEN t.steps END
    AND t.task LIKE $task
    AND t.labels = $labels
    AND $modulus IN (0, t.modulus)
    AND $width IN (0, t.width)
    AND $weight_decay IN (0, t.weight_decay)
GROUP BY t.seed, f.trial_id
HAVING count(*) FILTER ($all_frequencies OR f.factorable) > 0
