-- One row: one network and one kind of solution; how many of its frequencies are of that kind. As in the
-- published table, what counts is every factorable frequency, and beside them those of order 4 whose four or
-- six nodes are no product. $all_frequencies: whatever else there is counts as 'other'.
-- $modulus, $width, $weight_decay: 0 takes any. $moment: 'start' (step 0) or 'end'. $task is a LIKE pattern.
SELECT
    t.seed,
    CASE
        WHEN f.factorable THEN f.kind
        WHEN f.residual IS NOT NULL AND f.order_absolute = 4 THEN 'order 4, not factorable'
        ELSE 'other'
    END AS category,
    count(*) AS count
FROM frequencies AS f
JOIN trials AS t USING (trial_id)
WHERE f.step = CASE $moment WHEN 'start' THEN 0 WHEN 'end' THEN t.steps END
    AND (f.factorable OR (f.residual IS NOT NULL AND f.order_absolute = 4) OR $all_frequencies)
    AND t.task LIKE $task
    AND t.labels = $labels
    AND $modulus IN (0, t.modulus)
    AND $width IN (0, t.width)
    AND $weight_decay IN (0, t.weight_decay)
GROUP BY t.seed, f.trial_id, category
