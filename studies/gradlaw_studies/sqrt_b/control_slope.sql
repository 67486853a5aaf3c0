-- One row: log std against log B for one trial at one phase, one batch size and one quantity of a control.
SELECT
    t.seed,
    concat_ws('/', c.trial_id, c.phase, c.quantity) AS series,
    ln(c.batch_size) AS x,
    ln(c.std) AS y
FROM noise_control AS c
JOIN trials AS t USING (trial_id)
WHERE c.control = $control AND c.phase = $phase AND t.task LIKE $task
