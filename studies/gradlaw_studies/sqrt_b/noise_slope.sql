-- One row: log std against log B for one trial at one phase, one batch size and one quantity.
-- A part is a quantity.
-- $source names the std: 'std', 'std_corrected' or 'std_exact'; $task is a LIKE pattern.
SELECT
    t.seed,
    n.quantity AS part,
    concat_ws('/', n.trial_id, n.phase, n.quantity) AS series,
    ln(n.batch_size) AS x,
    ln(CASE $source
        WHEN 'std' THEN n.std
        WHEN 'std_corrected' THEN n.std_corrected
        WHEN 'std_exact' THEN n.std_exact
    END) AS y
FROM gradient_noise AS n
JOIN trials AS t USING (trial_id)
WHERE n.replacement = $replacement AND t.task LIKE $task
