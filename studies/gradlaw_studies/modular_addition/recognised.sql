-- One row: one network that starts at a construction, before training; of its frequencies ("total") how many
-- are of a construction's kind ("successes"). $construction is a LIKE pattern.
SELECT t.seed, count(*) FILTER (f.factorable AND f.kind <> 'other') AS successes, count(*) AS total
FROM frequencies AS f
JOIN trials AS t USING (trial_id)
WHERE f.step = 0 AND t.task LIKE 'modular_addition_constructed@%' AND t.construction LIKE $construction
GROUP BY t.seed, f.trial_id
