-- One row: one trial of a mediation at the threshold, by arm. Of adamw_twin: 'memory' (AdamW), 'corrected' and
-- 'memoryless' (its twins with and without the term); of lion_penalized: 'rewarded', 'plain' and 'penalized' by the
-- sign of the penalty on the one-norm. A difference for each beta2 and lr (series).
-- $source: 'measured', or a plumbing check: 'planted' puts $shift for the first of the arms, else 0.
WITH arms AS (
    SELECT
        t.trial_id,
        t.seed,
        t.lr,
        t.beta2,
        CASE
            WHEN t.rule LIKE 'adamw_twin@%' THEN
                CASE WHEN t.memory = 1 THEN 'memory' WHEN t.correction = 1 THEN 'corrected' ELSE 'memoryless' END
            WHEN t.rule LIKE 'lion_penalized@%' THEN
                CASE sign(t.penalty) WHEN 1 THEN 'penalized' WHEN -1 THEN 'rewarded' ELSE 'plain' END
        END AS arm
    FROM trials AS t
    WHERE t.task LIKE $task || '@%' AND (t.rule LIKE 'adamw_twin@%' OR t.rule LIKE 'lion_penalized@%')
)
SELECT
    a.seed,
    a.arm,
    a.lr::VARCHAR || ' ' || a.beta2::VARCHAR AS series,
    CASE $source
        WHEN 'planted' THEN CASE WHEN a.arm = $first THEN $shift ELSE 0.0 END
        WHEN 'measured' THEN
            CASE $quantity WHEN 'grad_l1' THEN ln(m.grad_l1) WHEN 'test_accuracy' THEN m.test_accuracy END
    END AS value
FROM arms AS a
JOIN matched_loss AS m USING (trial_id)
WHERE m.threshold = $threshold AND a.arm IN ($first, $second)
